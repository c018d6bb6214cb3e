//! Between call control and the recorder.

use std::collections::VecDeque;

use media::recorder::{Command, Event, Outcome};

use super::{Order, RecorderQueue};
use crate::mailbox::Refused;

/// The recorder's desk of one shard.
pub(crate) struct RecorderDesk {
    shard: u16,
    queue: RecorderQueue,
    /// Ends that the recorder had no room for: no more than it has recordings of this shard.
    backlog: VecDeque<Order>,
}

impl RecorderDesk {
    /// A desk for the shard of this number.
    pub(crate) fn new(shard: u16, queue: RecorderQueue) -> Self {
        Self {
            shard,
            queue,
            backlog: VecDeque::new(),
        }
    }

    /// Obeys. A recording for which there is no room ends at once.
    pub(crate) fn command(&mut self, command: Command) -> Option<Event> {
        let shard = self.shard;
        let order = Order::Command { shard, command };
        let refused = match self.queue.commands.try_send(order) {
            Ok(()) => return None,
            Err(Refused::Full(order) | Refused::Closed(order)) => order,
        };
        let Order::Command {
            command: Command::Begin { recording, .. },
            ..
        } = refused
        else {
            self.backlog.push_back(refused);
            return None;
        };
        let outcome = Outcome {
            failure: Some("the recorder is behind".to_owned()),
            ..Outcome::default()
        };
        Some(Event::Ended { recording, outcome })
    }

    /// Passes on what could not be before. `false` while some of it still waits.
    pub(crate) fn flush(&mut self) -> bool {
        while let Some(order) = self.backlog.pop_front() {
            if let Err(Refused::Full(order)) = self.queue.commands.try_send(order) {
                self.backlog.push_front(order);
                return false;
            }
        }
        true
    }
}
