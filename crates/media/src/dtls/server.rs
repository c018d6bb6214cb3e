//! The end that waits.

use super::DtlsError;
use super::association::{Association, Step};
use super::exchange::Exchange;
use super::signature::verifies;
use super::wire::fragments::Message;
use super::wire::hello::{
    ClientHello, ECDHE_ECDSA_AES_128_GCM, ECDSA_SHA256, ServerHello, verify_request,
};
use super::wire::message::{self, ServerKeyExchange, Signed};

impl Association {
    pub(super) fn take_as_server(&mut self, message: Message) -> Result<(), DtlsError> {
        match (self.step, message.kind) {
            (Step::ClientHello, message::CLIENT_HELLO) => self.take_hello(&message),
            (Step::ClientCertificate, message::CERTIFICATE) => {
                self.take_certificate(&message)?;
                self.step = Step::ClientKeyExchange;
                Ok(())
            }
            (Step::ClientKeyExchange, message::CLIENT_KEY_EXCHANGE) => {
                let theirs = message::client_public(&message.body);
                let theirs = theirs.ok_or(DtlsError::Malformed)?;
                self.note(&message);
                self.derive(theirs)?;
                self.step = Step::ClientVerify;
                self.take_early()
            }
            (Step::ClientVerify, message::CERTIFICATE_VERIFY) => {
                let signed = Signed::parse(&message.body).ok_or(DtlsError::Malformed)?;
                if !verifies(&self.their_certificate, &self.transcript, &signed) {
                    return Err(DtlsError::Signature);
                }
                self.note(&message);
                self.step = Step::ClientFinished;
                Ok(())
            }
            (Step::ClientFinished, message::FINISHED) => {
                self.take_finished(&message)?;
                self.begin_flight();
                self.say_finished()?;
                self.step = Step::Done;
                Ok(())
            }
            _ => Err(DtlsError::Malformed),
        }
    }

    fn take_hello(&mut self, message: &Message) -> Result<(), DtlsError> {
        let hello = ClientHello::parse(&message.body).ok_or(DtlsError::NothingInCommon)?;
        self.begin_flight();
        if hello.cookie != self.cookie {
            // Who gives a false address never hears this, and costs us nothing more.
            self.say(message::HELLO_VERIFY_REQUEST, verify_request(&self.cookie));
            return Ok(());
        }
        let signs = hello.signatures.is_empty() || hello.signatures.contains(&ECDSA_SHA256);
        if !signs || !hello.ciphers.contains(&ECDHE_ECDSA_AES_128_GCM) {
            return Err(DtlsError::NothingInCommon);
        }
        let profile = hello.best_profile().ok_or(DtlsError::NoProfile)?;
        let exchange = Exchange::new(&mut self.source, &hello.groups);
        let exchange = exchange.ok_or(DtlsError::NothingInCommon)?;
        (self.randoms.client, self.randoms.server) = (hello.random, self.source.bytes());
        (self.profile, self.extended) = (Some(profile), hello.extended_master_secret);
        self.note(message);

        let answer = ServerHello::answer(&hello, self.randoms.server, profile);
        self.say(message::SERVER_HELLO, answer.write());
        let certificate = message::certificate(self.endpoint.certificate());
        self.say(message::CERTIFICATE, certificate);
        let (group, public) = (exchange.group(), exchange.public().to_vec());
        let text = self.text_of_exchange(group, &public);
        let signed = self.endpoint.key().sign(&text);
        let half = ServerKeyExchange {
            group,
            public,
            signed,
        };
        self.say(message::SERVER_KEY_EXCHANGE, half.write());
        self.say(message::CERTIFICATE_REQUEST, message::certificate_request());
        self.say(message::SERVER_HELLO_DONE, Vec::new());
        self.exchange = Some(exchange);
        self.expect(Step::ClientCertificate);
        Ok(())
    }

    /// What a server signs: both random numbers and its half of the exchange (RFC 8422 §5.4).
    pub(super) fn text_of_exchange(&self, group: u16, public: &[u8]) -> Vec<u8> {
        let parameters = message::parameters(group, public);
        let parts: [&[u8]; 3] = [&self.randoms.client, &self.randoms.server, &parameters];
        parts.concat()
    }
}
