//! A user agent with one line: pure, so that the simulator runs it on simulated time and `strowger demo` with
//! real sockets.
//!
//! It speaks and hears PCMU (RFC 3551): it plays a tone, and keeps what it hears.

use bytes::Bytes;
use media::sdp::anchor::{LocalMedia, OriginState};
use media::sdp::negotiate::{make_answer, make_offer};
use media::sdp::{Codec, Direction, Session};
use media::{g711, rtp, tone};
use sip::auth::Credentials;
use sip::endpoint::{self, Endpoint, Flow, Interface, OutboundInvite, SessionInterval, Timers};
use sip::event::{EndCause, Event, ServerRequestId, SessionId};
use sip::message::{ByteStr, Headers, Method, NameAddr, RequestDraft, ResponseDraft, Uri};
use sip::transport::Transport;
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Samples that are kept of what was heard: a minute at 8 kHz.
pub const MAX_HEARD_SAMPLES: usize = 60 * 8000;

const FRAME: Duration = Duration::from_millis(20);
const FRAME_SAMPLES: usize = 160;

/// Who a phone is.
#[derive(Debug, Clone)]
pub struct PhoneConfig {
    /// Display name.
    pub name: String,
    /// User part of From and Contact.
    pub user: String,
    /// Host part of From.
    pub domain: String,
    /// Its own SIP address.
    pub sip: SocketAddr,
    /// Its own RTP address.
    pub rtp: SocketAddr,
    /// Where its requests go.
    pub peer: SocketAddr,
    /// The tone it plays, in hertz; zero sends no media at all.
    pub tone_hz: f32,
    /// What it answers a challenge with.
    pub credentials: Option<Arc<Credentials>>,
    /// What it does when it is called.
    pub when_called: WhenCalled,
    /// Makes tags, branches and the rest.
    pub seed: u64,
}

/// What a phone does when it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenCalled {
    /// Rings, then answers.
    Answer(Duration),
    /// Refuses with this status, after a while.
    Refuse(u16, Duration),
    /// Rings and is not answered.
    RingForever,
}

/// Something that reaches a phone.
#[derive(Debug)]
pub enum Input {
    /// A SIP datagram.
    Sip {
        /// Where it came from.
        from: SocketAddr,
        /// The message.
        bytes: Bytes,
    },
    /// An RTP datagram.
    Rtp {
        /// Where it came from.
        from: SocketAddr,
        /// The packet.
        bytes: Bytes,
    },
    /// The time of [`Phone::poll_timeout`] has come.
    Timeout,
}

/// Something a phone does.
#[derive(Debug)]
pub enum Output {
    /// Sends a SIP datagram.
    Sip {
        /// Where to.
        to: SocketAddr,
        /// The message.
        bytes: Bytes,
    },
    /// Sends an RTP datagram.
    Rtp {
        /// Where to.
        to: SocketAddr,
        /// The packet.
        bytes: Bytes,
    },
    /// Tells whoever holds it.
    Event(PhoneEvent),
}

/// What whoever holds a phone would see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PhoneEvent {
    /// It calls.
    Calling,
    /// It is called.
    IncomingCall {
        /// User part of the caller.
        from_user: String,
        /// User part of the Request-URI.
        to_user: String,
    },
    /// The other side rings.
    Ringing,
    /// The call is up.
    Answered,
    /// The first RTP packet was heard.
    MediaHeard,
    /// Our offer within the call was accepted or refused.
    OfferDone {
        /// Final status.
        status: u16,
    },
    /// Our call came to nothing.
    Failed {
        /// Final status.
        status: u16,
    },
    /// The call is over.
    Ended {
        /// Whether we ended it.
        by_us: bool,
    },
}

/// A phone with one line.
pub struct Phone {
    config: PhoneConfig,
    endpoint: Endpoint,
    line: Option<Line>,
    session_timer: Option<SessionInterval>,
    origin: OriginState,
    /// Media lines it describes itself with, in place of its own.
    media: Option<String>,
    /// What it offers and accepts.
    codecs: Vec<Codec>,
    out: VecDeque<Output>,
    heard: Vec<i16>,
    sent: u64,
    received: u64,
    sine: tone::Sine,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    next_frame: Option<Instant>,
}

#[derive(Debug)]
struct Line {
    session: SessionId,
    /// When the pending answer or refusal is due.
    due: Option<Instant>,
    offer: Option<Bytes>,
    remote_rtp: Option<SocketAddr>,
    answered: bool,
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Phone")
            .field("config", &self.config)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

impl Phone {
    /// A phone on the hook.
    pub fn new(config: PhoneConfig) -> Self {
        let interface = Interface {
            transport: Transport::Udp,
            local: config.sip,
            advertise: host(config.sip),
            port: config.sip.port(),
            alternate: false,
        };
        let sip = endpoint::Config {
            timers: Timers::default(),
            ..endpoint::Config::new(vec![interface], 0)
        };
        let origin = OriginState::new(config.seed >> 2, config.rtp.ip());
        let sine = tone::Sine::new(config.tone_hz, 8000, 0.5);
        Self {
            endpoint: Endpoint::new(sip, config.seed),
            line: None,
            session_timer: None,
            origin,
            media: None,
            codecs: vec![Codec::PCMU, Codec::telephone_event()],
            out: VecDeque::new(),
            heard: Vec::new(),
            sent: 0,
            received: 0,
            sine,
            ssrc: config.seed as u32,
            sequence: (config.seed >> 8) as u16,
            timestamp: 0,
            next_frame: None,
            config,
        }
    }

    /// From now on it offers and answers with these media lines, `{port}` standing for its own RTP port. It still
    /// speaks PCMU.
    pub fn describe_as(&mut self, media: &str) {
        self.media = Some(media.to_owned());
    }

    /// From now on it offers these codecs, best first, and refuses offers without any of them (488). It still sends PCMU.
    pub fn speak(&mut self, codecs: &[Codec]) {
        self.codecs = codecs.to_vec();
    }

    /// Times its calls from now on (RFC 4028).
    pub fn time_sessions(&mut self, interval: SessionInterval) {
        self.session_timer = Some(interval);
    }

    /// Calls a SIP URI.
    pub fn call(&mut self, now: Instant, to: &str) {
        let offer = self.offer(Direction::SendRecv);
        self.invite(now, to, offer);
    }

    /// Calls a SIP URI and leaves the offer to the other side (RFC 3261 §13.2.1).
    pub fn call_without_offer(&mut self, now: Instant, to: &str) {
        self.invite(now, to, Bytes::new());
    }

    fn invite(&mut self, now: Instant, to: &str, body: Bytes) {
        let Ok(uri) = Uri::parse(&ByteStr::copy(to)) else {
            self.tell(PhoneEvent::Failed { status: 416 });
            return;
        };
        let own = Uri::build("sip", Some(&self.config.user), &self.config.domain, None);
        let draft = RequestDraft {
            method: Method::Invite,
            uri: uri.clone(),
            max_forwards: 70,
            from: NameAddr::new(Some(&self.config.name), own)
                .to_string()
                .into(),
            to: NameAddr::new(None, uri).to_string().into(),
            call_id: ByteStr::from(""),
            cseq: 0,
            routes: Vec::new(),
            contact: None,
            headers: Headers::new(),
            content_type: (!body.is_empty()).then(|| "application/sdp".into()),
            body: body.clone(),
        };
        let flow = Flow {
            interface: 0,
            remote: self.config.peer,
            stream: None,
        };
        let session = self.endpoint.invite(
            now,
            OutboundInvite {
                draft,
                target: flow.into(),
                credentials: self.config.credentials.clone(),
                interface: Some(0),
                fail_over_without_response: false,
                session_timer: self.session_timer,
                from_change: false,
            },
        );
        self.line = Some(Line {
            session,
            due: None,
            offer: (!body.is_empty()).then_some(body),
            remote_rtp: None,
            answered: false,
        });
        self.tell(PhoneEvent::Calling);
        self.pump(now);
    }

    /// Hangs up: gives up a call that is not answered, ends one that is, refuses one that rings here.
    pub fn hang_up(&mut self, now: Instant) {
        let Some(line) = self.line.take() else { return };
        self.next_frame = None;
        // `bye` before the answer is CANCEL for who calls and a refusal for who is called.
        self.endpoint.bye(now, line.session, Headers::new());
        self.tell(PhoneEvent::Ended { by_us: true });
        self.pump(now);
    }

    /// Puts the call on hold, or resumes it, by a re-INVITE. False when there is no call to hold.
    pub fn hold(&mut self, now: Instant, held: bool) -> bool {
        let Some(session) = self
            .line
            .as_ref()
            .filter(|line| line.answered)
            .map(|line| line.session)
        else {
            return false;
        };
        let body = self.offer(if held {
            Direction::SendOnly
        } else {
            Direction::SendRecv
        });
        let sent = self
            .endpoint
            .offer(now, session, Method::Invite, Headers::new(), body)
            .is_ok();
        self.pump(now);
        sent
    }

    /// Takes one input; drain [`poll`](Self::poll) afterwards.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Sip { from, bytes } => {
                let flow = Flow {
                    interface: 0,
                    remote: from,
                    stream: None,
                };
                self.endpoint
                    .handle(now, endpoint::Input::Received { flow, bytes });
            }
            Input::Rtp { bytes, .. } => self.hear(&bytes),
            Input::Timeout => self.endpoint.handle(now, endpoint::Input::Timeout),
        }
        self.when_due(now);
        self.talk(now);
        self.pump(now);
    }

    /// The next thing it does.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`Input::Timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.line.as_ref().and_then(|line| line.due);
        [self.endpoint.poll_timeout(), due, self.next_frame]
            .into_iter()
            .flatten()
            .min()
    }

    /// Everything heard so far: 8 kHz, mono, at most [`MAX_HEARD_SAMPLES`].
    pub fn heard(&self) -> &[i16] {
        &self.heard
    }

    /// RTP packets sent and received.
    pub fn packets(&self) -> (u64, u64) {
        (self.sent, self.received)
    }

    /// Whether nothing of a call is left, down to the last retransmission timer.
    pub fn is_idle(&self) -> bool {
        let stats = self.endpoint.stats();
        self.line.is_none() && stats.sessions == 0 && stats.transactions == 0
    }

    fn pump(&mut self, now: Instant) {
        while let Some(output) = self.endpoint.poll() {
            match output {
                endpoint::Output::Transmit { flow, bytes, .. } => self.out.push_back(Output::Sip {
                    to: flow.remote,
                    bytes,
                }),
                endpoint::Output::Event(event) => self.on_event(now, event),
                // Its peer is a literal address; there is nothing to look up.
                endpoint::Output::Lookup(_) => {}
            }
        }
    }

    fn on_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Invite {
                session, request, ..
            } => self.on_called(now, session, &request),
            Event::Progress { response, .. } => {
                self.take_description(response.body());
                self.tell(PhoneEvent::Ringing);
            }
            Event::Answered {
                session, response, ..
            } if self.is_line(session) => {
                self.take_description(response.body());
                let made_no_offer = self.line.as_ref().is_some_and(|line| line.offer.is_none());
                if made_no_offer && let Some(answer) = self.answer_to(response.body()) {
                    self.endpoint.ack(now, session, answer);
                }
                self.answered(now);
            }
            Event::Established { session, .. } if self.is_line(session) => self.answered(now),
            Event::Failed {
                session, status, ..
            } if self.is_line(session) => {
                self.line = None;
                self.tell(PhoneEvent::Failed { status });
            }
            Event::Cancelled { session, .. } | Event::Ended { session, .. }
                if self.is_line(session) =>
            {
                self.line = None;
                self.next_frame = None;
                let by_us = matches!(
                    &event,
                    Event::Ended {
                        cause: EndCause::AckTimeout
                            | EndCause::RequestTimeout
                            | EndCause::SessionExpired,
                        ..
                    }
                );
                self.tell(PhoneEvent::Ended { by_us });
            }
            Event::Offer {
                session, request, ..
            } => {
                if request.body().is_empty() {
                    let body = self.offer(Direction::SendRecv);
                    self.endpoint
                        .answer_offer(now, session, Headers::new(), body);
                } else {
                    self.take_description(request.body());
                    match self.answer_to(request.body()) {
                        Some(body) => {
                            self.endpoint
                                .answer_offer(now, session, Headers::new(), body)
                        }
                        None => self
                            .endpoint
                            .reject_offer(now, session, 488, Headers::new()),
                    }
                }
            }
            Event::OfferResult {
                session,
                status,
                response,
                ..
            } if self.is_line(session) => {
                if let Some(response) = response {
                    self.take_description(response.body());
                }
                self.tell(PhoneEvent::OfferDone { status });
            }
            Event::Request { id, .. } => self.refuse_request(now, id),
            _ => {}
        }
    }

    fn on_called(&mut self, now: Instant, session: SessionId, request: &sip::message::Message) {
        if self.line.is_some() {
            self.endpoint.reject(now, session, ResponseDraft::new(486));
            return;
        }
        let timed = self
            .endpoint
            .accept_session_timer(session, self.session_timer);
        if let Err(status) = timed {
            self.endpoint
                .reject(now, session, ResponseDraft::new(status));
            return;
        }
        if !request.body().is_empty() && self.answer_to(request.body()).is_none() {
            self.endpoint.reject(now, session, ResponseDraft::new(488));
            return;
        }
        self.take_description(request.body());
        let due = match self.config.when_called {
            WhenCalled::Answer(after) => {
                self.endpoint
                    .progress(now, session, 180, Headers::new(), Bytes::new(), false);
                Some(now + after)
            }
            WhenCalled::Refuse(_, after) => Some(now + after),
            WhenCalled::RingForever => {
                self.endpoint
                    .progress(now, session, 180, Headers::new(), Bytes::new(), false);
                None
            }
        };
        let offer = Some(request.body().clone()).filter(|body| !body.is_empty());
        let remote_rtp = offer
            .as_ref()
            .and_then(|offer| Session::parse_bytes(offer).ok()?.rtp_address(0));
        self.line = Some(Line {
            session,
            due,
            offer,
            remote_rtp,
            answered: false,
        });
        self.tell(PhoneEvent::IncomingCall {
            from_user: request.from().uri.user().unwrap_or("").to_owned(),
            to_user: request.uri().and_then(Uri::user).unwrap_or("").to_owned(),
        });
    }

    fn when_due(&mut self, now: Instant) {
        let Some(line) = self
            .line
            .as_mut()
            .filter(|line| line.due.is_some_and(|due| due <= now))
        else {
            return;
        };
        line.due = None;
        let (session, offer) = (line.session, line.offer.clone());
        match self.config.when_called {
            WhenCalled::Refuse(status, _) => {
                self.line = None;
                self.endpoint
                    .reject(now, session, ResponseDraft::new(status));
                self.tell(PhoneEvent::Ended { by_us: true });
            }
            WhenCalled::Answer(_) | WhenCalled::RingForever => {
                let body = match offer {
                    Some(offer) => self.answer_to(&offer),
                    None => Some(self.offer(Direction::SendRecv)),
                };
                match body {
                    Some(body) => self.endpoint.answer(now, session, Headers::new(), body),
                    None => {
                        self.line = None;
                        self.endpoint.reject(now, session, ResponseDraft::new(488));
                    }
                }
            }
        }
    }

    fn refuse_request(&mut self, now: Instant, id: ServerRequestId) {
        self.endpoint.respond(now, id, ResponseDraft::new(501));
    }

    fn answered(&mut self, now: Instant) {
        let Some(line) = self.line.as_mut().filter(|line| !line.answered) else {
            return;
        };
        line.answered = true;
        if self.config.tone_hz > 0.0 {
            self.next_frame = Some(now);
        }
        self.tell(PhoneEvent::Answered);
    }

    fn is_line(&self, session: SessionId) -> bool {
        self.line
            .as_ref()
            .is_some_and(|line| line.session == session)
    }

    fn tell(&mut self, event: PhoneEvent) {
        self.out.push_back(Output::Event(event));
    }

    fn local(&self) -> LocalMedia {
        LocalMedia::new(self.config.rtp.ip(), self.config.rtp.port())
    }

    fn offer(&mut self, direction: Direction) -> Bytes {
        if let Some(description) = self.own_description() {
            return description;
        }
        make_offer(self.local(), &self.codecs, direction, &mut self.origin).into()
    }

    fn answer_to(&mut self, offer: &Bytes) -> Option<Bytes> {
        if let Some(description) = self.own_description() {
            return Some(description);
        }
        let offer = Session::parse_bytes(offer).ok()?;
        let local = self.local();
        make_answer(&offer, local, &self.codecs, &mut self.origin)
            .ok()
            .map(Bytes::from)
    }

    fn own_description(&mut self) -> Option<Bytes> {
        let rtp = self.config.rtp;
        let media = self
            .media
            .as_ref()?
            .replace("{port}", &rtp.port().to_string());
        let ip = rtp.ip();
        let text =
            format!("v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n{media}");
        let session = Session::parse(text.as_bytes()).ok()?;
        Some(media::sdp::anchor::passthrough(&session, &mut self.origin).into())
    }

    fn take_description(&mut self, body: &Bytes) {
        let Some(line) = &mut self.line else { return };
        if let Ok(session) = Session::parse_bytes(body)
            && let Some(address) = session.rtp_address(0)
        {
            line.remote_rtp = Some(address);
        }
    }

    fn talk(&mut self, now: Instant) {
        let Some(to) = self
            .line
            .as_ref()
            .filter(|line| line.answered)
            .and_then(|line| line.remote_rtp)
        else {
            return;
        };
        while let Some(at) = self.next_frame.filter(|at| *at <= now) {
            self.next_frame = Some(at + FRAME);
            let payload: Vec<u8> = (0..FRAME_SAMPLES)
                .map(|_| self.sine.next().map_or(0xff, g711::encode_mu))
                .collect();
            let header = rtp::Header {
                marker: self.sent == 0,
                payload_type: 0,
                sequence: self.sequence,
                timestamp: self.timestamp,
                ssrc: self.ssrc,
            };
            self.out.push_back(Output::Rtp {
                to,
                bytes: header.packet(&payload).into(),
            });
            self.sent += 1;
            self.sequence = self.sequence.wrapping_add(1);
            self.timestamp = self.timestamp.wrapping_add(FRAME_SAMPLES as u32);
        }
    }

    fn hear(&mut self, packet: &[u8]) {
        let Ok(rtp::Packet { header, payload }) = rtp::Packet::parse(packet) else {
            return;
        };
        if header.payload_type != Codec::PCMU.payload_type {
            return;
        }
        self.received += 1;
        if self.received == 1 {
            self.tell(PhoneEvent::MediaHeard);
        }
        let room = MAX_HEARD_SAMPLES.saturating_sub(self.heard.len());
        self.heard
            .extend(payload.iter().take(room).map(|byte| g711::decode_mu(*byte)));
    }
}

fn host(address: SocketAddr) -> ByteStr {
    match address {
        SocketAddr::V4(address) => address.ip().to_string().into(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()).into(),
    }
}
