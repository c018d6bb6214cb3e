//! The end that begins.

use super::DtlsError;
use super::association::{Association, Step};
use super::exchange::Exchange;
use super::signature::verifies;
use super::wire::fragments::Message;
use super::wire::hello::{
    ClientHello, ECDHE_ECDSA_AES_128_GCM, ECDHE_RSA_AES_128_GCM, ECDSA_SHA256, ServerHello,
    cookie_of,
};
use super::wire::message::{self, ServerKeyExchange};

impl Association {
    /// Says the first hello.
    pub(super) fn begin(&mut self) {
        self.randoms.client = self.source.bytes();
        self.say_hello();
    }

    pub(super) fn take_as_client(&mut self, message: Message) -> Result<(), DtlsError> {
        match (self.step, message.kind) {
            (Step::ServerHello, message::HELLO_VERIFY_REQUEST) if self.cookie.is_empty() => {
                let cookie = cookie_of(&message.body).filter(|cookie| !cookie.is_empty());
                self.cookie = cookie.ok_or(DtlsError::Malformed)?.to_vec();
                self.transcript.clear();
                self.say_hello();
                Ok(())
            }
            (Step::ServerHello, message::SERVER_HELLO) => {
                let hello = ServerHello::parse(&message.body).ok_or(DtlsError::NothingInCommon)?;
                if ![ECDHE_ECDSA_AES_128_GCM, ECDHE_RSA_AES_128_GCM].contains(&hello.cipher) {
                    return Err(DtlsError::NothingInCommon);
                }
                self.profile = Some(hello.profile.ok_or(DtlsError::NoProfile)?);
                self.extended = hello.extended_master_secret;
                self.randoms.server = hello.random;
                self.go(Step::ServerCertificate, &message)
            }
            (Step::ServerCertificate, message::CERTIFICATE) => {
                self.take_certificate(&message)?;
                self.step = Step::ServerKeyExchange;
                Ok(())
            }
            (Step::ServerKeyExchange, message::SERVER_KEY_EXCHANGE) => {
                let half = ServerKeyExchange::parse(&message.body).ok_or(DtlsError::Malformed)?;
                let text = self.text_of_exchange(half.group, &half.public);
                if !verifies(&self.their_certificate, &text, &half.signed) {
                    return Err(DtlsError::Signature);
                }
                let exchange = Exchange::new(&mut self.source, &[half.group]);
                self.exchange = Some(exchange.ok_or(DtlsError::NothingInCommon)?);
                self.their_public = half.public;
                self.go(Step::ServerDone, &message)
            }
            (Step::ServerDone, message::CERTIFICATE_REQUEST) if self.requested.is_none() => {
                let signatures = message::requested_signatures(&message.body);
                self.requested = Some(signatures.ok_or(DtlsError::Malformed)?);
                self.go(Step::ServerDone, &message)
            }
            (Step::ServerDone, message::SERVER_HELLO_DONE) => {
                self.note(&message);
                self.answer()
            }
            (Step::ServerFinished, message::FINISHED) => {
                self.take_finished(&message)?;
                self.step = Step::Done;
                Ok(())
            }
            _ => Err(DtlsError::Malformed),
        }
    }

    fn say_hello(&mut self) {
        self.begin_flight();
        let hello = ClientHello::new(self.randoms.client, &self.cookie);
        self.say(message::CLIENT_HELLO, hello.write());
        self.expect(Step::ServerHello);
    }

    /// Our half, the proof that our certificate is ours, and the end of our part.
    fn answer(&mut self) -> Result<(), DtlsError> {
        self.begin_flight();
        let signs = match &self.requested {
            Some(signatures) if !signatures.contains(&ECDSA_SHA256) => {
                return Err(DtlsError::NothingInCommon);
            }
            requested => requested.is_some(),
        };
        if signs {
            let certificate = message::certificate(self.endpoint.certificate());
            self.say(message::CERTIFICATE, certificate);
        }
        let exchange = self.exchange.as_ref().ok_or(DtlsError::Malformed)?;
        let half = message::client_key_exchange(exchange.public());
        self.say(message::CLIENT_KEY_EXCHANGE, half);
        let theirs = std::mem::take(&mut self.their_public);
        self.derive(&theirs)?;
        if signs {
            let mut proof = Vec::new();
            self.endpoint.key().sign(&self.transcript).write(&mut proof);
            self.say(message::CERTIFICATE_VERIFY, proof);
        }
        self.say_finished()?;
        self.expect(Step::ServerFinished);
        self.take_early()
    }

    fn go(&mut self, step: Step, message: &Message) -> Result<(), DtlsError> {
        self.note(message);
        self.step = step;
        Ok(())
    }
}
