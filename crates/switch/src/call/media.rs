//! The media of a call: session descriptions rewritten on their way through, relays opened and told where
//! the two sides are.
//!
//! One relay serves one media line. A relay is opened when a line first appears in an offer and lives to the
//! end of the call, so hold and resume keep their ports. What an offer says about its sender counts at once
//! while the call is being set up (early media); within a call it counts when the offer is accepted.

mod policy;
mod secure;
mod slots;

pub(crate) use policy::note;

use self::policy::Policy;
use self::secure::Secure;
use self::slots::Slots;
use super::CallKey;
use crate::directory::Connection;
use crate::plan::{Candidate, pick_interface};
use crate::routing::next_hop;
use crate::switch::Core;
use ::media::relay::{
    Command, Noise, Payloads, RelayId, RelayStats, Side, Silent, StreamStats, Traffic,
};
use ::media::sdp::anchor::{LocalMedia, OriginState, anchored, passthrough};
use ::media::sdp::{Security, Session};
use bytes::Bytes;
use model::cdr::{CdrMedia, CdrStream};
use model::{AudioRelay, EncryptedAudio};
use sip::endpoint::Flow;
use sip::message::{ByteStr, Message};
use sip::transport::Transport;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Media lines one call may have; an offer with more is refused with 488.
pub(crate) const MAX_LINES: usize = 8;

/// A message body and what it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) content_type: Option<ByteStr>,
    pub(crate) bytes: Bytes,
}

impl Body {
    /// The body of a message. Of several parts (RFC 2046) only a session description is used: the others
    /// would describe a session that we rewrite.
    pub(crate) fn of(message: &Message) -> Self {
        let bytes = message.body().clone();
        if bytes.is_empty() {
            return Self::default();
        }
        let content_type = message.content_type().unwrap_or(SDP);
        if let Some(part) = sdp_part(content_type, &bytes) {
            return Self::of_sdp(bytes.slice_ref(part));
        }
        Self {
            content_type: Some(ByteStr::copy(content_type)),
            bytes,
        }
    }

    fn of_sdp(bytes: impl Into<Bytes>) -> Self {
        Self {
            content_type: Some(ByteStr::from(SDP)),
            bytes: bytes.into(),
        }
    }

    /// The session description, when there is one.
    pub(crate) fn sdp(&self) -> Option<&Bytes> {
        let essence = self.content_type.as_deref()?.split(';').next()?.trim();
        (essence.eq_ignore_ascii_case(SDP) && !self.bytes.is_empty()).then_some(&self.bytes)
    }
}

const SDP: &str = "application/sdp";

/// What became of an offer.
#[derive(Debug)]
pub(crate) enum OfferOutcome {
    /// Pass this on.
    Ready(Body),
    /// Relays are being opened; [`CallMedia::opened`] tells when to go on.
    Waiting,
    /// It cannot be used: status and reason.
    Unusable(u16, String),
}

/// How the media of a call travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    /// Through our relay.
    Relay,
    /// From end to end; we only see the descriptions.
    Direct,
    /// Through the relay if the peer's own address cannot be reached, else direct: known with its offer.
    RelayIfHidden,
}

/// One media line.
#[derive(Debug)]
struct Line {
    relay: RelayId,
    traffic: Traffic,
    /// What it carried before the offer that is on the table, if that changes it.
    traffic_before: Option<Traffic>,
    /// Our RTP ports towards the two sides; zero until the relay is open.
    a_port: u16,
    b_port: u16,
    expects_a: bool,
    expects_b: bool,
    /// What the two sides are sent in pauses, by the last answer.
    noise: [Option<Noise>; 2],
    /// What silence is for the called side, should its caller leave before it may.
    silence: Option<Noise>,
    stats: Option<Box<RelayStats>>,
    state: LineState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineState {
    Opening,
    Open,
    Closing,
    Closed,
}

/// One side as the relay sees it.
#[derive(Debug)]
struct Face {
    /// Local address to bind.
    bind: IpAddr,
    /// Address in the descriptions we give to this side.
    advertise: IpAddr,
    origin: OriginState,
    policy: Policy,
    /// Where this side's signalling comes from, against which a private media address is weighed.
    signalling: Option<IpAddr>,
}

/// An offer on the table, its lines by slot.
#[derive(Debug)]
struct Offered {
    side: Side,
    /// As its sender made it.
    said: Session,
    /// As the other side gets it.
    given: Session,
}

/// The media of one call.
#[derive(Debug)]
pub(crate) struct CallMedia {
    call: CallKey,
    /// As the two records ask; `path` is what became of it.
    asked: Path,
    path: Path,
    slots: Slots,
    secure: Secure,
    /// By slot.
    lines: Vec<Option<Line>>,
    /// Lines of an attempt that failed and that the next one could not use.
    spent: Vec<Line>,
    a: Face,
    b: Face,
    /// The offer on the table. Its answer tells what its lines mean.
    offered: Option<Offered>,
    /// The call was answered, so that pauses may be filled: before that, silence would drown ringing.
    confirmed: bool,
    /// An offer whose relays are still being opened.
    waiting: Option<Side>,
    /// An answer the caller has from a response that nothing made reliable (RFC 3261 §13.2.1): the 2xx
    /// has to repeat it.
    early_answer: Option<Body>,
    timeout: Duration,
}

impl CallMedia {
    pub(crate) fn new(
        core: &mut Core,
        call: CallKey,
        source: &Arc<Connection>,
        plan: &Candidate,
        flow: Flow,
    ) -> Self {
        let relays = (
            source.record.connection_audio_relay_enabled,
            plan.target.record.connection_audio_relay_enabled,
        );
        let path = match relays {
            (AudioRelay::Never, _) | (_, AudioRelay::Never) => Path::Direct,
            (AudioRelay::Automatic, _) | (_, AudioRelay::Automatic) => Path::Relay,
            (AudioRelay::None, AudioRelay::None) => Path::RelayIfHidden,
        };
        let policies = (Policy::of(&source.record), Policy::of(&plan.target.record));
        // One side alone with PCMU is what may need recoding, and one alone with SRTP needs opening and sealing.
        let encrypts = |policy: Policy| policy.encryption != EncryptedAudio::No;
        let needed = policies.0.pcmu_only != policies.1.pcmu_only
            || encrypts(policies.0)
            || encrypts(policies.1);
        let path = if path == Path::RelayIfHidden && needed {
            Path::Relay
        } else {
            path
        };
        // Whatever address of ours the caller wrote to, its audio goes where its connection wants it.
        let home = media_interface(core, source, flow);
        let a = Face::new(core, home, Some(flow.remote.ip()), policies.0);
        let b = Face::new(core, plan.interface, plan.next_hop.ip, policies.1);
        let timeout = core.config.media_timeout;
        Self {
            call,
            asked: path,
            path,
            slots: Slots::new(!policies.0.block_video && !policies.1.block_video),
            secure: Secure::default(),
            lines: Vec::new(),
            spent: Vec::new(),
            a,
            b,
            offered: None,
            confirmed: false,
            waiting: None,
            early_answer: None,
            timeout,
        }
    }

    /// Another connection is called in place of the one that failed. Relays stay open with their ports, unless its
    /// media travel in another way or by another address of ours.
    pub(crate) fn retarget(
        &mut self,
        core: &mut Core,
        source: &Arc<Connection>,
        plan: &Candidate,
        flow: Flow,
        body: &Body,
    ) -> OfferOutcome {
        let fresh = Self::new(core, self.call, source, plan, flow);
        self.early_answer = None;
        if fresh.asked == self.asked && fresh.b.serves_like(&self.b) {
            self.b.signalling = fresh.b.signalling;
            self.secure.forget(Side::B);
            if let Some(offered) = &mut self.offered {
                let policy = self.b.policy;
                self.secure
                    .write_offer(&mut core.keys, Side::B, policy, &mut offered.given);
            }
            return OfferOutcome::Ready(if self.offered.is_some() {
                self.offer_for_other(Side::A)
            } else {
                body.clone()
            });
        }
        self.close(core);
        let mut spent = std::mem::take(&mut self.spent);
        spent.extend(std::mem::take(&mut self.lines).into_iter().flatten());
        *self = Self { spent, ..fresh };
        self.begin(core, body)
    }

    /// The offer of the first INVITE, which counts at once; or, without one, a relay for the audio that
    /// the called side is going to offer: its answer cannot wait for ports then.
    pub(crate) fn begin(&mut self, core: &mut Core, body: &Body) -> OfferOutcome {
        if body.sdp().is_none() && self.path == Path::Relay {
            self.lines.push(None);
            self.open_line(core, 0, Traffic::Rtp);
            self.waiting = Some(Side::A);
            return OfferOutcome::Waiting;
        }
        self.offer(core, Side::A, body)
    }

    /// An offer while the call is being set up. What it says counts at once.
    fn offer(&mut self, core: &mut Core, side: Side, body: &Body) -> OfferOutcome {
        let outcome = self.reoffer(core, side, body);
        if matches!(outcome, OfferOutcome::Ready(_)) {
            self.accept_offer(core, side);
        }
        outcome
    }

    /// An offer within the call. What it says of its sender counts when it is answered.
    pub(crate) fn reoffer(&mut self, core: &mut Core, side: Side, body: &Body) -> OfferOutcome {
        let Some(bytes) = body.sdp() else {
            // The next description makes the offer.
            self.offered = None;
            return OfferOutcome::Ready(body.clone());
        };
        let session = match parse(bytes) {
            Ok(session) => session,
            Err(why) => return OfferOutcome::Unusable(488, why),
        };
        self.settle_path(side, &session);
        let offered = match self.offered_by(core, side, session) {
            Ok(offered) => offered,
            Err(why) => return OfferOutcome::Unusable(488, why),
        };
        let opening = self.path == Path::Relay && self.open_lines(core, &offered.said);
        self.offered = Some(offered);
        if opening {
            self.waiting = Some(side);
            return OfferOutcome::Waiting;
        }
        OfferOutcome::Ready(self.offer_for_other(side))
    }

    /// Drops an offer that was refused: everything is as it was before.
    pub(crate) fn forget_offer(&mut self, core: &mut Core) {
        self.offered = None;
        self.waiting = None;
        self.slots.disagree();
        for line in self.lines.iter_mut().flatten() {
            if let Some(traffic) = line.traffic_before.take() {
                line.traffic = traffic;
                core.media(Command::Traffic {
                    relay: line.relay,
                    traffic,
                });
            }
        }
    }

    /// A description that answers an offer, or makes one where none was made: passed on in our own words.
    pub(crate) fn forward(
        &mut self,
        core: &mut Core,
        side: Side,
        body: &Body,
    ) -> Result<Body, String> {
        let Some(bytes) = body.sdp() else {
            return Ok(body.clone());
        };
        let session = parse(bytes)?;
        let offered = self.offered.take_if(|offered| offered.side != side);
        let Some(offered) = offered else {
            // An offer in a response cannot wait for ports: lines that have none are refused (port 0).
            self.settle_path(side, &session);
            self.offered = Some(self.offered_by(core, side, session)?);
            self.accept_offer(core, side);
            return Ok(self.offer_for_other(side));
        };
        let said = self.slots.by_slot(side, session, false);
        let (from, to) = (self.face(side).policy, self.face(side.other()).policy);
        let given = policy::narrow_answer(said.clone(), from, to, &offered.said);
        let relayed = self.path == Path::Relay;
        let keyed = match relayed {
            true => self.secure.take_answer(side, from, &said),
            false => Ok(()),
        };
        // Several answers may follow one offer, of several ends that rang (RFC 3261 §13.2.1).
        let offered = self.offered.insert(offered).said.clone();
        let mut given = given?;
        keyed?;
        if relayed {
            self.secure
                .write_answer(&mut core.keys, side.other(), &offered, &mut given);
        }
        self.accept_offer(core, side.other());
        self.slots.agree();
        self.lines
            .iter_mut()
            .flatten()
            .for_each(|line| line.traffic_before = None);
        if self.path == Path::Relay {
            self.protect(core, side, false);
            self.describe(core, side, &said, Some(&offered));
            self.recode(core, side, &said, &given);
            self.plan_noise(core, side, &said, &offered, &given);
        }
        Ok(self.rewritten(side, given, false))
    }

    /// An offer of `side` by slot, and what becomes of it for the other side.
    fn offered_by(
        &mut self,
        core: &mut Core,
        side: Side,
        session: Session,
    ) -> Result<Offered, String> {
        let said = self.slots.by_slot(side, session, true);
        if self.slots.len() > MAX_LINES {
            self.slots.disagree();
            return Err("Too many media lines".to_owned());
        }
        match self.given_for(core, side, &said) {
            Ok(given) => Ok(Offered { side, said, given }),
            Err(why) => {
                self.slots.disagree();
                Err(why)
            }
        }
    }

    /// What becomes of an offer of `side` for the other side.
    fn given_for(
        &mut self,
        core: &mut Core,
        side: Side,
        said: &Session,
    ) -> Result<Session, String> {
        let (from, to) = (self.face(side).policy, self.face(side.other()).policy);
        let relayed = self.path == Path::Relay;
        if !relayed {
            // Keys pass from end to end here: what either record demands, the offer has or nobody will.
            for policy in [from, to] {
                if policy.encryption == EncryptedAudio::Yes {
                    self.secure.take_offer(side, policy, said)?;
                }
            }
            return policy::narrow_offer(said.clone(), from, to, relayed);
        }
        self.secure.take_offer(side, from, said)?;
        let mut given = policy::narrow_offer(said.clone(), from, to, relayed)?;
        self.secure
            .write_offer(&mut core.keys, side.other(), to, &mut given);
        Ok(given)
    }

    /// Tells the relays the keys of a side that have changed.
    fn protect(&mut self, core: &mut Core, side: Side, offered: bool) {
        for (slot, line) in self.lines.iter().enumerate() {
            let Some(relay) = line.as_ref().map(|line| line.relay) else {
                continue;
            };
            let news = if offered {
                self.secure.news_of_offer(&mut core.keys, side, slot)
            } else {
                self.secure.news_of_answer(side, slot)
            };
            if let Some(keys) = news {
                core.media(Command::Protect { relay, side, keys });
            }
        }
    }

    /// The call is answered: from now on pauses are filled.
    pub(crate) fn confirm(&mut self, core: &mut Core) {
        self.confirmed = true;
        for line in self.lines.iter().flatten() {
            line.fill_pauses(core);
        }
    }

    /// Nothing is sent to the caller until [`admit_caller`](Self::admit_caller).
    pub(crate) fn withhold_early_media(&mut self, core: &mut Core) {
        for line in self.lines.iter().flatten() {
            line.send_nothing_to_caller(core);
        }
    }

    /// The caller gets media where its offer asked for them.
    pub(crate) fn admit_caller(&mut self, core: &mut Core) {
        self.accept_offer(core, Side::A);
    }

    /// The caller has gone; the called side hears silence.
    pub(crate) fn silence_called_side(&mut self, core: &mut Core) {
        for line in self.lines.iter().flatten() {
            line.send_nothing_to_caller(core);
            core.media(Command::ComfortNoise {
                relay: line.relay,
                side: Side::B,
                noise: line.silence,
            });
        }
    }

    /// Where one side understands but one law of G.711, frames of the other are recoded for it. `given` is what became
    /// of the answer `said` for the side that offered.
    fn recode(&self, core: &mut Core, answerer: Side, said: &Session, given: &Session) {
        if !self.a.policy.pcmu_only && !self.b.policy.pcmu_only {
            return;
        }
        for (slot, line) in self.lines.iter().enumerate() {
            let Some(relay) = line.as_ref().map(|line| line.relay) else {
                continue;
            };
            for (side, session) in [(answerer, said), (answerer.other(), given)] {
                let law = session.media.get(slot).and_then(policy::only_law);
                core.media(Command::Recode { relay, side, law });
            }
        }
    }

    /// What each side is sent in pauses, by what it accepted and whether it listens.
    fn plan_noise(
        &mut self,
        core: &mut Core,
        answerer: Side,
        said: &Session,
        offered: &Session,
        given: &Session,
    ) {
        let policies = [self.a.policy, self.b.policy];
        for (slot, line) in self.lines.iter_mut().enumerate() {
            let Some(line) = line else { continue };
            // What a side accepted, and the description in which it says whether it listens.
            let answering = (answerer, said, said);
            let offering = (answerer.other(), given, offered);
            for (side, accepted, own) in [answering, offering] {
                let index = if side == Side::A { 0 } else { 1 };
                let listens = own.effective_direction(slot).receives();
                let noise = accepted.media.get(slot).and_then(policy::noise_for);
                let noise = noise.filter(|_| listens);
                line.noise[index] = noise.filter(|_| policies[index].comfort_noise);
                if side == Side::B {
                    line.silence = noise;
                }
            }
            if self.confirmed && policies.iter().any(|policy| policy.comfort_noise) {
                line.fill_pauses(core);
            }
        }
    }

    fn face(&self, side: Side) -> &Face {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    /// Keeps what a provisional response told the caller, unless the caller acknowledges it.
    pub(crate) fn note_early_answer(&mut self, body: &Body, acknowledged: bool) {
        if body.sdp().is_some() {
            self.early_answer = (!acknowledged).then(|| body.clone());
        }
    }

    /// What the caller was told but never acknowledged.
    pub(crate) fn early_answer(&mut self) -> Option<Body> {
        self.early_answer.take()
    }

    /// A relay is open. Returns the side whose offer waited for it and the body to pass on.
    pub(crate) fn opened(
        &mut self,
        core: &mut Core,
        relay: RelayId,
        a_port: u16,
        b_port: u16,
        setup: bool,
    ) -> Option<(Side, Body)> {
        let line = self.line_mut(relay)?;
        if line.state == LineState::Closing {
            core.media(Command::Close { relay });
            return None;
        }
        (line.a_port, line.b_port, line.state) = (a_port, b_port, LineState::Open);
        if self.is_opening() {
            return None;
        }
        let side = self.waiting.take()?;
        if setup {
            self.accept_offer(core, side);
        }
        Some((side, self.offer_for_other(side)))
    }

    /// There are no ports for a relay. Returns the side whose offer waited for it.
    pub(crate) fn open_failed(&mut self, relay: RelayId) -> Option<Side> {
        let line = self.line_mut(relay)?;
        line.state = LineState::Closed;
        let side = self.waiting.take();
        self.offered = None;
        side
    }

    /// Whether the call is over for its media: everybody who should be heard is silent.
    pub(crate) fn is_dead(&self, relay: RelayId, silent: Silent) -> bool {
        // Only the first line counts: a second one, video say, may rest for as long as it likes.
        self.lines.iter().flatten().next().is_some_and(|line| {
            line.relay == relay
                && match silent {
                    Silent::Both => true,
                    Silent::A => !line.expects_b,
                    Silent::B => !line.expects_a,
                }
        })
    }

    /// Closes all relays; their statistics follow.
    pub(crate) fn close(&mut self, core: &mut Core) {
        for line in self.lines.iter_mut().flatten() {
            match line.state {
                LineState::Open => {
                    line.state = LineState::Closing;
                    core.media(Command::Close { relay: line.relay });
                }
                LineState::Opening => line.state = LineState::Closing,
                LineState::Closing | LineState::Closed => {}
            }
        }
    }

    /// A relay is closed.
    pub(crate) fn closed(&mut self, core: &mut Core, relay: RelayId, stats: Box<RelayStats>) {
        if let Some(line) = self.line_mut(relay) {
            line.stats = Some(stats);
            line.state = LineState::Closed;
        }
        core.disown_relay(relay);
    }

    /// Whether no relay is open any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.all_lines().all(|line| line.state == LineState::Closed)
    }

    /// Relays of this call, for the call that is dropped without their statistics.
    pub(crate) fn relays(&self) -> impl Iterator<Item = RelayId> {
        self.all_lines().map(|line| line.relay)
    }

    /// What passed through all relays.
    pub(crate) fn report(&self) -> MediaReport {
        MediaReport(
            self.all_lines()
                .filter_map(|line| line.stats.as_deref().cloned())
                .collect(),
        )
    }

    fn all_lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().flatten().chain(&self.spent)
    }

    fn line_mut(&mut self, relay: RelayId) -> Option<&mut Line> {
        self.lines
            .iter_mut()
            .flatten()
            .chain(&mut self.spent)
            .find(|line| line.relay == relay)
    }

    /// Decides, with the first description, a path that depended on it.
    fn settle_path(&mut self, side: Side, session: &Session) {
        if self.path == Path::RelayIfHidden {
            let face = match side {
                Side::A => &self.a,
                Side::B => &self.b,
            };
            let hidden = face.signalling.is_some_and(|seen| {
                (0..session.media.len())
                    .filter_map(|index| session.rtp_address(index))
                    .any(|said| is_private(said.ip()) && said.ip() != seen)
            });
            let sealed = session
                .media
                .iter()
                .any(|line| line.security() == Security::Sdes);
            self.path = if hidden || sealed {
                Path::Relay
            } else {
                Path::Direct
            };
        }
    }

    /// Makes sure that every line that can be relayed has a relay. True when one is still being opened.
    fn open_lines(&mut self, core: &mut Core, session: &Session) -> bool {
        let count = session.media.len().max(self.lines.len());
        self.lines.resize_with(count, || None);
        for (index, media) in session.media.iter().enumerate() {
            let Some(traffic) = Traffic::of(media).filter(|_| media.is_active()) else {
                continue;
            };
            // SRTP is opened and sealed at the relay, which therefore carries RTP.
            let traffic = match traffic {
                Traffic::Srtp => Traffic::Rtp,
                traffic => traffic,
            };
            match &mut self.lines[index] {
                Some(line) if line.traffic == traffic => {}
                Some(line) => {
                    line.traffic_before.get_or_insert(line.traffic);
                    line.traffic = traffic;
                    core.media(Command::Traffic {
                        relay: line.relay,
                        traffic,
                    });
                }
                None => self.open_line(core, index, traffic),
            }
        }
        self.is_opening()
    }

    fn open_line(&mut self, core: &mut Core, index: usize, traffic: Traffic) {
        let relay = core.next_relay(self.call);
        // Only the first stream's silence ends a call.
        let timeout = if self.lines.iter().flatten().next().is_none() {
            self.timeout
        } else {
            Duration::ZERO
        };
        core.media(Command::Open {
            relay,
            a: self.a.bind,
            b: self.b.bind,
            timeout,
            traffic,
        });
        for (side, face) in [(Side::A, &self.a), (Side::B, &self.b)] {
            if face.policy.latch_once {
                core.media(Command::LatchOnce { relay, side });
            }
        }
        self.lines[index] = Some(Line {
            relay,
            traffic,
            traffic_before: None,
            a_port: 0,
            b_port: 0,
            expects_a: false,
            expects_b: false,
            noise: [None; 2],
            silence: None,
            stats: None,
            state: LineState::Opening,
        });
    }

    fn is_opening(&self) -> bool {
        self.lines
            .iter()
            .flatten()
            .any(|line| line.state == LineState::Opening)
    }

    /// Lets what the offer on the table says of its sender count.
    fn accept_offer(&mut self, core: &mut Core, side: Side) {
        if self.path != Path::Relay {
            return;
        }
        if let Some(offered) = self.offered.take() {
            if offered.side == side {
                self.protect(core, side, true);
                self.describe(core, side, &offered.said, None);
            }
            self.offered = Some(offered);
        }
    }

    /// Tells the relays where a side wants its media. `offer` is what it answered, which names the payload
    /// types it is going to send.
    fn describe(
        &mut self,
        core: &mut Core,
        side: Side,
        session: &Session,
        offer: Option<&Session>,
    ) {
        let signalling = match side {
            Side::A => self.a.signalling,
            Side::B => self.b.signalling,
        };
        for (index, media) in session.media.iter().enumerate() {
            let Some(Some(line)) = self.lines.get_mut(index) else {
                continue;
            };
            let rtp = session.rtp_address(index).filter(|_| media.is_active());
            // A private address behind a public one is a phone behind NAT that does not know better.
            let rtp = rtp.map(|said| match signalling {
                Some(seen) if is_private(said.ip()) && !is_private(seen) && !seen.is_loopback() => {
                    SocketAddr::new(seen, said.port())
                }
                _ => said,
            });
            let expect_media = media.is_active() && session.effective_direction(index).sends();
            match side {
                Side::A => line.expects_a = expect_media,
                Side::B => line.expects_b = expect_media,
            }
            let relay = line.relay;
            core.media(Command::Remote {
                relay,
                side,
                rtp,
                rtcp: session.rtcp_address(index).filter(|_| rtp.is_some()),
                expect_media,
                strict: false,
            });
            core.media(Command::Payloads {
                relay,
                side: side.other(),
                payloads: Box::new(Payloads::of(media)),
            });
            if let Some(offered) = offer.and_then(|offer| offer.media.get(index)) {
                core.media(Command::Payloads {
                    relay,
                    side,
                    payloads: Box::new(Payloads::of(offered)),
                });
            }
        }
    }

    fn offer_for_other(&mut self, side: Side) -> Body {
        match &self.offered {
            Some(offered) => self.rewritten(side, offered.given.clone(), true),
            None => Body::default(),
        }
    }

    /// A description of `side`, by slot and narrowed to what suits both, as the other side gets it.
    fn rewritten(&mut self, side: Side, session: Session, offers: bool) -> Body {
        let (session, order) = self.slots.for_side(side.other(), session, offers);
        let (face, towards_b) = match side {
            Side::A => (&mut self.b, true),
            Side::B => (&mut self.a, false),
        };
        if self.path != Path::Relay {
            return Body::of_sdp(passthrough(&session, &mut face.origin));
        }
        let local: Vec<Option<LocalMedia>> = order
            .iter()
            .map(|slot| {
                let line = self.lines.get(*slot)?.as_ref()?;
                let rtp_port = if towards_b { line.b_port } else { line.a_port };
                (rtp_port != 0).then_some(LocalMedia {
                    address: face.advertise,
                    rtp_port,
                })
            })
            .collect();
        Body::of_sdp(anchored(&session, &local, &mut face.origin))
    }
}

impl Line {
    fn send_nothing_to_caller(&self, core: &mut Core) {
        core.media(Command::Remote {
            relay: self.relay,
            side: Side::A,
            rtp: None,
            rtcp: None,
            expect_media: false,
            strict: false,
        });
    }

    /// Tells the relay what to send in pauses.
    fn fill_pauses(&self, core: &mut Core) {
        for (side, noise) in [Side::A, Side::B].into_iter().zip(self.noise) {
            let relay = self.relay;
            core.media(Command::ComfortNoise { relay, side, noise });
        }
    }
}

impl Face {
    /// Whether relays opened for one side serve the other as well.
    fn serves_like(&self, other: &Self) -> bool {
        (self.bind, self.advertise, self.policy) == (other.bind, other.advertise, other.policy)
    }

    fn new(core: &mut Core, interface: u8, signalling: Option<IpAddr>, policy: Policy) -> Self {
        let interface = core.config.sip.interfaces.get(usize::from(interface));
        let bind = interface.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |interface| {
            interface.local.ip()
        });
        let advertised = interface.and_then(|interface| {
            let host: &str = &interface.advertise;
            host.trim_start_matches('[')
                .trim_end_matches(']')
                .parse::<IpAddr>()
                .ok()
        });
        let advertise = advertised
            .filter(|ip| ip.is_ipv6() == bind.is_ipv6())
            .unwrap_or(bind);
        // RFC 8866 §5.2 wants a number that no other session of ours has.
        let session_id = core.random.next_u64() >> 2;
        Self {
            bind,
            advertise,
            origin: OriginState::new(session_id, advertise),
            policy,
            signalling,
        }
    }
}

/// The interface whose address a caller's media uses: the one it called, or an alternate one of the same family.
fn media_interface(core: &Core, source: &Connection, flow: Flow) -> u8 {
    if !next_hop::alternate(source) {
        return flow.interface;
    }
    let interfaces = &core.config.sip.interfaces;
    let came_by = interfaces.get(usize::from(flow.interface));
    let better = came_by
        .filter(|interface| !interface.alternate)
        .and_then(|_| pick_interface(interfaces, Transport::Udp, flow.remote.is_ipv6(), true));
    better.unwrap_or(flow.interface)
}

fn parse(bytes: &Bytes) -> Result<Session, String> {
    match Session::parse_bytes(bytes) {
        Ok(session) if session.media.len() <= MAX_LINES => Ok(session),
        Ok(_) => Err(format!("more than {MAX_LINES} media lines")),
        Err(error) => Err(format!("session description: {error}")),
    }
}

/// Addresses that mean something only in their own network.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            ip.is_private()
                || ip.is_link_local()
                || (ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64)
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// The session description within a multipart body.
fn sdp_part<'a>(content_type: &str, body: &'a [u8]) -> Option<&'a [u8]> {
    let (essence, params) = content_type.split_once(';')?;
    if !essence.trim().get(..10)?.eq_ignore_ascii_case("multipart/") {
        return None;
    }
    let boundary = params.split(';').find_map(|param| {
        let (name, value) = param.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("boundary")
            .then(|| value.trim().trim_matches('"'))
    })?;
    let mark = format!("--{boundary}");
    let mut rest = &body[find(body, mark.as_bytes())? + mark.len()..];
    while !rest.starts_with(b"--") {
        let head_end = find(rest, b"\r\n\r\n")?;
        let content = &rest[head_end + 4..];
        let end = find(content, format!("\r\n{mark}").as_bytes())?;
        let head = String::from_utf8_lossy(&rest[..head_end]).to_ascii_lowercase();
        if head.contains(SDP) {
            return Some(&content[..end]);
        }
        rest = &content[end + 2 + mark.len()..];
    }
    None
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// Statistics of all relays of a call.
#[derive(Debug, Default)]
pub(crate) struct MediaReport(Vec<RelayStats>);

impl MediaReport {
    /// Sums for the record; `None` when nothing was relayed.
    pub(crate) fn into_cdr(self) -> Option<CdrMedia> {
        if self.0.is_empty() {
            return None;
        }
        let mut out = CdrMedia::default();
        for stats in &self.0 {
            add(&mut out.from_orig, &stats.a);
            add(&mut out.from_term, &stats.b);
        }
        Some(out)
    }
}

fn add(sum: &mut CdrStream, stream: &StreamStats) {
    sum.packets += stream.packets;
    sum.bytes += stream.bytes;
    sum.lost += stream.lost;
    sum.refused += stream.dropped_source;
    // Jitter does not add up; the worst line is the one that was heard.
    sum.jitter_us = sum.jitter_us.max(stream.jitter_us);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_found_among_other_parts() {
        let body = b"preamble\r\n--x1\r\nContent-Type: application/isup\r\n\r\n\x01\x02\r\n--x1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\ns=-\r\n--x1--\r\n";
        let part = sdp_part("multipart/mixed; boundary=\"x1\"", body).unwrap();
        assert_eq!(part, b"v=0\r\ns=-");
        assert_eq!(sdp_part("multipart/mixed; boundary=zz", body), None);
        assert_eq!(sdp_part("application/sdp", body), None);
        assert_eq!(
            sdp_part("multipart/mixed; boundary=x1", b"--x1\r\n\r\nno end"),
            None
        );
    }

    #[test]
    fn private_addresses() {
        for (text, private) in [
            ("10.1.2.3", true),
            ("192.168.1.1", true),
            ("100.64.0.1", true),
            ("100.128.0.1", false),
            ("8.8.8.8", false),
            ("127.0.0.1", false),
            ("fd00::1", true),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_private(text.parse().unwrap()), private, "{text}");
        }
    }
}
