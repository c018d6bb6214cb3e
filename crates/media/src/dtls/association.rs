//! One handshake, and what comes of it: what both roles have in common. What each says and expects is in `server` and
//! `client`.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::exchange::Exchange;
use super::secrets::{Master, Randoms, digest};
use super::wire::fragments::{self, Assembly, Message};
use super::wire::record::{self, ALERT, CHANGE_CIPHER_SPEC, Cipher, HANDSHAKE, Record};
use super::wire::{hello, message};
use super::{DtlsError, Endpoint, Fingerprint, Role, names};
use crate::srtp::{KeySeed, KeySource, SideKeys, Suite};

/// Bytes of the largest datagram we send: what fits every path that carries IPv6, tunnels included.
const DATAGRAM_BYTES_MAX: usize = 1_200;

/// Bytes below which a message is not cut to fill a datagram.
const FRAGMENT_BYTES_MIN: usize = 64;

/// How long a flight waits for its answer before it is sent again; doubled every time, up to [`WAIT_MAX`]. RFC 6347
/// §4.2.4.1 begins with a second, for servers far away; here somebody waits for a voice.
const WAIT_FIRST: Duration = Duration::from_millis(250);

/// The longest of these waits. A handshake that loses one datagram in three still ends within seconds.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// A far end that says something again hears us again, but not more often than this: its flight has several datagrams.
const REPEAT_MIN: Duration = Duration::from_millis(50);

/// Sealed records that are kept because they came before what gives their keys: the last datagram of a flight.
const EARLY_RECORDS_MAX: usize = 4;

/// How long a handshake may take from its first packet.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(20);

/// How a handshake stands.
#[derive(Debug)]
pub enum Progress {
    /// As before.
    Same,
    /// It has just given keys. The association answers stragglers from here on.
    Done(Box<SideKeys>),
    /// It is over and gave nothing.
    Failed(DtlsError),
}

/// One association: the handshake of one port with one far end.
pub struct Association {
    pub(super) endpoint: Endpoint,
    fingerprints: Arc<[Fingerprint]>,
    pub(super) role: Role,
    pub(super) source: KeySource,
    pub(super) step: Step,
    /// The latest time it was told. Packets carry the time of their arrival, which may lie before.
    now: Instant,
    started: Option<Instant>,
    retry: Option<Retry>,
    sent_at: Option<Instant>,

    pub(super) cookie: Vec<u8>,
    pub(super) randoms: Randoms,
    pub(super) exchange: Option<Exchange>,
    /// The far end's half of the exchange, where it speaks first.
    pub(super) their_public: Vec<u8>,
    pub(super) extended: bool,
    pub(super) profile: Option<Suite>,
    pub(super) their_certificate: Vec<u8>,
    /// Signatures that the far end wants of us, if it wants one.
    pub(super) requested: Option<Vec<u16>>,
    pub(super) master: Option<Master>,
    /// Every message so far, whole, as both ends saw it.
    pub(super) transcript: Vec<u8>,

    assembly: Assembly,
    early: Vec<Vec<u8>>,
    flight: Vec<Outgoing>,
    next_number: u16,
    /// Of the next record of each epoch.
    sequence: [u64; 2],
    opens: Option<Cipher>,
    seals: Option<Cipher>,
}

/// What is expected next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    // Of a server.
    ClientHello,
    ClientCertificate,
    ClientKeyExchange,
    ClientVerify,
    ClientFinished,
    // Of a client.
    Begin,
    ServerHello,
    ServerCertificate,
    ServerKeyExchange,
    ServerDone,
    ServerFinished,
    // Of both.
    Done,
    Failed,
}

#[derive(Clone, Copy, Debug)]
struct Retry {
    at: Instant,
    wait: Duration,
}

#[derive(Debug)]
enum Outgoing {
    Message(Message),
    ChangeCipherSpec,
}

impl Association {
    /// A handshake with whoever shows a certificate of one of these fingerprints. A client's begins with the first
    /// [`Association::tick`].
    pub fn new(
        endpoint: &Endpoint,
        source: &mut KeySource,
        now: Instant,
        role: Role,
        fingerprints: Arc<[Fingerprint]>,
    ) -> Self {
        let mut source = KeySource::new(&KeySeed(source.bytes()));
        let cookie: [u8; 20] = source.bytes();
        Self {
            endpoint: endpoint.clone(),
            fingerprints,
            role,
            step: match role {
                Role::Client => Step::Begin,
                Role::Server => Step::ClientHello,
            },
            now,
            started: None,
            retry: None,
            sent_at: None,
            cookie: match role {
                Role::Client => Vec::new(),
                Role::Server => cookie.to_vec(),
            },
            source,
            randoms: Randoms::default(),
            exchange: None,
            their_public: Vec::new(),
            extended: false,
            profile: None,
            their_certificate: Vec::new(),
            requested: None,
            master: None,
            transcript: Vec::new(),
            assembly: Assembly::default(),
            early: Vec::new(),
            flight: Vec::new(),
            next_number: 0,
            sequence: [0; 2],
            opens: None,
            seals: None,
        }
    }

    /// Takes in a datagram of the far end; what has to be sent goes to `send`.
    pub fn handle(
        &mut self,
        now: Instant,
        datagram: &[u8],
        send: &mut dyn FnMut(&[u8]),
    ) -> Progress {
        self.now = self.now.max(now);
        if self.step == Step::Failed {
            return Progress::Same;
        }
        let before = self.step;
        let taken = self.take(datagram);
        match taken {
            Ok(again) => self.go_on(before, again, send),
            Err(why) => self.fail(why, send),
        }
    }

    /// Says the time: begins, or sends again what was not answered.
    pub fn tick(&mut self, now: Instant, send: &mut dyn FnMut(&[u8])) -> Progress {
        self.now = self.now.max(now);
        if matches!(self.step, Step::Done | Step::Failed) {
            return Progress::Same;
        }
        if self.step == Step::Begin {
            self.started = Some(self.now);
            self.begin();
            self.transmit(send);
        }
        if self.deadline().is_some_and(|deadline| deadline <= self.now) {
            return self.fail(DtlsError::TimedOut, send);
        }
        if let Some(retry) = self.retry.filter(|retry| retry.at <= self.now) {
            let wait = (retry.wait * 2).min(WAIT_MAX);
            self.transmit(send);
            self.retry = Some(Retry {
                at: self.now + wait,
                wait,
            });
        }
        Progress::Same
    }

    /// When [`Association::tick`] is due; `None` when only the far end can move things.
    pub fn due(&self) -> Option<Instant> {
        match self.step {
            Step::Done | Step::Failed => None,
            Step::Begin => Some(self.now),
            _ => {
                let retry = self.retry.map(|retry| retry.at);
                [self.deadline(), retry].into_iter().flatten().min()
            }
        }
    }

    /// Whether it has given its keys.
    pub fn is_done(&self) -> bool {
        self.step == Step::Done
    }

    fn deadline(&self) -> Option<Instant> {
        self.started.map(|started| started + HANDSHAKE_MAX)
    }

    /// Takes all records of a datagram. `Ok(true)` when the far end said something again.
    fn take(&mut self, datagram: &[u8]) -> Result<bool, DtlsError> {
        let mut again = false;
        for record in record::records(datagram) {
            again |= self.take_record(&record)?;
        }
        Ok(again)
    }

    fn take_record(&mut self, record: &Record<'_>) -> Result<bool, DtlsError> {
        let sealed = match (record.epoch(), &self.opens) {
            (0, _) => None,
            (1, Some(cipher)) => match cipher.open(record) {
                Some(text) => Some(text),
                None => return Ok(false),
            },
            (1, None) => {
                if self.early.len() < EARLY_RECORDS_MAX {
                    self.early.push(record.to_bytes());
                }
                return Ok(false);
            }
            _ => return Ok(false),
        };
        let body = sealed.as_deref().unwrap_or(record.body);
        match record.kind {
            HANDSHAKE => {
                let again = self.assembly.take(body, sealed.is_some());
                while let Some(message) = self.assembly.next() {
                    self.take_message(message)?;
                }
                Ok(again)
            }
            // A warning that the far end closes is the end as well, as long as there are no keys.
            ALERT if self.step != Step::Done => match body {
                [2, why] | [1, why @ 0] => Err(DtlsError::Alert(*why)),
                _ => Ok(false),
            },
            _ => Ok(false),
        }
    }

    fn take_message(&mut self, message: Message) -> Result<(), DtlsError> {
        if self.step == Step::Done {
            // Nobody may negotiate anew (RFC 5764 §4.1 lets one, nobody does).
            return Ok(());
        }
        self.started.get_or_insert(self.now);
        if message.sealed != (message.kind == message::FINISHED) {
            return Err(DtlsError::Malformed);
        }
        match self.role {
            Role::Server => self.take_as_server(message),
            Role::Client => self.take_as_client(message),
        }
    }

    fn go_on(&mut self, before: Step, again: bool, send: &mut dyn FnMut(&[u8])) -> Progress {
        let repeats = again
            && self
                .sent_at
                .is_none_or(|sent| sent + REPEAT_MIN <= self.now);
        if self.sent_at.is_none() || repeats {
            self.transmit(send);
        }
        if before == self.step || self.step != Step::Done {
            return Progress::Same;
        }
        self.retry = None;
        let keys = self.profile.and_then(|suite| {
            let master = self.master.as_ref()?;
            master.srtp(&self.randoms, suite, self.role)
        });
        // Of all this only the last flight may be wanted again.
        (self.master, self.exchange, self.transcript) = (None, None, Vec::new());
        match keys {
            Some(keys) => Progress::Done(Box::new(keys)),
            None => self.fail(DtlsError::NoProfile, send),
        }
    }

    fn fail(&mut self, why: DtlsError, send: &mut dyn FnMut(&[u8])) -> Progress {
        if self.step == Step::Done {
            return Progress::Same;
        }
        if let Some(alert) = why.alert() {
            let mut out = Vec::new();
            let sealed = self.step == Step::ServerFinished;
            self.write_record(&mut out, ALERT, sealed, &[2, alert]);
            send(&out);
        }
        (self.step, self.retry) = (Step::Failed, None);
        Progress::Failed(why)
    }

    /// Whether the far end's certificate is one that was described. Its key still has to be proved.
    pub(super) fn take_certificate(&mut self, message: &Message) -> Result<(), DtlsError> {
        let certificate = message::own_certificate(&message.body);
        let certificate = certificate.ok_or(DtlsError::Fingerprint)?;
        if !names(&self.fingerprints, certificate) {
            return Err(DtlsError::Fingerprint);
        }
        self.their_certificate = certificate.to_vec();
        self.note(message);
        Ok(())
    }

    /// Whether the far end saw the same handshake and has its keys.
    pub(super) fn take_finished(&mut self, message: &Message) -> Result<(), DtlsError> {
        let master = self.master.as_ref().ok_or(DtlsError::Malformed)?;
        let expected = master.finished(self.role.other(), digest(&self.transcript));
        if message.body != expected {
            return Err(DtlsError::Tampered);
        }
        self.note(message);
        Ok(())
    }

    /// Makes the keys of this handshake. The client's half of the exchange has to be in the transcript.
    pub(super) fn derive(&mut self, theirs: &[u8]) -> Result<(), DtlsError> {
        let exchange = self.exchange.as_ref().ok_or(DtlsError::Malformed)?;
        let shared = exchange.shared(theirs).ok_or(DtlsError::Malformed)?;
        let session = self.extended.then(|| digest(&self.transcript));
        let master = Master::new(&shared, session, &self.randoms);
        let [client, server] = master.ciphers(&self.randoms);
        (self.seals, self.opens) = match self.role {
            Role::Client => (Some(client), Some(server)),
            Role::Server => (Some(server), Some(client)),
        };
        self.master = Some(master);
        Ok(())
    }

    /// Reads what came before there were keys.
    pub(super) fn take_early(&mut self) -> Result<(), DtlsError> {
        for early in std::mem::take(&mut self.early) {
            self.take(&early)?;
        }
        Ok(())
    }

    /// Adds a message of the far end to what both have seen.
    pub(super) fn note(&mut self, message: &Message) {
        message.write_whole(&mut self.transcript);
    }

    /// Begins to say something new: what was said before was answered.
    pub(super) fn begin_flight(&mut self) {
        self.flight.clear();
        (self.sent_at, self.retry) = (None, None);
    }

    /// Adds a message to the flight and to what both have seen.
    pub(super) fn say(&mut self, kind: u8, body: Vec<u8>) {
        let message = Message {
            kind,
            number: self.next_number,
            sealed: kind == message::FINISHED,
            body,
        };
        self.next_number += 1;
        // Neither the request for a cookie nor what it answers counts (RFC 6347 §4.2.1).
        if kind != message::HELLO_VERIFY_REQUEST {
            message.write_whole(&mut self.transcript);
        }
        self.flight.push(Outgoing::Message(message));
    }

    /// Ends our part of the handshake under its keys.
    pub(super) fn say_finished(&mut self) -> Result<(), DtlsError> {
        let master = self.master.as_ref().ok_or(DtlsError::Malformed)?;
        let body = master.finished(self.role, digest(&self.transcript));
        self.flight.push(Outgoing::ChangeCipherSpec);
        self.say(message::FINISHED, body.to_vec());
        Ok(())
    }

    /// Expects an answer to the flight: without one it is sent again.
    pub(super) fn expect(&mut self, step: Step) {
        self.step = step;
        self.retry = Some(Retry {
            at: self.now + WAIT_FIRST,
            wait: WAIT_FIRST,
        });
    }

    /// Sends the flight, in as few datagrams as it fits.
    fn transmit(&mut self, send: &mut dyn FnMut(&[u8])) {
        self.sent_at = Some(self.now);
        let flight = std::mem::take(&mut self.flight);
        let mut datagram = Vec::with_capacity(DATAGRAM_BYTES_MAX);
        for outgoing in &flight {
            let Outgoing::Message(message) = outgoing else {
                self.write_record(&mut datagram, CHANGE_CIPHER_SPEC, false, &[1]);
                continue;
            };
            let sealing = usize::from(message.sealed) * record::OVERHEAD_BYTES;
            let overhead = record::HEADER_BYTES + fragments::HEADER_BYTES + sealing;
            let mut start = 0;
            loop {
                let left = message.body.len() - start;
                let room = DATAGRAM_BYTES_MAX.saturating_sub(datagram.len() + overhead);
                if !datagram.is_empty() && room < left.clamp(1, FRAGMENT_BYTES_MIN) {
                    send(&datagram);
                    datagram.clear();
                    continue;
                }
                let length = left.min(room);
                let mut fragment = Vec::with_capacity(length + fragments::HEADER_BYTES);
                message.write_fragment(&mut fragment, start, length);
                self.write_record(&mut datagram, HANDSHAKE, message.sealed, &fragment);
                start += length;
                if start == message.body.len() {
                    break;
                }
            }
        }
        if !datagram.is_empty() {
            send(&datagram);
        }
        self.flight = flight;
    }

    fn write_record(&mut self, out: &mut Vec<u8>, kind: u8, sealed: bool, body: &[u8]) {
        let sequence = &mut self.sequence[usize::from(sealed)];
        let place = u64::from(sealed) << 48 | *sequence;
        *sequence += 1;
        match self.seals.as_ref().filter(|_| sealed) {
            Some(cipher) => cipher.write(out, kind, place, body),
            None if sealed => {}
            None => record::write(out, kind, place, body),
        }
    }
}

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Association")
            .field("role", &self.role)
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}

// A hello always fits one datagram, so whoever begins is heard with its first.
const _: () = assert!(DATAGRAM_BYTES_MAX > 300 + hello::COOKIE_BYTES_MAX);
