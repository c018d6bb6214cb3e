//! How the packets of one side are protected: opened on their way in, sealed on their way out.

use super::table::DropReason;
use super::{Datagram, Protection, SideKeys};
use crate::srtp::{Context, SrtpError};

/// The protection of one side.
#[derive(Debug, Default)]
pub(super) enum Cover {
    /// None: RTP in the clear.
    #[default]
    Clear,
    /// Keys that signalling agreed on. Boxed: they are large, and most sides have none.
    Keyed(Box<Keyed>),
}

/// Keys, and what was opened and sealed with them.
#[derive(Debug)]
pub(super) struct Keyed {
    keys: SideKeys,
    contexts: Contexts,
}

/// The two directions of a side that speaks SRTP.
#[derive(Debug)]
pub(super) struct Contexts {
    receive: Context,
    send: Context,
}

impl Cover {
    /// Protects this side from now on. A key that stays keeps its state: which packets it opened, how far it counted.
    pub(super) fn set(&mut self, protection: Protection) {
        *self = match (std::mem::take(self), protection) {
            (_, Protection::Clear) => Self::Clear,
            (Self::Keyed(mut kept), Protection::Keys(keys)) => {
                kept.replace(*keys);
                Self::Keyed(kept)
            }
            (_, Protection::Keys(keys)) => Self::Keyed(Box::new(Keyed {
                contexts: Contexts::new(&keys),
                keys: *keys,
            })),
        };
    }

    /// Opens a packet.
    pub(super) fn open(&mut self, datagram: &mut Datagram<'_>) -> Result<(), DropReason> {
        match self.contexts() {
            Some(contexts) => Ok(contexts.receive.open(datagram)?),
            None => Ok(()),
        }
    }

    /// Opens reports.
    pub(super) fn open_report(&mut self, datagram: &mut Datagram<'_>) -> Result<(), DropReason> {
        match self.contexts() {
            Some(contexts) => Ok(contexts.receive.open_report(datagram)?),
            None => Ok(()),
        }
    }

    /// Seals a packet.
    pub(super) fn seal(&mut self, datagram: &mut Datagram<'_>) -> Result<(), DropReason> {
        match self.contexts() {
            Some(contexts) => Ok(contexts.send.seal(datagram)?),
            None => Ok(()),
        }
    }

    /// Seals reports.
    pub(super) fn seal_report(&mut self, datagram: &mut Datagram<'_>) -> Result<(), DropReason> {
        match self.contexts() {
            Some(contexts) => Ok(contexts.send.seal_report(datagram)?),
            None => Ok(()),
        }
    }

    fn contexts(&mut self) -> Option<&mut Contexts> {
        match self {
            Self::Clear => None,
            Self::Keyed(keyed) => Some(&mut keyed.contexts),
        }
    }
}

impl Keyed {
    fn replace(&mut self, keys: SideKeys) {
        if self.keys.receive != keys.receive {
            self.contexts.receive = Context::new(&keys.receive);
        }
        if self.keys.send != keys.send {
            self.contexts.send = Context::new(&keys.send);
        }
        self.keys = keys;
    }
}

impl Contexts {
    pub(super) fn new(keys: &SideKeys) -> Self {
        Self {
            receive: Context::new(&keys.receive),
            send: Context::new(&keys.send),
        }
    }
}

impl From<SrtpError> for DropReason {
    fn from(error: SrtpError) -> Self {
        Self::Protection(error)
    }
}
