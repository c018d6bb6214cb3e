//! How the packets of one side are protected: opened on their way in, sealed on their way out.

use super::shake::Shake;
use super::table::{Carries, DropReason};
use super::{Datagram, Exchange, Protection, Seal, SideKeys};
use crate::srtp::{Context, PROGRESS_STEP, SrtpError, Suite};

/// The protection of one side.
#[derive(Debug, Default)]
pub(super) enum Cover {
    /// None: RTP in the clear.
    #[default]
    Clear,
    /// Keys that signalling agreed on. Boxed: they are large, and most sides have none.
    Keyed(Box<Keyed>),
    /// Keys are being agreed on: nothing passes yet.
    Pending,
    /// Keys of a handshake, once it is done; nothing passes before.
    Shaken(Box<Shake>),
}

/// Keys, and what was opened and sealed with them.
#[derive(Debug)]
pub(super) struct Keyed {
    keys: SideKeys,
    contexts: Contexts,
    /// How far the stream of each direction had come when that was told: what is received, what is sent.
    told: [Option<(u32, u64)>; 2],
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
                told: [None; 2],
            })),
            (_, Protection::Pending) => Self::Pending,
            (Self::Shaken(kept), Protection::Dtls(terms)) if *kept.terms() == *terms => {
                Self::Shaken(kept)
            }
            (Self::Shaken(former), Protection::Dtls(terms)) => {
                Self::Shaken(Box::new(Shake::new(*terms, Some(*former))))
            }
            (_, Protection::Dtls(terms)) => Self::Shaken(Box::new(Shake::new(*terms, None))),
        };
    }

    /// Whether packets pass as they are.
    pub(super) fn is_clear(&self) -> bool {
        matches!(self, Self::Clear)
    }

    /// What this side's media are sealed with at the moment.
    pub(super) fn seal_in_use(&self) -> Option<Seal> {
        let (exchange, suite) = match self {
            Self::Clear | Self::Pending => return None,
            Self::Keyed(keyed) => (Exchange::Sdes, keyed.keys.send.suite()),
            Self::Shaken(shake) => (Exchange::Dtls, shake.suite()?),
        };
        Some(Seal { exchange, suite })
    }

    /// The handshakes of this side, where it has any.
    pub(super) fn shake(&mut self) -> Option<&mut Shake> {
        match self {
            Self::Shaken(shake) => Some(shake),
            _ => None,
        }
    }

    /// Whether media can be sealed, where they have to be.
    pub(super) fn has_keys(&self) -> Result<(), DropReason> {
        let keys = match self {
            Self::Clear | Self::Keyed(_) => true,
            Self::Pending => false,
            Self::Shaken(shake) => shake.suite().is_some(),
        };
        keys.then_some(()).ok_or(DropReason::NoKeys)
    }

    /// How far the streams under keys of signalling have come, where that is far enough from what was told to be worth
    /// telling: whether it is the sent one, its name, its index.
    pub(super) fn progress(&mut self) -> impl Iterator<Item = (bool, u32, u64)> + use<> {
        let mut news = [None; 2];
        if let Self::Keyed(keyed) = self {
            let contexts = [&keyed.contexts.receive, &keyed.contexts.send];
            for (at, context) in contexts.into_iter().enumerate() {
                let now = context.progress();
                let step =
                    |it: Option<(u32, u64)>| it.map(|(ssrc, index)| (ssrc, index / PROGRESS_STEP));
                if step(now) != step(keyed.told[at]) {
                    keyed.told[at] = now;
                    news[at] = now.map(|(ssrc, index)| (at == 1, ssrc, index));
                }
            }
        }
        news.into_iter().flatten()
    }

    /// Goes on where an earlier process was with the same keys.
    pub(super) fn resume(&mut self, sent: bool, ssrc: u32, index: u64) {
        if let Self::Keyed(keyed) = self {
            let contexts = &mut keyed.contexts;
            let context = if sent {
                &mut contexts.send
            } else {
                &mut contexts.receive
            };
            context.resume(ssrc, index);
        }
    }

    /// Opens a packet.
    pub(super) fn open(&mut self, datagram: &mut Datagram<'_>) -> Result<(), DropReason> {
        self.with(Carries::Media, |contexts| contexts.receive.open(datagram))
    }

    /// Opens reports that came on this port.
    pub(super) fn open_report(
        &mut self,
        on: Carries,
        datagram: &mut Datagram<'_>,
    ) -> Result<(), DropReason> {
        self.with(on, |contexts| contexts.receive.open_report(datagram))
    }

    /// Seals a packet.
    pub(super) fn seal(&mut self, datagram: &mut Datagram<'_>) -> Result<(), DropReason> {
        self.with(Carries::Media, |contexts| contexts.send.seal(datagram))
    }

    /// Seals reports that leave by this port.
    pub(super) fn seal_report(
        &mut self,
        on: Carries,
        datagram: &mut Datagram<'_>,
    ) -> Result<(), DropReason> {
        self.with(on, |contexts| contexts.send.seal_report(datagram))
    }

    /// Works with the keys of a port, or not at all on a side in the clear.
    fn with(
        &mut self,
        on: Carries,
        work: impl FnOnce(&mut Contexts) -> Result<(), SrtpError>,
    ) -> Result<(), DropReason> {
        let contexts = match self {
            Self::Clear => return Ok(()),
            Self::Keyed(keyed) => Some(&mut keyed.contexts),
            Self::Pending => None,
            Self::Shaken(shake) => shake.contexts(on),
        };
        Ok(work(contexts.ok_or(DropReason::NoKeys)?)?)
    }
}

impl Keyed {
    fn replace(&mut self, keys: SideKeys) {
        if self.keys.receive != keys.receive {
            self.contexts.receive = Context::new(&keys.receive);
            self.told[0] = None;
        }
        if self.keys.send != keys.send {
            self.contexts.send = Context::new(&keys.send);
            self.told[1] = None;
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

    pub(super) fn suite(&self) -> Suite {
        self.send.suite()
    }
}

impl From<SrtpError> for DropReason {
    fn from(error: SrtpError) -> Self {
        Self::Protection(error)
    }
}
