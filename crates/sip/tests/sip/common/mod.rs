//! Two endpoints, a clock and a wire ([`Pair`]), or one endpoint and a peer of our own making
//! ([`Lone`]), on simulated time.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test file uses its own part"
)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip::endpoint::{
    Config, Endpoint, Flow, Input, Interface, NextHop, OutboundInvite, Output, StreamId, Transport,
};
use sip::event::{EndCause, Event, ServerRequestId, SessionId};
use sip::message::{ByteStr, Headers, Message, Method, Name, RequestDraft, Uri};
use sip::random::Random;
use sip::resolve::Question;

pub const OFFER: Bytes = Bytes::from_static(b"v=0\r\no=offer\r\n");
pub const ANSWER: Bytes = Bytes::from_static(b"v=0\r\no=answer\r\n");
pub const NOTHING: Bytes = Bytes::new();
pub const T1: Duration = Duration::from_millis(500);

pub fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn uri(text: &str) -> Uri {
    Uri::parse(&ByteStr::copy(text)).expect("a valid URI")
}

/// Interfaces 0 (UDP) and 1 (TCP) on one address.
pub fn config(host: &str, owner: u16) -> Config {
    let local: SocketAddr = format!("{host}:5060").parse().expect("an address");
    let interface = |transport| Interface {
        transport,
        local,
        advertise: ByteStr::copy(host),
        port: 5060,
        alternate: false,
    };
    Config::new(
        vec![interface(Transport::Udp), interface(Transport::Tcp)],
        owner,
    )
}

/// An INVITE to `uri_text`, sent by its literal address.
pub fn call_to(uri_text: &str, body: Bytes) -> OutboundInvite {
    let to = uri(uri_text);
    OutboundInvite {
        target: NextHop::Target(sip::resolve::Target::of_uri(&to).expect("a SIP target")),
        draft: draft(Method::Invite, uri_text, body),
        credentials: None,
        interface: None,
        fail_over_without_response: true,
        session_timer: None,
        from_change: false,
    }
}

pub fn draft(method: Method, uri_text: &str, body: Bytes) -> RequestDraft {
    RequestDraft {
        method,
        uri: uri(uri_text),
        max_forwards: 70,
        from: "<sip:alice@left.example>".into(),
        to: format!("<{uri_text}>").into(),
        call_id: ByteStr::default(),
        cseq: 1,
        routes: Vec::new(),
        contact: None,
        headers: Headers::new(),
        content_type: None,
        body,
    }
}

/// One word or two about an event.
pub fn describe(event: &Event) -> String {
    let status = |message: &Message| message.status().unwrap_or(0);
    match event {
        Event::Invite { .. } => "Invite".into(),
        Event::Request { request, .. } => {
            format!("Request {}", request.method().expect("a request"))
        }
        Event::Progress { response, .. } => format!("Progress {}", status(response)),
        Event::Answered { response, .. } => format!("Answered {}", status(response)),
        Event::Failed { status, cause, .. } => format!("Failed {status} {cause:?}"),
        Event::Cancelled { .. } => "Cancelled".into(),
        Event::Established { .. } => "Established".into(),
        Event::Pracked { .. } => "Pracked".into(),
        Event::Offer { method, .. } => format!("Offer {method}"),
        Event::OfferWithdrawn { .. } => "OfferWithdrawn".into(),
        Event::OfferResult { method, status, .. } => format!("OfferResult {method} {status}"),
        Event::OfferAck { .. } => "OfferAck".into(),
        Event::Updated { .. } => "Updated".into(),
        Event::Response { status, .. } => format!("Response {status}"),
        Event::Ended {
            cause: EndCause::PeerBye { .. },
            ..
        } => "Ended PeerBye".into(),
        Event::Ended { cause, .. } => format!("Ended {cause:?}"),
        Event::Misbehaved { why, .. } => format!("Misbehaved {why:?}"),
    }
}

/// Sessions that were heard of. They are laid to rest whenever nothing happens in them, which nobody may notice.
#[derive(Default)]
pub struct Resting {
    sessions: BTreeSet<SessionId>,
    /// How often one was at rest.
    pub rests: usize,
}

impl Resting {
    fn hear(&mut self, event: &Event) {
        if let Event::Answered { session, .. } | Event::Established { session, .. } = event {
            self.sessions.insert(*session);
        }
    }

    fn rest(&mut self, endpoint: &mut Endpoint, now: Instant) {
        for session in &self.sessions {
            self.rests += usize::from(endpoint.rest(now, *session));
        }
        while endpoint.next_woken().is_some() {}
    }
}

/// The message of an event that has one.
pub fn message_of(event: &Event) -> Option<&Message> {
    match event {
        Event::Invite { request, .. }
        | Event::Request { request, .. }
        | Event::Cancelled { request, .. }
        | Event::Pracked { request, .. }
        | Event::OfferWithdrawn { request, .. }
        | Event::Updated { request, .. }
        | Event::Offer { request, .. } => Some(request),
        Event::Progress { response, .. } | Event::Answered { response, .. } => Some(response),
        Event::Established { ack, .. } | Event::OfferAck { ack, .. } => ack.as_ref(),
        Event::Failed { response, .. }
        | Event::OfferResult { response, .. }
        | Event::Response { response, .. } => response.as_ref(),
        Event::Ended {
            cause: EndCause::PeerBye { request },
            ..
        } => Some(request),
        Event::Ended { .. } | Event::Misbehaved { .. } => None,
    }
}

/// How the wire treats datagrams. Percentages.
#[derive(Clone, Copy, Default)]
pub struct Weather {
    pub loss: u64,
    pub duplication: u64,
    /// Up to this much is added to the latency, which reorders.
    pub jitter: Duration,
}

/// Whoever sits at one end of the wire.
pub struct Node {
    pub endpoint: Endpoint,
    pub events: Vec<Event>,
    /// The session that was called last.
    pub called: Option<SessionId>,
    /// The request that came last.
    pub asked: Option<ServerRequestId>,
    pub resting: Resting,
    address: SocketAddr,
}

impl Node {
    fn new(host: &str, owner: u16, seed: u64) -> Self {
        Self {
            endpoint: Endpoint::new(config(host, owner), seed),
            events: Vec::new(),
            called: None,
            asked: None,
            resting: Resting::default(),
            address: format!("{host}:5060").parse().expect("an address"),
        }
    }

    /// The events since the last call, described.
    pub fn heard(&mut self) -> Vec<String> {
        self.events
            .drain(..)
            .map(|event| describe(&event))
            .collect()
    }

    pub fn session(&self) -> SessionId {
        self.called.expect("a call came in")
    }
}

#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Side {
    Left,
    Right,
}

impl Side {
    pub fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

/// Two endpoints joined by a wire with 10 ms latency.
pub struct Pair {
    pub left: Node,
    pub right: Node,
    pub now: Instant,
    pub weather: Weather,
    /// Everything that was put on the wire, in order, lost or not.
    pub log: Vec<(Side, Message)>,
    /// Datagrams whose first line contains this are lost, that many times.
    drop_next: Vec<(Side, String, usize)>,
    wire: BTreeMap<(Instant, u64), (Side, Flow, Bytes)>,
    sequence: u64,
    random: Random,
}

const LATENCY: Duration = Duration::from_millis(10);

impl Pair {
    pub fn new(seed: u64) -> Self {
        Self {
            left: Node::new("192.0.2.1", 1, seed),
            right: Node::new("192.0.2.2", 2, seed ^ 0x5555),
            now: Instant::now(),
            weather: Weather::default(),
            log: Vec::new(),
            drop_next: Vec::new(),
            wire: BTreeMap::new(),
            sequence: 0,
            random: Random::new(seed ^ 0xaaaa),
        }
    }

    pub fn node(&mut self, side: Side) -> &mut Node {
        match side {
            Side::Left => &mut self.left,
            Side::Right => &mut self.right,
        }
    }

    /// Loses the next `times` messages from `side` whose first line contains `text`.
    pub fn lose(&mut self, side: Side, text: &str, times: usize) {
        self.drop_next.push((side, text.into(), times));
    }

    /// Takes the outputs of both sides.
    pub fn drain(&mut self) {
        for side in [Side::Left, Side::Right] {
            while let Some(output) = self.node(side).endpoint.poll() {
                match output {
                    Output::Transmit { flow, bytes, .. } => self.put(side, flow, bytes),
                    Output::Lookup(question) => panic!("unexpected look-up {question:?}"),
                    Output::Event(event) => {
                        let node = self.node(side);
                        match &event {
                            Event::Invite { session, .. } => node.called = Some(*session),
                            Event::Request { id, .. } => node.asked = Some(*id),
                            _ => {}
                        }
                        node.resting.hear(&event);
                        node.events.push(event);
                    }
                }
            }
            let now = self.now;
            let Node {
                endpoint, resting, ..
            } = self.node(side);
            resting.rest(endpoint, now);
        }
    }

    fn put(&mut self, from: Side, flow: Flow, bytes: Bytes) {
        let message = Message::parse(bytes.clone()).expect("we send valid messages");
        let first_line = String::from_utf8_lossy(&bytes)
            .lines()
            .next()
            .unwrap_or("")
            .to_owned();
        self.log.push((from, message));
        assert_eq!(
            flow.remote.ip(),
            self.node(from.other()).address.ip(),
            "for somebody else: {first_line}"
        );
        for (side, text, times) in &mut self.drop_next {
            if *side == from && *times > 0 && first_line.contains(text.as_str()) {
                *times -= 1;
                return;
            }
        }
        let stream = (flow.interface == 1).then_some(StreamId(1));
        let weather = if stream.is_some() {
            Weather::default()
        } else {
            self.weather
        };
        let copies = if self.random.below(100) < weather.loss {
            0
        } else if self.random.below(100) < weather.duplication {
            2
        } else {
            1
        };
        let remote = self.node(from).address;
        for _ in 0..copies {
            let jitter =
                Duration::from_micros(self.random.below(weather.jitter.as_micros() as u64 + 1));
            let at = self.now + LATENCY + jitter;
            self.sequence += 1;
            let arriving = Flow {
                interface: flow.interface,
                remote,
                stream,
            };
            self.wire
                .insert((at, self.sequence), (from.other(), arriving, bytes.clone()));
        }
    }

    fn next_instant(&self) -> Option<Instant> {
        let arrival = self.wire.keys().next().map(|(at, _)| *at);
        [
            arrival,
            self.left.endpoint.poll_timeout(),
            self.right.endpoint.poll_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn step(&mut self, at: Instant) {
        self.now = self.now.max(at);
        let now = self.now;
        while let Some(entry) = self.wire.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let (to, flow, bytes) = entry.remove();
            self.node(to)
                .endpoint
                .handle(now, Input::Received { flow, bytes });
            self.drain();
        }
        for side in [Side::Left, Side::Right] {
            if self
                .node(side)
                .endpoint
                .poll_timeout()
                .is_some_and(|at| at <= now)
            {
                self.node(side).endpoint.handle(now, Input::Timeout);
                self.drain();
            }
        }
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.drain();
        while let Some(at) = self.next_instant().filter(|at| *at <= end) {
            self.step(at);
        }
        self.now = end;
    }

    /// Lets everything that is on the wire, and what it causes, arrive.
    pub fn settle(&mut self) {
        self.drain();
        while let Some((at, _)) = self.wire.keys().next().copied() {
            self.step(at);
        }
    }

    /// Runs until nothing is left to happen.
    pub fn run_out(&mut self) {
        self.drain();
        for _ in 0..100_000 {
            let Some(at) = self.next_instant() else {
                return;
            };
            self.step(at);
        }
        panic!(
            "it never ends: {:?} {:?}",
            self.left.endpoint.stats(),
            self.right.endpoint.stats()
        );
    }

    pub fn assert_empty(&self) {
        for node in [&self.left, &self.right] {
            let stats = node.endpoint.stats();
            assert_eq!(
                (
                    stats.transactions,
                    stats.sessions,
                    stats.exchanges,
                    stats.timers
                ),
                (0, 0, 0, 0),
                "{}: {stats:?}",
                node.address
            );
        }
    }

    /// Left calls right.
    pub fn call(&mut self, body: Bytes) -> SessionId {
        let session = self
            .left
            .endpoint
            .invite(self.now, call_to("sip:bob@192.0.2.2", body));
        self.settle();
        session
    }

    /// Left calls right, right answers; both sessions.
    pub fn established(&mut self) -> (SessionId, SessionId) {
        let ours = self.call(OFFER);
        let theirs = self.right.session();
        self.right
            .endpoint
            .answer(self.now, theirs, Headers::new(), ANSWER);
        self.settle();
        assert_eq!(self.left.heard(), ["Answered 200"]);
        assert_eq!(self.right.heard(), ["Invite", "Established"]);
        (ours, theirs)
    }

    /// The first lines of what was sent since the last call, `>` from the left and `<` from the right.
    pub fn ladder(&mut self) -> Vec<String> {
        self.log
            .drain(..)
            .map(|(side, message)| {
                let arrow = if side == Side::Left { '>' } else { '<' };
                let what = match message.status() {
                    Some(status) => format!("{status} {}", message.cseq().method),
                    None => message.method().expect("a request").to_string(),
                };
                format!("{arrow} {what}")
            })
            .collect()
    }
}

/// One endpoint, 192.0.2.1, whose peer is the test.
pub struct Lone {
    pub endpoint: Endpoint,
    pub now: Instant,
    pub base: Instant,
    pub events: Vec<Event>,
    /// What was sent, when and where.
    pub sent: Vec<(Duration, Flow, Message)>,
    pub lookups: Vec<Question>,
    pub resting: Resting,
}

pub const PEER: &str = "192.0.2.2:5060";

pub fn udp(remote: &str) -> Flow {
    Flow {
        interface: 0,
        remote: remote.parse().expect("an address"),
        stream: None,
    }
}

pub fn tcp(remote: &str, stream: u64) -> Flow {
    Flow {
        interface: 1,
        remote: remote.parse().expect("an address"),
        stream: Some(StreamId(stream)),
    }
}

impl Lone {
    pub fn new() -> Self {
        Self::with(config("192.0.2.1", 1))
    }

    pub fn with(config: Config) -> Self {
        let now = Instant::now();
        Self {
            endpoint: Endpoint::new(config, 1),
            now,
            base: now,
            events: Vec::new(),
            sent: Vec::new(),
            lookups: Vec::new(),
            resting: Resting::default(),
        }
    }

    pub fn drain(&mut self) {
        while let Some(output) = self.endpoint.poll() {
            match output {
                Output::Transmit { flow, bytes, .. } => match Message::parse(bytes.clone()) {
                    Ok(message) => self.sent.push((self.now - self.base, flow, message)),
                    // The answer to a broken request repeats its broken parts.
                    Err(_) => {
                        assert!(bytes.starts_with(b"SIP/2.0 4") || bytes.starts_with(b"SIP/2.0 5"))
                    }
                },
                Output::Lookup(question) => self.lookups.push(question),
                Output::Event(event) => {
                    self.resting.hear(&event);
                    self.events.push(event);
                }
            }
        }
        self.resting.rest(&mut self.endpoint, self.now);
    }

    pub fn receive(&mut self, text: &str) {
        self.receive_from(udp(PEER), text);
    }

    pub fn receive_from(&mut self, flow: Flow, text: &str) {
        self.input(Input::Received {
            flow,
            bytes: Bytes::copy_from_slice(text.as_bytes()),
        });
    }

    pub fn input(&mut self, input: Input) {
        self.endpoint.handle(self.now, input);
        self.drain();
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        self.drain();
        let end = self.now + time;
        while let Some(at) = self.endpoint.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.input(Input::Timeout);
        }
        self.now = end;
    }

    pub fn heard(&mut self) -> Vec<String> {
        self.drain();
        self.events
            .drain(..)
            .map(|event| describe(&event))
            .collect()
    }

    /// What was sent since the last call: method or status.
    pub fn said(&mut self) -> Vec<String> {
        self.take().iter().map(first_word).collect()
    }

    /// The messages sent since the last call.
    pub fn take(&mut self) -> Vec<Message> {
        self.drain();
        self.sent.drain(..).map(|(_, _, message)| message).collect()
    }

    /// The last message sent, all before it forgotten.
    pub fn last(&mut self) -> Message {
        self.take().pop().expect("something was sent")
    }

    /// When messages were sent since the last call, in milliseconds since the beginning.
    pub fn times(&mut self) -> Vec<u64> {
        self.drain();
        self.sent
            .drain(..)
            .map(|(at, _, _)| at.as_millis() as u64)
            .collect()
    }

    pub fn invite(&mut self, body: Bytes) -> SessionId {
        let session = self
            .endpoint
            .invite(self.now, call_to("sip:bob@192.0.2.2", body));
        self.drain();
        session
    }

    pub fn transactions(&self) -> usize {
        self.endpoint.stats().transactions
    }

    pub fn sessions(&self) -> usize {
        self.endpoint.stats().sessions
    }

    /// The session of the last `Invite` event.
    pub fn called(&self) -> SessionId {
        self.events
            .iter()
            .rev()
            .find_map(|event| match event {
                Event::Invite { session, .. } => Some(*session),
                _ => None,
            })
            .expect("a call came in")
    }
}

pub fn first_word(message: &Message) -> String {
    match message.status() {
        Some(status) => status.to_string(),
        None => message.method().expect("a request").to_string(),
    }
}

/// A response to a request of the endpoint, as a peer would write it. `extra` has whole lines.
pub fn response(request: &Message, status: u16, tag: &str, extra: &str, body: &str) -> String {
    let mut text = format!("SIP/2.0 {status} Whatever\r\n");
    for via in request.headers(Name::Via) {
        text += &format!("Via: {via}\r\n");
    }
    let to = request.header(Name::To).expect("a To");
    let tag = if tag.is_empty() || request.to().tag().is_some() {
        String::new()
    } else {
        format!(";tag={tag}")
    };
    text += &format!(
        "From: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n{extra}",
        request.header(Name::From).expect("a From"),
        request.call_id(),
        request.cseq(),
    );
    text + &content(body)
}

pub fn content(body: &str) -> String {
    let kind = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!("{kind}Content-Length: {}\r\n\r\n{body}", body.len())
}

pub const CONTACT: &str = "Contact: <sip:bob@192.0.2.2:5060>\r\n";

/// A request of the peer that begins something. `extra` has whole lines.
pub fn request(method: &str, branch: &str, cseq: u32, extra: &str, body: &str) -> String {
    request_to(
        method,
        "sip:alice@192.0.2.1",
        "<sip:alice@192.0.2.1>",
        branch,
        cseq,
        extra,
        body,
    )
}

pub fn request_to(
    method: &str,
    uri: &str,
    to: &str,
    branch: &str,
    cseq: u32,
    extra: &str,
    body: &str,
) -> String {
    let contact = if matches!(method, "INVITE" | "UPDATE") {
        CONTACT
    } else {
        ""
    };
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n\
         From: <sip:bob@192.0.2.2>;tag=peer\r\nTo: {to}\r\nCall-ID: call-of-peer\r\nCSeq: {cseq} {method}\r\n\
         {contact}{extra}{}",
        content(body)
    )
}

/// A request of the peer in the dialog that `invite_response` (a response of the endpoint to
/// [`request`]) opened.
pub fn request_in(
    invite_response: &Message,
    method: &str,
    branch: &str,
    cseq: u32,
    extra: &str,
    body: &str,
) -> String {
    let to = invite_response.header(Name::To).expect("a To").to_owned();
    request_to(method, "sip:192.0.2.1:5060", &to, branch, cseq, extra, body)
}

/// Headers from pairs.
pub fn headers(lines: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in lines {
        headers.push(name, value);
    }
    headers
}

/// How often each word occurs.
pub fn count(words: &[String]) -> HashMap<&str, usize> {
    let mut counts = HashMap::new();
    for word in words {
        *counts.entry(word.as_str()).or_default() += 1;
    }
    counts
}
