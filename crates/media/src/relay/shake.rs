//! The handshakes of one side: one on the port of its media, and one on that of its reports unless the two share one
//! (RFC 5764 §4.1).
//!
//! # With whom
//!
//! A handshake proves itself: only who has the key of the certificate that signalling named gets through. What has to be
//! decided is who may try, for one port has one handshake at a time and each costs a fraction of a millisecond.
//!
//! 1. Where we begin, we write to where media would go, and hear nobody else.
//! 2. Where the far end begins, its first datagram may come from any source that could settle the latch, which is how
//!    it gets through its NAT. A source nearer to the announced address takes the place of one further away, and any
//!    takes the place of one that has been silent for [`SILENCE_BEFORE_MOVE`].
//! 3. A source that shows a wrong certificate, or breaks the protocol, is forgotten and the next may try; after
//!    [`STRANGERS_MAX`] of them only the announced address may. If it was the announced host, the handshake has failed.
//! 4. Who gets through settles the latch.
//! 5. Afterwards only that source is heard. It may begin again without new signalling (RFC 6347 §4.2.8: it forgot us),
//!    and its old keys serve until there are new ones.
//!
//! Datagrams of handshakes wait in small queues, of which the media thread takes one between two looks at its sockets:
//! however many calls begin at once, no stream waits longer than for one step of one handshake.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Terms;
use super::cover::Contexts;
use super::latch::{Nearness, SILENCE_BEFORE_MOVE};
use super::table::{Carries, DropReason};
use crate::dtls::{Association, DtlsError, Endpoint, Fingerprint, HANDSHAKE_MAX, Progress, Role};
use crate::srtp::{KeySeed, KeySource, Suite};

/// Datagrams of one handshake that wait: more than the longest flight has.
const INBOX_DATAGRAMS_MAX: usize = 16;

/// Sources other than the announced host that may fail before only that host is heard.
const STRANGERS_MAX: u8 = 8;

/// Times the announced host may break off before the handshake has failed.
const ATTEMPTS_MAX: u8 = 4;

/// How long the far end may ask for what it missed of a finished handshake.
const LINGER: Duration = Duration::from_secs(60);

/// Bytes of a record's header, behind which a handshake says what it is (RFC 6347 §4.1).
const RECORD_HEADER_BYTES: usize = 13;

/// Content type of a record that belongs to a handshake, and the type of the message that begins one.
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// What every handshake needs.
#[derive(Debug)]
pub(super) struct Means {
    endpoint: Endpoint,
    source: KeySource,
}

impl Means {
    pub(super) fn new(endpoint: Endpoint, seed: &KeySeed) -> Self {
        let source = KeySource::new(seed);
        Self { endpoint, source }
    }

    fn begin(&mut self, now: Instant, role: Role, fingerprints: Arc<[Fingerprint]>) -> Association {
        Association::new(&self.endpoint, &mut self.source, now, role, fingerprints)
    }
}

/// What became of a handshake.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The media of this side are sealed.
    Secured {
        /// Who got through.
        source: SocketAddr,
        /// With what the media are sealed.
        suite: Suite,
    },
    /// There will be no keys.
    Failed(DtlsError),
}

/// The handshakes of one side.
#[derive(Debug)]
pub(super) struct Shake {
    terms: Terms,
    fingerprints: Arc<[Fingerprint]>,
    ports: [Port; 2],
    /// When the media have to be sealed.
    deadline: Option<Instant>,
    failed: bool,
}

/// One port's.
#[derive(Debug, Default)]
struct Port {
    association: Option<Association>,
    /// With whom.
    source: Option<Source>,
    inbox: VecDeque<Box<[u8]>>,
    contexts: Option<Contexts>,
    /// Sources that failed, by whether they were of the announced host.
    strangers: u8,
    attempts: u8,
    done_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    address: SocketAddr,
    nearness: Nearness,
    heard_at: Instant,
}

impl Shake {
    /// Begins anew. Keys of the handshake that it follows serve until it has its own.
    pub(super) fn new(terms: Terms, former: Option<Self>) -> Self {
        let mut ports = [Port::default(), Port::default()];
        if let Some(former) = former {
            for (port, former) in ports.iter_mut().zip(former.ports) {
                port.contexts = former.contexts;
            }
        }
        Self {
            fingerprints: terms.fingerprints.clone().into(),
            terms,
            ports,
            deadline: None,
            failed: false,
        }
    }

    pub(super) fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The keys of a port, when there are any.
    pub(super) fn contexts(&mut self, on: Carries) -> Option<&mut Contexts> {
        self.port(on).contexts.as_mut()
    }

    /// The suite of the media.
    pub(super) fn suite(&self) -> Option<Suite> {
        self.ports[0].contexts.as_ref().map(Contexts::suite)
    }

    /// From now on the media have to be sealed within [`HANDSHAKE_MAX`].
    pub(super) fn hurry(&mut self, now: Instant) {
        if self.ports[0].done_at.is_none() {
            self.deadline.get_or_insert(now + HANDSHAKE_MAX);
        }
    }

    /// Keeps a datagram until [`Shake::take`]. `true` when it is the only one.
    pub(super) fn queue(
        &mut self,
        now: Instant,
        on: Carries,
        address: SocketAddr,
        nearness: Nearness,
        datagram: &[u8],
    ) -> Result<bool, DropReason> {
        if self.failed {
            return Err(DropReason::Handshake);
        }
        let role = self.terms.role;
        let port = self.port(on);
        let source = Source {
            address,
            nearness,
            heard_at: now,
        };
        match port.source.filter(|source| source.address == address) {
            Some(_) if port.begins_again(role, datagram) => port.restart(source),
            Some(_) if port.association.is_none() && !port.inbox.is_empty() => {}
            Some(_) if port.association.is_none() && !begins(datagram) => {
                return Err(DropReason::Handshake);
            }
            Some(_) => port.source = Some(source),
            None if role == Role::Server && port.admits(&source) && begins(datagram) => {
                port.restart(source);
            }
            None => return Err(DropReason::Stranger),
        }
        if port.inbox.len() >= INBOX_DATAGRAMS_MAX {
            return Err(DropReason::Handshake);
        }
        port.inbox.push_back(datagram.into());
        Ok(port.inbox.len() == 1)
    }

    /// Works on one datagram. `true` when another waits.
    pub(super) fn take(
        &mut self,
        now: Instant,
        means: &mut Means,
        on: Carries,
        send: &mut dyn FnMut(SocketAddr, &[u8]),
    ) -> (Option<Outcome>, bool) {
        let (role, fingerprints) = (self.terms.role, Arc::clone(&self.fingerprints));
        let port = self.port(on);
        let (Some(datagram), Some(source)) = (port.inbox.pop_front(), port.source) else {
            return (None, false);
        };
        let more = !port.inbox.is_empty();
        let association = port
            .association
            .get_or_insert_with(|| means.begin(now, role, fingerprints));
        let progress = association.handle(now, &datagram, &mut |out| send(source.address, out));
        (self.note(now, on, progress), more)
    }

    /// Does what is due by time: begins, sends again, gives up. `to` says where each of the ports to be sealed writes.
    pub(super) fn look(
        &mut self,
        now: Instant,
        means: &mut Means,
        to: &[(Carries, Option<SocketAddr>)],
        send: &mut dyn FnMut(Carries, SocketAddr, &[u8]),
    ) -> Option<Outcome> {
        if self.failed {
            return None;
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            if self.ports[0].done_at.is_none() {
                return Some(self.fail(DtlsError::TimedOut));
            }
        }
        let mut outcome = None;
        for (on, to) in to {
            let (role, fingerprints) = (self.terms.role, Arc::clone(&self.fingerprints));
            let port = self.port(*on);
            if let (Role::Client, Some(to)) = (role, to) {
                port.turn_to(now, *to);
            }
            let Some(source) = port.source else { continue };
            if port.association.is_none() && role == Role::Client && port.done_at.is_none() {
                port.association = Some(means.begin(now, role, fingerprints));
            }
            let due = port.association.as_mut().filter(|association| {
                let due = association.due();
                due.is_some_and(|due| due <= now)
            });
            let Some(association) = due else { continue };
            let progress = association.tick(now, &mut |out| send(*on, source.address, out));
            outcome = outcome.or(self.note(now, *on, progress));
        }
        outcome
    }

    /// Whether [`Shake::look`] has to be called from time to time.
    pub(super) fn wakes(&self) -> bool {
        let begins = self.terms.role == Role::Client && self.ports[0].done_at.is_none();
        let due = |port: &Port| port.association.as_ref().and_then(Association::due);
        !self.failed
            && (begins
                || self.deadline.is_some()
                || self.ports.iter().any(|port| due(port).is_some()))
    }

    /// Lets go of handshakes that were finished long ago; their keys stay.
    pub(super) fn expire(&mut self, now: Instant) {
        for port in &mut self.ports {
            let old = port.done_at.is_some_and(|done| done + LINGER <= now);
            if old && port.association.as_ref().is_some_and(Association::is_done) {
                port.association = None;
                port.inbox.clear();
            }
        }
    }

    fn note(&mut self, now: Instant, on: Carries, progress: Progress) -> Option<Outcome> {
        let (role, hurried) = (self.terms.role, self.deadline.is_some());
        let port = self.port(on);
        match progress {
            Progress::Same => None,
            Progress::Done(keys) => {
                port.contexts = Some(Contexts::new(&keys));
                port.done_at = Some(now);
                let source = port.source?.address;
                let suite = keys.send.suite();
                if matches!(on, Carries::Media) {
                    self.deadline = None;
                    return Some(Outcome::Secured { source, suite });
                }
                None
            }
            Progress::Failed(why) => {
                let source = port.source.take();
                port.association = None;
                port.inbox.clear();
                if port.done_at.is_some() {
                    // It began again and came to nothing: it had forgotten us, or it was somebody else.
                    port.source = source;
                    return None;
                }
                let stranger = source.is_some_and(|source| source.nearness == Nearness::OtherHost);
                if role == Role::Server && stranger {
                    port.strangers = port.strangers.saturating_add(1);
                    return None;
                }
                // Who has not been told of the answer yet cannot be expected to take part.
                let early = why == DtlsError::TimedOut && !hurried;
                port.attempts = port.attempts.saturating_add(u8::from(!early));
                let last = why == DtlsError::Fingerprint || port.attempts >= ATTEMPTS_MAX;
                (matches!(on, Carries::Media) && last).then(|| self.fail(why))
            }
        }
    }

    fn fail(&mut self, why: DtlsError) -> Outcome {
        self.failed = true;
        self.deadline = None;
        for port in &mut self.ports {
            port.association = None;
            port.inbox.clear();
        }
        Outcome::Failed(why)
    }

    fn port(&mut self, on: Carries) -> &mut Port {
        match on {
            Carries::Media => &mut self.ports[0],
            Carries::Reports => &mut self.ports[1],
        }
    }
}

impl Port {
    /// Whether somebody other than the present source may try.
    fn admits(&self, source: &Source) -> bool {
        if self.done_at.is_some() {
            return false;
        }
        if source.nearness == Nearness::OtherHost && self.strangers >= STRANGERS_MAX {
            return false;
        }
        self.source.is_none_or(|present| {
            let silent = source.heard_at.saturating_duration_since(present.heard_at);
            source.nearness > present.nearness || silent > SILENCE_BEFORE_MOVE
        })
    }

    /// Whether the source that got through wants another handshake.
    fn begins_again(&self, role: Role, datagram: &[u8]) -> bool {
        let done = |association: &Association| association.is_done();
        role == Role::Server
            && self.done_at.is_some()
            && self.association.as_ref().is_none_or(done)
            && self.attempts < ATTEMPTS_MAX
            && begins(datagram)
    }

    fn restart(&mut self, source: Source) {
        if self.done_at.is_some() {
            self.attempts += 1;
        }
        self.association = None;
        self.inbox.clear();
        self.source = Some(source);
    }

    /// Where a client writes. Another address, before it is done, means from the beginning.
    fn turn_to(&mut self, now: Instant, to: SocketAddr) {
        if self.done_at.is_some() || self.source.is_some_and(|source| source.address == to) {
            return;
        }
        self.association = None;
        self.inbox.clear();
        self.source = Some(Source {
            address: to,
            nearness: Nearness::Announced,
            heard_at: now,
        });
    }
}

/// Whether a datagram begins a handshake: a first message of a client, in the clear.
fn begins(datagram: &[u8]) -> bool {
    let in_the_clear = datagram.get(3..5) == Some(&[0, 0]);
    in_the_clear
        && datagram.first() == Some(&HANDSHAKE)
        && datagram.get(RECORD_HEADER_BYTES) == Some(&CLIENT_HELLO)
}
