//! The face of the stack: one value that takes inputs and commands and gives back outputs.
//!
//! # Contract
//!
//! ```
//! # use std::time::Instant;
//! # use sip::endpoint::{Config, Endpoint, Input, Output};
//! # let mut endpoint = Endpoint::new(Config::new(Vec::new(), 0), 1);
//! # let (now, input) = (Instant::now(), Input::Timeout);
//! endpoint.handle(now, input); // a datagram, the answer to a look-up, a timeout …
//! while let Some(output) = endpoint.poll() {
//!     match output {
//!         Output::Transmit { flow, bytes, peer } => { /* put it on the wire */ }
//!         Output::Lookup(question) => { /* ask, and come back with Input::Answer */ }
//!         Output::Event(event) => { /* the layer above; it may give commands: invite, answer, bye … */ }
//!     }
//! }
//! let sleep_until = endpoint.poll_timeout(); // then handle(now, Input::Timeout)
//! # assert_eq!(sleep_until, None);
//! ```
//!
//! * An endpoint never reads a clock, opens a socket or waits. The same inputs with the same instants
//!   and the same seed give the same outputs.
//! * `now` must not go backwards.
//! * After every `handle` and every command, drain [`Endpoint::poll`] and then ask
//!   [`Endpoint::poll_timeout`] anew.
//!
//! # Where things are
//!
//! | what | file |
//! |---|---|
//! | one transaction towards one hop | `transaction/`, one RFC figure per file |
//! | one request of ours until its outcome | `endpoint/exchange.rs`; `hops.rs`, `challenge.rs`, `streamless.rs` |
//! | requests that come in: duplicates, bounds, refusals | `endpoint/inbound.rs` |
//! | responses that come in, and where responses go | `endpoint/responses.rs` |
//! | a session that calls, or is called | `dialog/uac.rs`, `dialog/uas.rs` |
//! | sessions that outlive the process | `endpoint/kept.rs` |
//! | session timers | `dialog/session_timer.rs` |
//! | changes of identity | `dialog/identity.rs` |
//! | offers within a session, BYE, other requests | `dialog/offers.rs`, `hangup.rs`, `requests.rs`, `incoming.rs` |

mod challenge;
mod exchange;
mod hops;
mod inbound;
mod kept;
mod responses;
mod streamless;

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use self::kept::Kept;
pub use crate::dialog::offers::OfferRefused;
pub use crate::dialog::session_timer::SessionInterval;
pub use crate::token::owner_of;
pub use crate::transaction::timers::Timers;
pub use crate::transport::Transport;

use crate::arena::{Arena, Key};
use crate::auth::Credentials;
use crate::dialog::sessions::Sessions;
use crate::event::{Event, SessionId};
use crate::message::{ByteStr, Headers, Message, Method, RequestDraft};
use crate::random::Random;
use crate::resolve::{LookupError, Question, Record, Target};
use crate::token;
use crate::transaction::key::{MergeKey, ServerKey};
use crate::transaction::timers::{Due, TimerTable};
use crate::transaction::{Context, Fired};

pub(crate) use crate::transaction::Transaction;

pub(crate) use exchange::{Exchange, Outcome, Purpose};
pub(crate) use kept::Inherited;

/// One address that we listen on.
#[derive(Clone, Debug)]
pub struct Interface {
    /// What runs on it.
    pub transport: Transport,
    /// What the socket is bound to; its family decides which peers it reaches.
    pub local: SocketAddr,
    /// The host that peers are told: a name, an IPv4 address or an IPv6 address in brackets.
    pub advertise: ByteStr,
    /// The port that peers are told.
    pub port: u16,
    /// Only for who asks for it: nothing leaves by it unless it is named, and whatever follows from what came in
    /// by it stays on such interfaces.
    pub alternate: bool,
}

/// One byte stream, named by the driver.
#[derive(Copy, Clone, Eq, PartialEq, Hash, PartialOrd, Ord, Debug)]
pub struct StreamId(pub u64);

/// A way between us and a peer.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub struct Flow {
    /// Index in [`Config::interfaces`]; decides the transport.
    pub interface: u8,
    /// The far address.
    pub remote: SocketAddr,
    /// The stream. `None` on a stream transport means "open one to that address, or use one that is
    /// open"; always `None` for datagrams.
    pub stream: Option<StreamId>,
}

// Streams end with the process: the same address has to be connected to anew.
keep::keep!(struct Flow { interface, remote; stream: None });

/// Where a request goes first.
#[derive(Clone, Debug)]
pub enum NextHop {
    /// Wherever this leads by RFC 3263.
    Target(Target),
    /// Exactly there.
    Flow(Flow),
}

impl From<Target> for NextHop {
    fn from(target: Target) -> Self {
        Self::Target(target)
    }
}

impl From<Flow> for NextHop {
    fn from(flow: Flow) -> Self {
        Self::Flow(flow)
    }
}

/// Where responses to a peer's datagrams go. On a stream they always go back along it.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum ReplyTo {
    /// Where RFC 3261 §18.2.2 and RFC 3581 say: back to the source.
    #[default]
    Source,
    /// To the address of the request's Contact, if it is a literal one; else to the source.
    Contact,
    /// To the address in the topmost Via, if it is a literal one, even if the request came from elsewhere; else
    /// to the source.
    Via,
}

keep::keep!(enum ReplyTo { 0 = Source, 1 = Contact, 2 = Via });

/// What an endpoint has to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The addresses we listen on; a [`Flow`] names them by index. At most 256.
    pub interfaces: Vec<Interface>,
    /// The number of this shard, carried in our tags, branches and Call-IDs.
    pub owner: u16,
    /// The timers.
    pub timers: Timers,
    /// Beyond this many transactions, new calls and requests get 503. Requests within sessions may
    /// use a quarter more, so that calls can end.
    pub max_transactions: usize,
    /// Beyond this many sessions, new calls get 503.
    pub max_sessions: usize,
    /// Beyond this many bytes of requests and their responses in server transactions, the same: a
    /// flood of the longest messages must not take the memory that as many short ones would not.
    pub max_held_bytes: usize,
    /// What `Retry-After` says at those bounds, in seconds.
    pub retry_after_seconds: u32,
    /// The text of `User-Agent` and `Server`.
    pub software: Option<ByteStr>,
    /// The methods we allow; others get 405.
    pub allow: Vec<Method>,
    /// The option tags we support; others in `Require` get 420.
    pub supported: Vec<ByteStr>,
}

impl Config {
    /// The usual values for the given interfaces and shard.
    pub fn new(interfaces: Vec<Interface>, owner: u16) -> Self {
        Self {
            interfaces,
            owner,
            timers: Timers::default(),
            max_transactions: 100_000,
            max_sessions: 50_000,
            max_held_bytes: 256 << 20,
            retry_after_seconds: 5,
            software: None,
            allow: vec![
                Method::Invite,
                Method::Ack,
                Method::Bye,
                Method::Cancel,
                Method::Options,
                Method::Prack,
                Method::Update,
                Method::Info,
                Method::Refer,
                Method::Notify,
                Method::Message,
                Method::Register,
            ],
            supported: vec!["100rel".into()],
        }
    }
}

/// Something that happened outside.
#[derive(Debug)]
pub enum Input {
    /// A datagram, or one framed message of a stream.
    Received {
        /// Where from; on a stream with its [`StreamId`].
        flow: Flow,
        /// The message.
        bytes: Bytes,
    },
    /// A stream is no more.
    StreamClosed(StreamId),
    /// What was transmitted to this flow did not arrive: no connection, or the socket refused.
    SendFailed {
        /// The flow of the transmit.
        flow: Flow,
    },
    /// The outcome of a look-up.
    Answer {
        /// What was asked.
        question: Question,
        /// What was found.
        result: Result<Vec<Record>, LookupError>,
    },
    /// The instant of [`Endpoint::poll_timeout`] has come.
    Timeout,
}

/// Something to do outside.
#[derive(Debug)]
pub enum Output {
    /// Send this.
    Transmit {
        /// Where to.
        flow: Flow,
        /// The message.
        bytes: Bytes,
        /// Over TLS: the name that the peer's certificate has to prove (RFC 5922 §4), which is the one before any
        /// look-up. `None` when the message belongs to something that goes on: then whatever stream leads there is
        /// the right one, and a stream that has to be opened must prove its address.
        peer: Option<ByteStr>,
    },
    /// Look this up and come back with [`Input::Answer`].
    Lookup(Question),
    /// Tell the layer above.
    Event(Event),
}

/// How much an endpoint holds at the moment, and what it has seen.
#[derive(Copy, Clone, Default, PartialEq, Eq, Debug)]
pub struct Stats {
    /// Running transactions.
    pub transactions: usize,
    /// Sessions, from their INVITE to the answer to their BYE.
    pub sessions: usize,
    /// Requests of ours without an outcome.
    pub exchanges: usize,
    /// Running timers.
    pub timers: usize,
    /// Bytes of requests and responses in server transactions, of at most [`Config::max_held_bytes`].
    pub held_bytes: usize,
    /// Responses and ACKs that belonged to nothing, so far.
    pub strays: u64,
    /// Requests refused at a bound, so far.
    pub overloads: u64,
}

/// An INVITE to send.
#[derive(Clone, Debug)]
pub struct OutboundInvite {
    /// The INVITE. Its CSeq and the tag of its From are chosen by the endpoint, and, when they are
    /// empty, its Call-ID and Contact too.
    pub draft: RequestDraft,
    /// Where it goes.
    pub target: NextHop,
    /// What to answer a challenge with; kept for the requests of the session.
    pub credentials: Option<Arc<Credentials>>,
    /// The interface to send from, if it matters and fits the hop.
    pub interface: Option<u8>,
    /// Whether to try the next hop, and give up after the last, when [`Timers::no_response`] passes
    /// without any response; otherwise only timer B counts.
    pub fail_over_without_response: bool,
    /// On which terms the session is timed (RFC 4028); `None` proposes nothing.
    pub session_timer: Option<SessionInterval>,
    /// Whether identities may change within the session (RFC 4916), which its INVITE then says.
    pub from_change: bool,
}

/// A request to send outside of any session: OPTIONS, REGISTER, MESSAGE …
#[derive(Clone, Debug)]
pub struct OutboundRequest {
    /// The request. The tag of its From is chosen by the endpoint and, when they are empty, its Call-ID and, where
    /// the method has one, its Contact too.
    pub draft: RequestDraft,
    /// Where it goes.
    pub target: NextHop,
    /// What to answer a challenge with.
    pub credentials: Option<Arc<Credentials>>,
    /// The interface to send from, if it matters and fits the hop.
    pub interface: Option<u8>,
    /// Whether to give up after the last hop, too, when [`Timers::no_response`] passes without any response;
    /// otherwise only timer F counts there.
    pub impatient: bool,
}

impl OutboundRequest {
    /// A patient request without credentials, from whichever interface fits.
    pub fn new(draft: RequestDraft, target: impl Into<NextHop>) -> Self {
        Self {
            draft,
            target: target.into(),
            credentials: None,
            interface: None,
            impatient: false,
        }
    }
}

/// Who hears about a transaction.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum User {
    /// Nobody any more: late calls are cancelled and hung up.
    Nobody,
    /// A request of ours.
    Exchange(Key),
    /// A session: its INVITE, or its re-INVITE once that has been answered.
    Session(Key),
    /// A re-INVITE of the peer.
    Reinvite(Key),
    /// A request of the peer, in a session or not.
    Request(Option<Key>),
}

/// A running transaction with its surroundings.
pub(crate) struct Running {
    pub(crate) machine: Transaction,
    pub(crate) user: User,
    /// The CANCEL of an INVITE of ours: it shares the branch and so is found through the INVITE.
    pub(crate) cancel: Option<Key>,
    pub(crate) server_key: Option<ServerKey>,
    pub(crate) merge_key: Option<MergeKey>,
    /// What it counts towards [`Config::max_held_bytes`].
    pub(crate) held_bytes: usize,
}

impl Running {
    /// A transaction of ours.
    pub(crate) fn client(machine: Transaction, user: User) -> Box<Self> {
        Box::new(Self {
            machine,
            user,
            cancel: None,
            server_key: None,
            merge_key: None,
            held_bytes: 0,
        })
    }
}

/// Hashes keys that are fingerprints already.
#[derive(Default)]
pub(crate) struct Ready(u64);

impl Hasher for Ready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = self.0.rotate_left(32) ^ word;
    }
}

type ReadyMap<K> = HashMap<K, Key, BuildHasherDefault<Ready>>;

/// What peers are told about one interface, written once.
pub(crate) struct Face {
    /// A Via up to the branch.
    pub(crate) via: String,
    pub(crate) contact: ByteStr,
}

impl Face {
    fn of(interface: &Interface) -> Self {
        let Interface {
            transport,
            advertise,
            port,
            ..
        } = interface;
        let parameter = match transport {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
        };
        Self {
            via: format!(
                "SIP/2.0/{} {advertise}:{port};rport;branch=",
                transport.as_str()
            ),
            contact: format!("<sip:{advertise}:{port}{parameter}>").into(),
        }
    }
}

/// The SIP stack of one shard. See the module for the calling contract.
pub struct Endpoint {
    pub(crate) config: Config,
    pub(crate) random: Random,
    /// Keys the fingerprints of foreign branches.
    pub(crate) secret: u64,
    pub(crate) timers: TimerTable,
    /// Each in a piece of memory of its own, which is given back when it ends: they come in waves.
    pub(crate) transactions: Arena<Box<Running>>,
    pub(crate) server_keys: ReadyMap<ServerKey>,
    pub(crate) merge_keys: ReadyMap<MergeKey>,
    pub(crate) sessions: Sessions,
    pub(crate) exchanges: Arena<Exchange>,
    /// Who waits for which look-up; each question is asked once at a time.
    pub(crate) lookups: HashMap<Question, Vec<Key>>,
    /// Peers that take no stream.
    pub(crate) streamless: streamless::Streamless,
    /// The streams that are open, as far as we have heard.
    pub(crate) streams: HashSet<StreamId>,
    pub(crate) out: VecDeque<Output>,
    /// Set while draining: what Retry-After says.
    pub(crate) draining: Option<u32>,
    /// One for each interface.
    pub(crate) faces: Vec<Face>,
    /// Header lines that do not change: `Allow`, `Supported`.
    pub(crate) capabilities: Headers,
    pub(crate) strays: u64,
    pub(crate) overloads: u64,
    /// Sum over the running transactions.
    pub(crate) held_bytes: usize,
    /// Of an earlier process.
    pub(crate) inherited: kept::Inherited,
    pub(crate) watch: kept::Watch,
}

impl Endpoint {
    /// An endpoint with nothing in it. All its tags, branches and delays follow from `seed`.
    pub fn new(mut config: Config, seed: u64) -> Self {
        config.max_transactions = config.max_transactions.min(token::MAX_SLOTS / 2);
        config.max_sessions = config.max_sessions.min(token::MAX_SLOTS);
        config.timers = config.timers.sane();
        let mut random = Random::new(seed);
        let secret = random.next_u64();
        let mut capabilities = Headers::default();
        let allow: Vec<&str> = config.allow.iter().map(Method::as_str).collect();
        capabilities.push("Allow", allow.join(", "));
        // Timers are a matter of each session, which says so itself.
        let supported: Vec<&str> = config
            .supported
            .iter()
            .map(ByteStr::as_str)
            .filter(|tag| !tag.eq_ignore_ascii_case("timer"))
            .collect();
        if !supported.is_empty() {
            capabilities.push("Supported", supported.join(", "));
        }
        let faces = config.interfaces.iter().map(Face::of).collect();
        Self {
            config,
            random,
            secret,
            timers: TimerTable::default(),
            transactions: Arena::default(),
            server_keys: HashMap::default(),
            merge_keys: HashMap::default(),
            sessions: Sessions::default(),
            exchanges: Arena::default(),
            lookups: HashMap::new(),
            streamless: streamless::Streamless::default(),
            streams: HashSet::new(),
            out: VecDeque::new(),
            draining: None,
            faces,
            capabilities,
            strays: 0,
            overloads: 0,
            held_bytes: 0,
            inherited: kept::Inherited::default(),
            watch: kept::Watch::default(),
        }
    }

    /// Takes one thing that happened outside.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Received { flow, bytes } => self.handle_received(now, flow, bytes),
            Input::StreamClosed(stream) => self.handle_stream_closed(now, stream),
            Input::SendFailed { flow } => self.handle_send_failed(now, flow),
            Input::Answer { question, result } => self.handle_answer(now, question, result),
            Input::Timeout => self.handle_timeout(now),
        }
    }

    /// The next thing to do outside; `None` when there is nothing until the next input.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`Input::Timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// How much there is at the moment.
    pub fn stats(&self) -> Stats {
        Stats {
            transactions: self.transactions.len(),
            sessions: self.sessions.len(),
            exchanges: self.exchanges.len(),
            timers: self.timers.len(),
            held_bytes: self.held_bytes,
            strays: self.strays,
            overloads: self.overloads,
        }
    }

    /// From now on refuses new calls and answers OPTIONS outside of sessions with 503 and this
    /// `Retry-After`; `None` returns to normal.
    pub fn drain(&mut self, retry_after_seconds: Option<u32>) {
        self.draining = retry_after_seconds;
    }

    /// A Call-ID that carries our owner number.
    pub fn new_call_id(&mut self) -> ByteStr {
        token::anonymous(self.config.owner, &mut self.random).into()
    }

    /// The interfaces, as configured.
    pub fn interfaces(&self) -> &[Interface] {
        &self.config.interfaces
    }

    /// The transport of a flow.
    pub(crate) fn transport(&self, flow: Flow) -> Transport {
        self.config
            .interfaces
            .get(usize::from(flow.interface))
            .map_or(Transport::Udp, |it| it.transport)
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    /// The Contact that leads back to us over an interface.
    pub(crate) fn contact(&self, interface: u8) -> ByteStr {
        self.faces
            .get(usize::from(interface))
            .map(|face| face.contact.clone())
            .unwrap_or_default()
    }

    /// Runs `f` on one transaction and removes it if that ended it.
    pub(crate) fn with_transaction<T>(
        &mut self,
        now: Instant,
        id: Key,
        f: impl FnOnce(&mut Context<'_>, &mut Transaction) -> T,
    ) -> Option<T> {
        let running = self.transactions.get_mut(id)?;
        let mut context = Context {
            now,
            id,
            timing: &self.config.timers,
            timers: &mut self.timers,
            out: &mut self.out,
            peer: None,
        };
        let result = f(&mut context, &mut running.machine);
        if running.machine.is_terminated() {
            self.remove_transaction(now, id);
        }
        Some(result)
    }

    /// Forgets a transaction that has terminated.
    fn remove_transaction(&mut self, now: Instant, id: Key) {
        let Some(running) = self.transactions.remove(id) else {
            return;
        };
        self.held_bytes -= running.held_bytes;
        self.inherited.forget_transaction(&running.machine);
        self.end_refusal(running.user);
        if let Some(key) = running.server_key
            && self.server_keys.get(&key) == Some(&id)
        {
            self.server_keys.remove(&key);
        }
        if let Some(key) = running.merge_key
            && self.merge_keys.get(&key) == Some(&id)
        {
            self.merge_keys.remove(&key);
        }
        if let Some(cancel) = running.cancel {
            // Its responses were found through the INVITE, so it cannot hear any more.
            self.with_transaction(now, cancel, |cx, machine| {
                if let Transaction::RequestClient(machine) = machine {
                    machine.terminate(cx);
                }
            });
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        // Ends: whatever a timer starts is due after `now`.
        while let Some(due) = self.timers.pop_due(now) {
            match due {
                Due::Transaction(id, letter) => {
                    let Some(user) = self.transactions.get(id).map(|running| running.user) else {
                        continue;
                    };
                    let fired =
                        self.with_transaction(now, id, |cx, machine| machine.fire(cx, letter));
                    match fired {
                        Some(Fired::NoResponse) => self.on_no_response(now, id, user),
                        Some(Fired::TimedOut) => self.on_transaction_timeout(now, id, user),
                        Some(Fired::Nothing) | None => {}
                    }
                }
                Due::Session(id, timer) => self.on_session_timer(now, SessionId(id), timer),
                Due::Lookup(id) => self.on_lookup_timeout(now, id),
            }
        }
    }

    fn on_transaction_timeout(&mut self, now: Instant, id: Key, user: User) {
        match user {
            User::Exchange(exchange) => self.on_exchange_timeout(now, exchange),
            User::Request(session) => self.on_unanswered(now, id, session),
            User::Nobody | User::Session(_) | User::Reinvite(_) => {}
        }
    }
}

/// How long 2xx and reliable provisionals wait before they are sent once more: T1, doubling.
pub(crate) fn next_interval(interval: Duration, cap: Option<Duration>) -> Duration {
    let doubled = interval * 2;
    cap.map_or(doubled, |cap| doubled.min(cap))
}

/// Whether a message carries a session description that counts as offer or answer.
pub(crate) fn has_sdp(message: &Message) -> bool {
    if message.body().is_empty() {
        return false;
    }
    message.content_type().is_some_and(|kind| {
        let kind = kind.split(';').next().unwrap_or("").trim();
        kind.eq_ignore_ascii_case("application/sdp")
            || kind
                .get(..10)
                .is_some_and(|start| start.eq_ignore_ascii_case("multipart/"))
    })
}
