//! The sessions of an endpoint, and the rest of those that nothing happens to.
//!
//! Most of a call is silence between an ACK and a BYE. Meanwhile a session need not lie ready as a value with a dozen
//! texts on the heap: at rest it is the bytes that a journal would have of it, in one piece, a quarter as large. Whoever
//! asks for it wakes it and cannot tell the difference, so that nobody has to think of it.
//!
//! What those bytes lack, because it means nothing to another process, is put aside as it is.

use std::sync::Arc;
use std::time::Instant;

use keep::{Base, Keep, Reader, Writer};

use crate::arena::{Arena, Key};
use crate::auth::Credentials;
use crate::dialog::session::{Phase, Session};
use crate::endpoint::StreamId;
use crate::transaction::timers::TimerId;

/// All sessions, by their keys.
#[derive(Default)]
pub(crate) struct Sessions {
    slots: Arena<Slot>,
    /// Those that have woken of late.
    woken: Vec<Key>,
    /// Where sessions are written to on their way to rest; there since the first of them.
    writer: Option<Writer>,
}

enum Slot {
    Awake(Box<Session>),
    Resting(Box<Resting>),
}

/// A session at rest.
struct Resting {
    /// As it is kept.
    form: Box<[u8]>,
    credentials: Option<Arc<Credentials>>,
    stream: Option<StreamId>,
    /// Of its session timer.
    deadline: Option<Instant>,
    timer: Option<TimerId>,
    watched: bool,
}

impl Sessions {
    /// The key that the next [`insert`](Self::insert) returns.
    pub(crate) fn next_key(&self) -> Key {
        self.slots.next_key()
    }

    pub(crate) fn insert(&mut self, session: Session) -> Key {
        self.slots.insert(Slot::Awake(Box::new(session)))
    }

    /// How many there are, awake and at rest.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is one, awake or at rest.
    pub(crate) fn contains(&self, key: Key) -> bool {
        self.slots.get(key).is_some()
    }

    /// Whether the layer above wants to hear of it.
    pub(crate) fn is_watched(&self, key: Key) -> bool {
        match self.slots.get(key) {
            Some(Slot::Awake(session)) => session.watched,
            Some(Slot::Resting(resting)) => resting.watched,
            None => false,
        }
    }

    /// One that is awake from now on.
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Session> {
        let slot = self.slots.get_mut(key)?;
        if let Slot::Resting(resting) = slot {
            let base = self.writer.as_ref()?.base();
            *slot = Slot::Awake(Box::new(resting.wake(base)?));
            self.woken.push(key);
        }
        match slot {
            Slot::Awake(session) => Some(session),
            Slot::Resting(_) => None,
        }
    }

    /// Runs `read` on one, which stays at rest if it is.
    pub(crate) fn inspect<T>(&self, key: Key, read: impl FnOnce(&Session) -> T) -> Option<T> {
        match self.slots.get(key)? {
            Slot::Awake(session) => Some(read(session)),
            Slot::Resting(resting) => resting.wake(self.base()?).as_ref().map(read),
        }
    }

    /// The session in a slot, if our tag and the Call-ID are these. It is not woken: tags can be guessed.
    pub(crate) fn find(&self, slot: u32, tag: &str, call_id: &str) -> Option<Key> {
        let (key, slot) = self.slots.at(slot)?;
        self.bears(slot, tag, call_id).then_some(key)
    }

    /// Whether our tag and the Call-ID of a session are these.
    pub(crate) fn is_called(&self, key: Key, tag: &str, call_id: &str) -> bool {
        let slot = self.slots.get(key);
        slot.is_some_and(|slot| self.bears(slot, tag, call_id))
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<Box<Session>> {
        match self.slots.remove(key)? {
            Slot::Awake(session) => Some(session),
            Slot::Resting(resting) => resting.wake(self.base()?).map(Box::new),
        }
    }

    /// Lays a session to rest. False when there is something that it waits for.
    pub(crate) fn rest(&mut self, now: Instant, key: Key) -> bool {
        let Some(slot) = self.slots.get_mut(key) else {
            return false;
        };
        let session = match slot {
            Slot::Resting(_) => return true,
            Slot::Awake(session) if session.may_rest() => session,
            Slot::Awake(_) => return false,
        };
        let writer = self.writer.get_or_insert_with(|| {
            // Nobody reads what moments are in wall time.
            Writer::new(Base { now, unix_ms: 0 })
        });
        writer.clear();
        session.keep(writer);
        let timing = session.timing.as_deref();
        let resting = Resting {
            form: writer.bytes().into(),
            credentials: session.credentials.take(),
            stream: session.dialogs.last().and_then(|it| it.flow.stream),
            deadline: timing.and_then(|timing| timing.deadline),
            timer: timing.and_then(|timing| timing.timer),
            watched: session.watched,
        };
        *slot = Slot::Resting(Box::new(resting));
        true
    }

    /// One that has woken, and may be laid to rest again.
    pub(crate) fn next_woken(&mut self) -> Option<Key> {
        self.woken.pop()
    }

    fn base(&self) -> Option<Base> {
        self.writer.as_ref().map(Writer::base)
    }

    fn bears(&self, slot: &Slot, tag: &str, call_id: &str) -> bool {
        match slot {
            Slot::Awake(session) => *session.tag == *tag && *session.call_id == *call_id,
            Slot::Resting(resting) => self
                .base()
                .is_some_and(|base| resting.names(base) == Some((tag, call_id))),
        }
    }
}

impl Resting {
    /// Our tag and the Call-ID, which stand in front.
    fn names(&self, base: Base) -> Option<(&str, &str)> {
        let mut input = Reader::new(&self.form, base);
        Phase::kept(&mut input).ok()?;
        Some((input.text().ok()?, input.text().ok()?))
    }

    /// The session as it was. `None` is for bytes that nobody has written.
    fn wake(&self, base: Base) -> Option<Session> {
        let session = Session::kept(&mut Reader::new(&self.form, base));
        debug_assert!(session.is_ok(), "a session at rest is one");
        let mut session = session.ok()?;
        session.credentials = self.credentials.clone();
        session.watched = self.watched;
        if let Some(dialog) = session.dialogs.last_mut() {
            dialog.flow.stream = self.stream;
        }
        if let Some(timing) = session.timing.as_deref_mut() {
            timing.deadline = self.deadline;
            timing.timer = self.timer;
        }
        Some(session)
    }
}
