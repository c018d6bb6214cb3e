//! Which shard owns a message?
//!
//! What continues something of ours says so itself: our tags, branches and Call-IDs carry the owner. What
//! begins something is owned by the tenant of the connection it comes from, or, where that is system-wide,
//! by a hash of its Call-ID, so that wholesale traffic spreads. A REGISTER is owned by the shard that its
//! connection's key hashes to. The answer for one Call-ID is remembered for
//! as long as its CANCEL and retransmissions may come: those may lack the header that told the connection.

use crate::directory::{Directory, SYSTEM};
use crate::registrar;
use crate::source::{self, Attempt};
use bytes::Bytes;
use model::ConnectionKey;
use sip::endpoint::Flow;
use sip::message::{Message, Method};
use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Call-IDs whose owner is remembered; at a hundred new calls a second that is five minutes.
pub(crate) const MAX_REMEMBERED: usize = 32_768;

/// Who deals with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// This shard.
    Here,
    /// Another one.
    Shard(u16),
}

/// Knows the owner of every message.
#[derive(Debug)]
pub(crate) struct Door {
    own: u16,
    shards: u16,
    remembered: HashMap<u64, u16>,
    order: VecDeque<u64>,
}

impl Door {
    pub(crate) fn new(own: u16, shards: u16) -> Self {
        Self {
            own,
            shards: shards.max(1),
            remembered: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    pub(crate) fn owner(&mut self, directory: &Directory, flow: Flow, bytes: &Bytes) -> Owner {
        if self.shards == 1 {
            return Owner::Here;
        }
        let owner = match sip::owner_of(bytes) {
            Some(owner) if owner < self.shards => owner,
            _ => self.first(directory, flow, bytes),
        };
        if owner == self.own {
            Owner::Here
        } else {
            Owner::Shard(owner)
        }
    }

    fn first(&mut self, directory: &Directory, flow: Flow, bytes: &Bytes) -> u16 {
        // What cannot be read is answered, or not, by whoever got it.
        let Ok(message) = Message::parse(bytes.clone()) else {
            return self.own;
        };
        if message.method() == Some(&Method::Register) {
            // Not remembered: all REGISTERs of a peer have one Call-ID, and connections come and go meanwhile.
            let to = &message.to().uri;
            let connection = registrar::identify(directory, to, Some(flow.remote.ip())).connection;
            return connection.map_or(self.own, |connection| {
                shard_of(&connection.record.key(), self.shards)
            });
        }
        let call_id = hash(&(message.call_id() as &str));
        if let Some(owner) = self.remembered.get(&call_id) {
            return *owner;
        }
        let connection = Attempt::of(&message, Some(flow))
            .and_then(|attempt| source::identify(directory, &attempt).connection)
            .filter(|connection| connection.record.domain != SYSTEM);
        let tenant = connection.map_or(call_id, |connection| hash(&connection.record.domain));
        let owner = (tenant % u64::from(self.shards)) as u16;
        if self.order.len() >= MAX_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.remembered.remove(&oldest);
        }
        self.order.push_back(call_id);
        self.remembered.insert(call_id, owner);
        owner
    }
}

/// The shard that holds the registrations of a connection, both ways.
pub(crate) fn shard_of(connection: &ConnectionKey, shards: u16) -> u16 {
    (hash(connection) % u64::from(shards.max(1))) as u16
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
