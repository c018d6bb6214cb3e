//! What happens to calls and to the way to their peers, for whoever wants to know. Never waited for.

use crate::Bus;
use model::{Cdr, Reachability, Registration};
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

/// Events kept for slow listeners; the oldest go first.
pub const MAX_EVENTS_KEPT: usize = 4096;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A call is over, and its record is stored.
    CallEnded(Arc<Cdr>),
    /// A registration, of a peer with us or of ours with a carrier, was made, refreshed, ended or could not be made.
    /// Its dates are in the store a second later at most.
    Registration(Arc<Registration>),
    /// The peer of a connection has begun or stopped to answer OPTIONS.
    Reachability(Arc<Reachability>),
}

/// What a listener hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// An event.
    Event(Event),
    /// The listener was too slow and lost this many events.
    Lost(u64),
}

#[derive(Debug, Clone)]
pub(crate) struct Events {
    sender: broadcast::Sender<Event>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self {
            sender: broadcast::Sender::new(MAX_EVENTS_KEPT),
        }
    }
}

/// A listener's end, with its own place in the stream.
#[derive(Debug)]
pub struct Listener {
    receiver: broadcast::Receiver<Event>,
    lost: u64,
}

impl Listener {
    /// The next event, or how many were lost before it; `None` when the bus is gone.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.receiver.recv().await {
            Ok(event) => Some(Heard::Event(event)),
            Err(RecvError::Lagged(lost)) => Some(self.note_loss(lost)),
            Err(RecvError::Closed) => None,
        }
    }

    /// What is waiting already.
    pub fn try_next(&mut self) -> Option<Heard> {
        match self.receiver.try_recv() {
            Ok(event) => Some(Heard::Event(event)),
            Err(TryRecvError::Lagged(lost)) => Some(self.note_loss(lost)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }

    /// All events this listener ever lost.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn note_loss(&mut self, lost: u64) -> Heard {
        self.lost = self.lost.saturating_add(lost);
        Heard::Lost(lost)
    }
}

impl Bus {
    /// Hears every event from now on.
    pub fn listen(&self) -> Listener {
        Listener {
            receiver: self.events.sender.subscribe(),
            lost: 0,
        }
    }

    /// Tells all listeners. Costs next to nothing when there are none.
    pub fn emit(&self, event: Event) {
        // An error only means that nobody listens.
        let _ = self.events.sender.send(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{CdrLeg, ReleaseSide};

    fn ended(id: usize) -> Event {
        Event::CallEnded(Arc::new(Cdr {
            id: id.to_string(),
            domain: "d1".to_owned(),
            started_ms: 0,
            ringing_ms: None,
            answered_ms: None,
            ended_ms: 0,
            orig: CdrLeg::default(),
            term: None,
            dial_rule: None,
            release_side: ReleaseSide::Switch,
            release_status: 404,
            release_cause: None,
            release_text: String::new(),
            minimum_call_duration_seconds: 0,
            media: None,
            recording: None,
            decisions: Vec::new(),
        }))
    }

    #[tokio::test]
    async fn every_listener_hears_every_event() {
        let bus = Bus::local();
        bus.emit(ended(0));
        let (mut one, mut two) = (bus.listen(), bus.listen());
        bus.emit(ended(1));
        assert_eq!(one.next().await, Some(Heard::Event(ended(1))));
        assert_eq!(two.try_next(), Some(Heard::Event(ended(1))));
        assert_eq!(two.try_next(), None);
    }

    #[tokio::test]
    async fn a_slow_listener_is_told_what_it_lost() {
        let bus = Bus::local();
        let mut slow = bus.listen();
        for id in 0..MAX_EVENTS_KEPT + 7 {
            bus.emit(ended(id));
        }
        assert_eq!(slow.next().await, Some(Heard::Lost(7)));
        assert_eq!(slow.next().await, Some(Heard::Event(ended(7))));
        assert_eq!(slow.lost(), 7);
    }
}
