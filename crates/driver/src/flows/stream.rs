//! One stream, TCP or TLS over it: opened or accepted, read, written, closed.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sip::endpoint::{Flow, StreamId};
use sip::framing::{Frame, FrameError, Framer};
use sip::message::ByteStr;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tracing::{debug, warn};

use super::{Common, StreamDoor, Told, Written};
use crate::tls::Tls;

/// The longest message. RFC 3261 names no limit; this is what a datagram could carry.
pub(crate) const MAX_MESSAGE_BYTES: usize = 65_535;

/// How long a peer may take to accept our connection, TLS included. Below the time after which the next hop is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a message may take from its first byte to its last, and a new connection until its first message.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection may be silent in both directions. A peer that keeps it for good sends keep-alives
/// (RFC 5626 §3.5.1) far more often.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1800);

/// How long one message may wait for the peer's window to open.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// A peer that has vanished without a word is found out by the kernel: probes after a minute, given up after two.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_INTERVAL: Duration = Duration::from_secs(15);
const PROBES: u32 = 4;

/// How often a stream that we opened and on which we wrote nothing is pinged: it keeps the way through NATs and
/// firewalls open (RFC 5626 §4.4.1 asks for 95 to 120 seconds).
const PING_AFTER: Duration = Duration::from_secs(110);

/// How long the goodbye of a stream may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Messages remembered for a peer that has not said anything yet.
const UNANSWERED_MAX: usize = 32;

/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;

/// Two line ends ask the peer for a sign of life (RFC 5626 §3.5.1). None is insisted on: peers without that RFC
/// skip line ends.
const PING: &[u8] = b"\r\n\r\n";

/// What a ping of two line ends is answered with (RFC 5626 §3.5.1).
const PONG: &[u8] = b"\r\n";

/// Everything that one stream's task knows.
pub(crate) struct Task {
    pub(crate) id: StreamId,
    pub(crate) interface: u8,
    pub(crate) door: StreamDoor,
    pub(crate) remote: SocketAddr,
    /// What the far end has to prove over TLS when we open the stream.
    pub(crate) peer: Option<ByteStr>,
    /// Ends when the table has given the stream up.
    pub(crate) messages: mpsc::Receiver<Written>,
    pub(crate) backlog: Arc<AtomicUsize>,
    pub(crate) common: Arc<Common>,
    pub(crate) reports: mpsc::Sender<Told>,
}

/// A stream that we have opened.
enum Opened {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

/// Why a stream ended; for the log.
enum End {
    PeerClosed,
    GivenUp,
    Silent,
    Unfinished,
    Unread,
    NotSip(FrameError),
    Network(io::Error),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerClosed => f.write_str("closed by the peer"),
            Self::GivenUp => f.write_str("given up by us"),
            Self::Silent => f.write_str("silent for too long"),
            Self::Unfinished => f.write_str("a message was begun and not finished in time"),
            Self::Unread => f.write_str("the peer does not read"),
            Self::NotSip(error) => write!(f, "not SIP: {error}"),
            Self::Network(error) => write!(f, "{error}"),
        }
    }
}

impl Task {
    /// Connects, then serves.
    pub(crate) async fn open(self) {
        let secure = self.tls();
        let opened = timeout(CONNECT_TIMEOUT, async {
            let stream = connect(self.door.local, self.remote).await?;
            prepare(&stream)?;
            let Some(tls) = &secure else {
                return io::Result::Ok(Opened::Plain(stream));
            };
            let stream = tls
                .connect(stream, self.peer.as_deref(), self.remote)
                .await?;
            Ok(Opened::Secure(Box::new(stream)))
        });
        let opened = opened.await;
        if let (Some(tls), false) = (&secure, matches!(opened, Ok(Ok(_)))) {
            tls.not_connected();
            let ip = self.remote.ip().to_string();
            let expected = self.peer.as_deref().unwrap_or(&ip);
            let why = match &opened {
                Ok(Err(error)) => error.to_string(),
                _ => "no answer in time".to_owned(),
            };
            warn!(remote = %self.remote, expected, why, "a peer cannot be reached over TLS");
        }
        match opened {
            Ok(Ok(Opened::Plain(stream))) => {
                let (reader, writer) = stream.into_split();
                self.serve(reader, writer, true).await;
            }
            Ok(Ok(Opened::Secure(stream))) => {
                let (reader, writer) = tokio::io::split(*stream);
                self.serve(reader, writer, true).await;
            }
            Ok(Err(error)) => self.end(End::Network(error), Vec::new()).await,
            Err(_) => {
                self.end(End::Network(io::ErrorKind::TimedOut.into()), Vec::new())
                    .await
            }
        }
    }

    /// Serves a peer that has connected.
    pub(crate) async fn accept(self, stream: TcpStream) {
        if let Err(error) = prepare(&stream) {
            return self.end(End::Network(error), Vec::new()).await;
        }
        let Some(tls) = self.tls() else {
            let (reader, writer) = stream.into_split();
            return self.serve(reader, writer, false).await;
        };
        match tls.accept(stream).await {
            Ok(stream) => {
                let (reader, writer) = tokio::io::split(stream);
                self.serve(reader, writer, false).await;
            }
            Err(error) => self.end(End::Network(error), Vec::new()).await,
        }
    }

    fn tls(&self) -> Option<Arc<Tls>> {
        self.common.tls.clone().filter(|_| self.door.secure)
    }

    /// Reads and writes until either side is over.
    async fn serve(
        mut self,
        reader: impl AsyncRead + Unpin,
        mut writer: impl AsyncWrite + Unpin,
        pings: bool,
    ) {
        let (pongs, pinged) = mpsc::channel(1);
        let heard = AtomicBool::new(false);
        let mut unsure = Unsure::default();
        let (messages, backlog, common) = (&mut self.messages, &self.backlog, &self.common);
        let incoming = Incoming {
            flow: Flow {
                interface: self.interface,
                remote: self.remote,
                stream: Some(self.id),
            },
            local: self.door.local,
            common,
            heard: &heard,
            pongs,
        };
        let outgoing = Outgoing {
            local: self.door.local,
            remote: self.remote,
            pings,
            common,
            backlog,
            pinged,
            heard: &heard,
            unsure: &mut unsure,
        };
        let end = tokio::select! {
            end = incoming.run(reader) => end,
            end = outgoing.run(&mut writer, messages) => end,
        };
        // TLS wants to say that nothing was cut off. A peer that does not read has forfeited that.
        let _ = timeout(CLOSE_TIMEOUT, writer.shutdown()).await;
        let mut unwritten = unsure.unanswered;
        if heard.into_inner() {
            unwritten.clear();
        }
        unwritten.extend(unsure.writing);
        self.end(end, unwritten).await;
    }

    /// Reports what could not be written, and that it is over.
    async fn end(mut self, end: End, mut unwritten: Vec<Written>) {
        debug!(remote = %self.remote, %end, "stream closed");
        if let End::NotSip(_) = end {
            self.common.counts.unframed.fetch_add(1, Ordering::Relaxed);
        }
        self.messages.close();
        while let Some(message) = self.messages.recv().await {
            unwritten.push(message);
        }
        let id = self.id;
        // Nobody to tell when the table has ended first.
        let _ = self.reports.send(Told::Closed { id, unwritten }).await;
    }
}

/// The reading half.
struct Incoming<'a> {
    flow: Flow,
    local: SocketAddr,
    common: &'a Common,
    heard: &'a AtomicBool,
    pongs: mpsc::Sender<()>,
}

impl Incoming<'_> {
    async fn run(self, mut reader: impl AsyncRead + Unpin) -> End {
        let mut framer = Framer::new(MAX_MESSAGE_BYTES);
        let mut buffer = vec![0; READ_BYTES];
        let mut deadline = tokio::time::Instant::now() + MESSAGE_TIMEOUT;
        let mut unfinished = true;
        loop {
            let count = match tokio::time::timeout_at(deadline, reader.read(&mut buffer)).await {
                Ok(Ok(0)) => return End::PeerClosed,
                Ok(Ok(count)) => count,
                Ok(Err(error)) => return End::Network(error),
                Err(_) if unfinished => return End::Unfinished,
                Err(_) => return End::Silent,
            };
            framer.push(&buffer[..count]);
            let mut framed = false;
            while let Some(frame) = framer.next() {
                match frame {
                    Ok(Frame::Message(bytes)) => self.message(bytes).await,
                    // A pong that is still waiting to be written answers this ping as well.
                    Ok(Frame::KeepAlive) => drop(self.pongs.try_send(())),
                    Err(error) => return End::NotSip(error),
                }
                framed = true;
            }
            // A message in pieces must be whole in time however steadily the pieces come.
            let begun = framer.buffered_bytes() > 0;
            // Line ends alone, such as the answer to our ping, say that the peer is there.
            if framed || !begun || !unfinished {
                unfinished = begun;
                let limit = if begun { MESSAGE_TIMEOUT } else { IDLE_TIMEOUT };
                deadline = tokio::time::Instant::now() + limit;
            }
        }
    }

    async fn message(&self, bytes: Bytes) {
        self.heard.store(true, Ordering::Relaxed);
        self.common
            .trace(true, self.local, self.flow.remote, &bytes);
        // Waits while the shard is behind: the peer feels it as a window that closes.
        self.common.shards.received(self.flow, bytes).await;
    }
}

/// Messages of which nobody would know whether they arrived if the stream ended now.
#[derive(Default)]
struct Unsure {
    /// The one being written.
    writing: Option<Written>,
    /// Those written to a peer from which nothing has come yet.
    unanswered: Vec<Written>,
}

/// The writing half.
struct Outgoing<'a> {
    local: SocketAddr,
    remote: SocketAddr,
    /// We opened the stream, so it is ours to keep open.
    pings: bool,
    common: &'a Common,
    backlog: &'a AtomicUsize,
    pinged: mpsc::Receiver<()>,
    heard: &'a AtomicBool,
    unsure: &'a mut Unsure,
}

impl Outgoing<'_> {
    async fn run(
        mut self,
        writer: &mut (impl AsyncWrite + Unpin),
        messages: &mut mpsc::Receiver<Written>,
    ) -> End {
        loop {
            let message = tokio::select! {
                message = messages.recv() => message,
                Some(()) = self.pinged.recv() => {
                    if let Err(end) = write(writer, PONG).await {
                        return end;
                    }
                    continue;
                }
                () = tokio::time::sleep(PING_AFTER), if self.pings => {
                    if let Err(end) = write(writer, PING).await {
                        return end;
                    }
                    continue;
                }
            };
            let Some(message) = message else {
                return End::GivenUp;
            };
            let bytes = message.bytes.clone();
            self.unsure.writing = Some(message);
            self.common.trace(false, self.local, self.remote, &bytes);
            if let Err(end) = write(writer, &bytes).await {
                return end;
            }
            let written = self.unsure.writing.take();
            if self.heard.load(Ordering::Relaxed) {
                self.unsure.unanswered.clear();
            } else if self.unsure.unanswered.len() < UNANSWERED_MAX {
                self.unsure.unanswered.extend(written);
            }
            self.backlog.fetch_sub(bytes.len(), Ordering::Relaxed);
        }
    }
}

async fn write(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), End> {
    let written = async {
        writer.write_all(bytes).await?;
        // TLS keeps what the socket had no room for until the next write or a flush.
        writer.flush().await
    };
    match timeout(WRITE_TIMEOUT, written).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(End::Network(error)),
        Err(_) => Err(End::Unread),
    }
}

/// Connects from the interface's address, with a port of the system's choice.
async fn connect(local: SocketAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = match remote {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if !local.ip().is_unspecified() {
        socket.bind((local.ip(), 0).into())?;
    }
    socket.connect(remote).await
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    // SIP messages are short and wanted now.
    stream.set_nodelay(true)?;
    let probes = TcpKeepalive::new()
        .with_time(PROBE_AFTER)
        .with_interval(PROBE_INTERVAL)
        .with_retries(PROBES);
    SockRef::from(stream).set_tcp_keepalive(&probes)
}
