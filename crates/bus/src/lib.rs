//! How the parts of a switch tell each other things: publish, subscribe, ask.
//!
//! - **Changes**: after a change is committed, [`Bus::publish`] carries it to every subscriber and
//!   returns when all of them have *applied* it. Whoever waits for that knows that the next call obeys.
//! - **Questions**: what only the running switch knows, such as live counters, is [asked](Bus::ask) of
//!   the one part that answers.
//! - **Events**: what happens to calls and to the way to their peers, for whoever [listens](Bus::listen). A slow listener loses
//!   events and is told how many; it never slows a call down.
//!
//! Everything here is of one process. A node is correct alone: the bus only makes it informed.

mod changes;
mod events;
mod questions;

pub use changes::{
    APPLY_TIMEOUT, Delivery, MAX_CHANGES_QUEUED, MAX_SUBSCRIBERS, NotApplied, Subscription,
    TooManySubscribers,
};
pub use events::{Event, Heard, Listener, MAX_EVENTS_KEPT};
pub use questions::{
    ANSWER_TIMEOUT, Answer, AskError, Asked, Health, MAX_QUESTIONS_QUEUED, Question, Questions,
    SomebodyAnswers,
};

use std::sync::Arc;

/// The bus of one process. Clones are the same bus.
#[derive(Debug, Clone)]
pub struct Bus {
    changes: Arc<changes::Changes>,
    questions: Arc<questions::Desk>,
    events: events::Events,
}

impl Bus {
    /// A bus without anybody on it.
    pub fn local() -> Self {
        Self {
            changes: Arc::default(),
            questions: Arc::default(),
            events: events::Events::new(),
        }
    }
}

impl Default for Bus {
    fn default() -> Self {
        Self::local()
    }
}
