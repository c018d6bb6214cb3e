//! The INVITE client transaction: RFC 3261 §17.1.1 (figure 5) with the Accepted state of RFC 6026 §7.2.
//!
//! Beyond the figure it knows two things that callers want and the RFC leaves to them: a short timer
//! for "nobody answers at all", and being *abandoned*: the layer above has moved on to another hop but
//! somebody may still answer here, and must then be turned away properly.

use bytes::Bytes;

use super::timers::{Letter, TimerId};
use super::{Context, Fired, Heard, from_invite};
use crate::endpoint::Flow;
use crate::message::{ByteStr, Message, Method, Name};

/// The most forks whose 2xx one transaction acknowledges again and again.
const MAX_ACKNOWLEDGED_FORKS: usize = 16;

enum State {
    /// Nothing heard yet: the INVITE is repeated (timer A).
    Calling,
    /// A provisional response came: the network has it.
    Proceeding,
    /// A failure came and was acknowledged; its repetitions are acknowledged too.
    Completed {
        ack: Option<Bytes>,
    },
    /// A 2xx came. More may come, repeated or from other forks.
    Accepted {
        acknowledged: Vec<Acknowledged>,
    },
    Terminated,
}

/// The ACK for the 2xx of one fork, kept because a lost one is asked for by repeating the 2xx.
struct Acknowledged {
    tag: ByteStr,
    flow: Flow,
    ack: Bytes,
}

/// One INVITE on its way to one hop.
pub(crate) struct InviteClient {
    state: State,
    flow: Flow,
    reliable: bool,
    /// Empty once there is a final response.
    request: Bytes,
    branch: ByteStr,
    interval: std::time::Duration,
    /// A while calling, D or M later.
    timer: Option<TimerId>,
    /// B, or after a CANCEL the wait of §9.1.
    give_up: Option<TimerId>,
    no_response: Option<TimerId>,
}

impl InviteClient {
    /// Sends the INVITE and starts its timers.
    pub(crate) fn start(
        cx: &mut Context<'_>,
        flow: Flow,
        reliable: bool,
        request: Bytes,
        branch: ByteStr,
        no_response: bool,
    ) -> Self {
        cx.transmit(flow, request.clone());
        let interval = cx.timing.t1;
        Self {
            state: State::Calling,
            flow,
            reliable,
            request,
            branch,
            interval,
            timer: (!reliable).then(|| cx.start(Letter::A, interval)),
            give_up: Some(cx.start(Letter::B, cx.timing.give_up())),
            no_response: no_response.then(|| cx.start(Letter::NoResponse, cx.timing.no_response)),
        }
    }

    /// Goes on with an INVITE that a peer has heard and an earlier process has sent.
    pub(crate) fn resume(flow: Flow, reliable: bool, request: Bytes, branch: ByteStr) -> Self {
        Self {
            state: State::Proceeding,
            flow,
            reliable,
            request,
            branch,
            interval: std::time::Duration::ZERO,
            timer: None,
            give_up: None,
            no_response: None,
        }
    }

    pub(crate) fn branch(&self) -> &ByteStr {
        &self.branch
    }

    pub(crate) fn flow(&self) -> Flow {
        self.flow
    }

    /// The INVITE as it was sent, as long as there is no final response.
    pub(crate) fn request(&self) -> &Bytes {
        &self.request
    }

    pub(crate) fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }

    /// Still without any response?
    pub(crate) fn is_calling(&self) -> bool {
        matches!(self.state, State::Calling)
    }

    /// Still without a final response?
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.state, State::Calling | State::Proceeding)
    }

    /// The layer above has given up on this hop: no more repetitions, but late responses are heard
    /// until timer B.
    pub(crate) fn abandon(&mut self, cx: &mut Context<'_>) {
        cx.stop(&mut self.no_response);
        if self.is_calling() {
            cx.stop(&mut self.timer);
        }
    }

    /// A CANCEL went out: a final response must come within 64*T1 (RFC 3261 §9.1).
    pub(crate) fn expect_end(&mut self, cx: &mut Context<'_>) {
        if self.is_pending() {
            cx.stop(&mut self.give_up);
            self.give_up = Some(cx.start(Letter::B, cx.timing.give_up()));
        }
    }

    /// The ACK for a 2xx went out; it is repeated whenever that 2xx is.
    pub(crate) fn acknowledged(&mut self, tag: ByteStr, flow: Flow, ack: Bytes) {
        if let State::Accepted { acknowledged } = &mut self.state
            && acknowledged.len() < MAX_ACKNOWLEDGED_FORKS
        {
            // A copy: the tag is a slice of the whole 2xx.
            let tag = ByteStr::copy(&tag);
            acknowledged.push(Acknowledged { tag, flow, ack });
        }
    }

    pub(crate) fn receive(&mut self, cx: &mut Context<'_>, response: &Message) -> Heard {
        match &self.state {
            State::Calling | State::Proceeding => self.pending(cx, response),
            State::Completed { .. } => self.completed(cx, response),
            State::Accepted { .. } => self.accepted(cx, response),
            State::Terminated => Heard::Nothing,
        }
    }

    fn pending(&mut self, cx: &mut Context<'_>, response: &Message) -> Heard {
        cx.stop(&mut self.no_response);
        match response.status().unwrap_or(0) {
            100..=199 => {
                if self.is_calling() {
                    cx.stop(&mut self.timer);
                    cx.stop(&mut self.give_up);
                    self.state = State::Proceeding;
                }
                Heard::Provisional
            }
            200..=299 => {
                self.quiet(cx);
                self.request = Bytes::new();
                self.timer = Some(cx.start(Letter::M, cx.timing.give_up()));
                self.state = State::Accepted {
                    acknowledged: Vec::new(),
                };
                Heard::Success
            }
            _ => {
                self.quiet(cx);
                let ack = from_invite(&self.request, &Method::Ack, response.header(Name::To), None);
                self.request = Bytes::new();
                if let Some(ack) = &ack {
                    cx.transmit(self.flow, ack.clone());
                }
                if self.reliable {
                    self.state = State::Terminated;
                } else {
                    self.timer = Some(cx.start(Letter::D, cx.timing.absorb_failures()));
                    self.state = State::Completed { ack };
                }
                Heard::Failure
            }
        }
    }

    fn completed(&mut self, cx: &mut Context<'_>, response: &Message) -> Heard {
        if let State::Completed { ack: Some(ack) } = &self.state
            && response.status().is_some_and(|status| status >= 300)
        {
            cx.transmit(self.flow, ack.clone());
        }
        Heard::Nothing
    }

    fn accepted(&mut self, cx: &mut Context<'_>, response: &Message) -> Heard {
        let State::Accepted { acknowledged } = &self.state else {
            return Heard::Nothing;
        };
        if !response
            .status()
            .is_some_and(|status| (200..300).contains(&status))
        {
            return Heard::Nothing;
        }
        let tag = response.to().tag();
        match acknowledged.iter().find(|known| Some(&*known.tag) == tag) {
            Some(known) => {
                cx.transmit(known.flow, known.ack.clone());
                Heard::Nothing
            }
            None => Heard::Success,
        }
    }

    pub(crate) fn fire(&mut self, cx: &mut Context<'_>, letter: Letter) -> Fired {
        match letter {
            Letter::A if self.is_calling() => {
                self.interval *= 2;
                self.timer = Some(cx.start(Letter::A, self.interval));
                cx.transmit(self.flow, self.request.clone());
                Fired::Nothing
            }
            Letter::NoResponse if self.is_calling() => Fired::NoResponse,
            Letter::B if self.is_pending() => {
                self.quiet(cx);
                self.state = State::Terminated;
                Fired::TimedOut
            }
            Letter::D | Letter::M => {
                self.state = State::Terminated;
                Fired::Nothing
            }
            _ => Fired::Nothing,
        }
    }

    /// Ends the transaction whatever its state; used when its transport is gone.
    pub(crate) fn terminate(&mut self, cx: &mut Context<'_>) {
        self.quiet(cx);
        self.state = State::Terminated;
    }

    fn quiet(&mut self, cx: &mut Context<'_>) {
        cx.stop(&mut self.timer);
        cx.stop(&mut self.give_up);
        cx.stop(&mut self.no_response);
    }
}
