//! The client transaction of every request but INVITE and ACK: RFC 3261 §17.1.2 (figure 6).

use std::time::Duration;

use bytes::Bytes;

use super::timers::{Letter, TimerId};
use super::{Context, Fired, Heard};
use crate::endpoint::Flow;
use crate::message::{ByteStr, Message};

enum State {
    /// Nothing heard yet.
    Trying,
    /// A provisional response came; repetitions slow down to T2.
    Proceeding,
    /// The final response came; its repetitions are absorbed.
    Completed,
    Terminated,
}

/// One request of ours on its way to one hop.
pub(crate) struct RequestClient {
    state: State,
    flow: Flow,
    reliable: bool,
    /// Empty once there is a final response.
    request: Bytes,
    branch: ByteStr,
    interval: Duration,
    /// E while waiting, K later.
    timer: Option<TimerId>,
    /// F.
    give_up: Option<TimerId>,
    no_response: Option<TimerId>,
}

impl RequestClient {
    /// Sends the request and starts its timers.
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
            state: State::Trying,
            flow,
            reliable,
            request,
            branch,
            interval,
            timer: (!reliable).then(|| cx.start(Letter::E, interval)),
            give_up: Some(cx.start(Letter::F, cx.timing.give_up())),
            no_response: no_response.then(|| cx.start(Letter::NoResponse, cx.timing.no_response)),
        }
    }

    pub(crate) fn branch(&self) -> &ByteStr {
        &self.branch
    }

    pub(crate) fn flow(&self) -> Flow {
        self.flow
    }

    pub(crate) fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }

    /// Still without any response?
    pub(crate) fn is_trying(&self) -> bool {
        matches!(self.state, State::Trying)
    }

    pub(crate) fn receive(&mut self, cx: &mut Context<'_>, response: &Message) -> Heard {
        match self.state {
            State::Trying | State::Proceeding => self.pending(cx, response),
            State::Completed | State::Terminated => Heard::Nothing,
        }
    }

    fn pending(&mut self, cx: &mut Context<'_>, response: &Message) -> Heard {
        cx.stop(&mut self.no_response);
        let status = response.status().unwrap_or(0);
        if status < 200 {
            self.state = State::Proceeding;
            return Heard::Provisional;
        }
        self.quiet(cx);
        self.request = Bytes::new();
        if self.reliable {
            self.state = State::Terminated;
        } else {
            self.timer = Some(cx.start(Letter::K, cx.timing.t4));
            self.state = State::Completed;
        }
        if status < 300 {
            Heard::Success
        } else {
            Heard::Failure
        }
    }

    pub(crate) fn fire(&mut self, cx: &mut Context<'_>, letter: Letter) -> Fired {
        match (letter, &self.state) {
            (Letter::E, State::Trying | State::Proceeding) => {
                self.interval = match self.state {
                    State::Trying => (self.interval * 2).min(cx.timing.t2),
                    _ => cx.timing.t2,
                };
                self.timer = Some(cx.start(Letter::E, self.interval));
                cx.transmit(self.flow, self.request.clone());
                Fired::Nothing
            }
            (Letter::NoResponse, State::Trying) => {
                self.terminate(cx);
                Fired::NoResponse
            }
            (Letter::F, State::Trying | State::Proceeding) => {
                self.terminate(cx);
                Fired::TimedOut
            }
            (Letter::K, _) => {
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
