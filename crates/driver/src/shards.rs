//! How everything outside a shard reaches it: one bounded mailbox each.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use sip::endpoint::{Flow, StreamId};
use tokio::sync::oneshot;

use crate::mailbox::{Refused, Sender};

/// What a shard may have waiting. At a thousand calls a second this is seconds of work.
pub(crate) const MAILBOX_ITEMS: usize = 16_384;

/// A look at a shard's state, which reports what it saw by itself.
pub(crate) type Inquiry = Box<dyn FnOnce(&switch::Switch, switch::Clock) + Send>;

/// What a shard is told.
pub(crate) enum Mail {
    /// A message, a lost stream, an answer from the DNS …
    Sip(sip::endpoint::Input),
    /// A first request that another shard found to be this one's.
    HandedOver { flow: Flow, bytes: Bytes },
    /// From its media thread.
    Media(media::relay::Event),
    /// From the recorder.
    Recording(media::recorder::Event),
    /// Records have changed; the acknowledgement says that calls from now on obey.
    Directory {
        changes: Vec<switch::DirectoryChange>,
        applied: oneshot::Sender<()>,
    },
    /// Take no new calls; answer them 503 with this `Retry-After`.
    Drain { retry_after_seconds: u32 },
    /// End all calls.
    HangUpAll,
    /// A question about the shard's state, answered by the closure itself.
    Ask(Inquiry),
    /// Write out what is pending and end.
    Stop,
}

/// All shards of this process.
pub(crate) struct Shards {
    mailboxes: Vec<Sender<Mail>>,
    /// Mail thrown away because a shard was too far behind.
    lost: AtomicU64,
}

impl Shards {
    /// One mailbox per shard, in order of their numbers; at least one.
    pub(crate) fn new(mailboxes: Vec<Sender<Mail>>) -> Self {
        Self {
            mailboxes,
            lost: AtomicU64::new(0),
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.mailboxes.len()
    }

    /// The mailbox of a shard, for whoever writes to it often.
    pub(crate) fn mailbox(&self, shard: u16) -> Sender<Mail> {
        self.mailboxes[usize::from(shard)].clone()
    }

    /// Which shard `bytes` belong to: its owner if it continues something, otherwise any, the same for each source.
    /// The shard hands a first request on if it belongs elsewhere.
    pub(crate) fn owner_of(&self, bytes: &[u8], source: std::net::SocketAddr) -> usize {
        match sip::owner_of(bytes) {
            Some(owner) if usize::from(owner) < self.count() => usize::from(owner),
            _ => {
                let hasher = BuildHasherDefault::<DefaultHasher>::default();
                (hasher.hash_one(source) % self.count() as u64) as usize
            }
        }
    }

    /// A framed message from a stream. Waits for room: the stream's peer can wait.
    pub(crate) async fn received(&self, flow: Flow, bytes: Bytes) {
        let shard = self.owner_of(&bytes, flow.remote);
        let mail = Mail::Sip(sip::endpoint::Input::Received { flow, bytes });
        if self.mailboxes[shard].send(mail).await.is_err() {
            self.lose();
        }
    }

    /// Tells every shard that a stream is no more.
    pub(crate) async fn stream_closed(&self, id: StreamId) {
        for mailbox in &self.mailboxes {
            if mailbox
                .send(Mail::Sip(sip::endpoint::Input::StreamClosed(id)))
                .await
                .is_err()
            {
                self.lose();
            }
        }
    }

    /// Tells a shard that what it sent to `flow` will not arrive.
    pub(crate) fn send_failed(&self, shard: u16, flow: Flow) {
        self.try_send(
            usize::from(shard),
            Mail::Sip(sip::endpoint::Input::SendFailed { flow }),
        );
    }

    /// Hands mail to a shard if it has room. Retransmissions and timers make good for what is lost.
    pub(crate) fn try_send(&self, shard: usize, mail: Mail) -> bool {
        let sent = self
            .mailboxes
            .get(shard)
            .is_some_and(|mailbox| mailbox.try_send(mail).is_ok());
        if !sent {
            self.lose();
        }
        sent
    }

    /// Hands mail to a shard, waiting for room. `false` when it has stopped.
    pub(crate) async fn send(&self, shard: usize, mail: Mail) -> bool {
        let Some(mailbox) = self.mailboxes.get(shard) else {
            return false;
        };
        !matches!(
            mailbox.send(mail).await,
            Err(Refused::Closed(_) | Refused::Full(_))
        )
    }

    /// Mail thrown away so far.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Mail waiting now, all shards together.
    pub(crate) fn waiting(&self) -> usize {
        self.mailboxes.iter().map(Sender::waiting).sum()
    }

    fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }
}
