//! What call control says to a media thread, and what it hears back.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::outbound::Noise;
use super::{Conversion, Payloads, RelayStats, Ringback};
use crate::dtls::{DtlsError, Fingerprint, Role};
use crate::recorder::{Meaning, RecordingId};
use crate::sdp::{MediaLine, Security, Transport};
use crate::srtp::{SideKeys, Suite};

/// Names a relay for as long as it is open; chosen by call control.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash, Ord, PartialOrd)]
pub struct RelayId(pub u64);

impl keep::Keep for RelayId {
    fn keep(&self, out: &mut keep::Writer) {
        out.number(self.0);
    }

    fn kept(input: &mut keep::Reader<'_>) -> Result<Self, keep::Damaged> {
        input.number().map(Self)
    }
}

/// One end of a relay.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum Side {
    /// The leg that called in.
    A,
    /// The leg we called.
    B,
}

impl Side {
    /// The end that hears what this one says.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }
}

/// Which sides have fallen silent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Silent {
    /// Only the leg that called in.
    A,
    /// Only the leg we called.
    B,
    /// Both.
    Both,
}

/// What kind of datagrams a relay carries, which is how closely it looks at them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Traffic {
    /// RTP in the clear: checked, counted, measured.
    #[default]
    Rtp,
    /// SRTP that we have no keys for: as RTP, but RTCP reports and telephone events are sealed. Where a
    /// side has keys ([`Command::Protect`]) the relay carries RTP.
    Srtp,
    /// Other datagrams, such as fax over UDPTL (T.38): forwarded and counted, never parsed.
    Datagrams,
}

keep::keep!(enum Traffic { 0 = Rtp, 1 = Srtp, 2 = Datagrams });

impl Traffic {
    /// What a media line carries; `None` when a relay cannot carry it: streams over TCP, and what DTLS carries besides
    /// RTP.
    pub fn of(line: &MediaLine) -> Option<Self> {
        match (line.transport(), line.security()) {
            (Transport::Rtp, Security::None) => Some(Self::Rtp),
            (Transport::Rtp, Security::Sdes | Security::Dtls) => Some(Self::Srtp),
            (Transport::Datagrams, Security::None | Security::Sdes) => Some(Self::Datagrams),
            (Transport::Datagrams, Security::Dtls) | (Transport::Other, _) => None,
        }
    }
}

/// How the packets of one side are protected.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Protection {
    /// Not at all: RTP in the clear.
    #[default]
    Clear,
    /// SRTP under keys that signalling agreed on (RFC 4568).
    Keys(Box<SideKeys>),
    /// By keys that are still to be agreed on: until more is said, nothing passes.
    Pending,
    /// SRTP under keys of a handshake on the media port (RFC 5764). Terms that were given before change nothing; others
    /// mean a new handshake. Until there are keys nothing passes.
    Dtls(Box<Terms>),
}

// The secrets of a handshake end with the process, so that after it there are none.
impl keep::Keep for Protection {
    fn keep(&self, out: &mut keep::Writer) {
        match self {
            Self::Clear => out.byte(0),
            Self::Keys(keys) => {
                out.byte(1);
                keys.keep(out);
            }
            Self::Pending | Self::Dtls(_) => out.byte(2),
        }
    }

    fn kept(input: &mut keep::Reader<'_>) -> Result<Self, keep::Damaged> {
        match input.byte()? {
            0 => Ok(Self::Clear),
            1 => Ok(Self::Keys(keep::Keep::kept(input)?)),
            2 => Ok(Self::Pending),
            _ => Err(keep::Damaged::Value("Protection")),
        }
    }
}

/// What signalling agreed on about the handshake of one side (RFC 5763, RFC 8842).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Terms {
    /// Which end we are.
    pub role: Role,
    /// What the far end's certificate is known by.
    pub fingerprints: Vec<Fingerprint>,
    /// Another number asks for a new handshake where all else is the same.
    pub association: u32,
}

/// How the keys of a side were agreed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exchange {
    /// In descriptions (SDES).
    Sdes,
    /// By a handshake on the media port.
    Dtls,
}

/// What the media of a side are sealed with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seal {
    /// Where the keys are from.
    pub exchange: Exchange,
    /// What they are for.
    pub suite: Suite,
}

/// From call control to a media thread.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// Bind two neighbouring ports for each side; answered by [`Event::Opened`] or
    /// [`Event::OpenFailed`].
    Open {
        /// The new relay.
        relay: RelayId,
        /// Local address towards side A.
        a: IpAddr,
        /// Local address towards side B.
        b: IpAddr,
        /// Silence of an expected stream after which [`Event::Timeout`] is due; zero means never.
        timeout: Duration,
        /// What will be carried.
        traffic: Traffic,
    },
    /// Bind these very ports again, which a relay of an earlier process had; answered as [`Command::Open`] is. What
    /// else that relay was told follows.
    Reopen {
        /// The relay, by the name it had.
        relay: RelayId,
        /// Local address towards side A, and the RTP port there.
        a: SocketAddr,
        /// The same towards side B.
        b: SocketAddr,
        /// See [`Command::Open`].
        timeout: Duration,
        /// What is carried.
        traffic: Traffic,
    },
    /// What signalling says about the far end of one side: after every offer or answer from it.
    Remote {
        /// Which relay.
        relay: RelayId,
        /// Whose description it was.
        side: Side,
        /// Where it wants its media; `None` while unknown or when it refused the stream. The
        /// unspecified address means held in the manner of RFC 2543: nothing is sent there.
        rtp: Option<SocketAddr>,
        /// Where it wants reports, if not on the port above `rtp`.
        rtcp: Option<SocketAddr>,
        /// Whether it is going to send; false while held, so that silence is not a fault.
        expect_media: bool,
        /// Accept packets from exactly the described addresses and nothing else.
        strict: bool,
    },
    /// Learn the source of one side anew without a new address from signalling.
    Relatch {
        /// Which relay.
        relay: RelayId,
        /// Which side.
        side: Side,
    },
    /// From now on packets alone never move a settled source of this side; signalling does.
    LatchOnce {
        /// Which relay.
        relay: RelayId,
        /// Which side.
        side: Side,
    },
    /// What packets need on their way to one side so that it understands them. `None`: they pass as they are.
    Convert {
        /// Which relay.
        relay: RelayId,
        /// The side that gets the packets.
        side: Side,
        /// What becomes of the other side's packets.
        conversion: Option<Box<Conversion>>,
    },
    /// Keeps the stream to one side alive while the other sends nothing. `None` ends it.
    ComfortNoise {
        /// Which relay.
        relay: RelayId,
        /// The side that gets the noise.
        side: Side,
        /// What it is sent.
        noise: Option<Noise>,
    },
    /// Plays a ringing tone to one side while the other sends nothing. `None` ends it.
    Ringback {
        /// Which relay.
        relay: RelayId,
        /// The side that hears it.
        side: Side,
        /// What it hears.
        ringback: Option<Box<Ringback>>,
    },
    /// How the packets of one side are protected. The other side's are protected, or not, by their own.
    Protect {
        /// Which relay.
        relay: RelayId,
        /// Which side.
        side: Side,
        /// How.
        protection: Protection,
    },
    /// How far a stream under keys of signalling had come in an earlier process ([`Event::Progress`]). To be said after
    /// [`Command::Protect`].
    Resume {
        /// Which relay.
        relay: RelayId,
        /// Whose keys.
        side: Side,
        /// The stream that is sent there, not the one that comes from there.
        sent: bool,
        /// The name of the stream.
        ssrc: u32,
        /// Rollover counter and sequence number (RFC 3711 §3.3.1).
        index: u64,
    },
    /// The handshake of one side, where it is not done, has to end within [`crate::dtls::HANDSHAKE_MAX`] from now.
    Hurry {
        /// Which relay.
        relay: RelayId,
        /// Which side.
        side: Side,
    },
    /// Whether the reports of one side share the port of its media (RFC 5761).
    Multiplex {
        /// Which relay.
        relay: RelayId,
        /// Which side.
        side: Side,
        /// They do.
        shared: bool,
    },
    /// The line now carries something else, such as fax after audio.
    Traffic {
        /// Which relay.
        relay: RelayId,
        /// What it carries from now on.
        traffic: Traffic,
    },
    /// What the payload types mean that one side is going to send. Without it clock rates of
    /// dynamic payload types are taken for 8 kHz and telephone events are not recognised.
    Payloads {
        /// Which relay.
        relay: RelayId,
        /// The sending side.
        side: Side,
        /// Its payload types: those of the description it was *given*.
        payloads: Box<Payloads>,
    },
    /// Whether packets that arrive are handed to a recorder as well: see [`super::RelayTable::handle_packet_heard`].
    Record {
        /// Which relay.
        relay: RelayId,
        /// The recording they belong to; `None` ends it.
        recording: Option<RecordingId>,
    },
    /// The call is over; answered by [`Event::Closed`].
    Close {
        /// Which relay.
        relay: RelayId,
    },
}

impl Command {
    /// The relay it is for.
    pub fn relay(&self) -> RelayId {
        match self {
            Self::Open { relay, .. }
            | Self::Reopen { relay, .. }
            | Self::Remote { relay, .. }
            | Self::Relatch { relay, .. }
            | Self::LatchOnce { relay, .. }
            | Self::Convert { relay, .. }
            | Self::ComfortNoise { relay, .. }
            | Self::Ringback { relay, .. }
            | Self::Protect { relay, .. }
            | Self::Resume { relay, .. }
            | Self::Hurry { relay, .. }
            | Self::Multiplex { relay, .. }
            | Self::Traffic { relay, .. }
            | Self::Payloads { relay, .. }
            | Self::Record { relay, .. }
            | Self::Close { relay, .. } => *relay,
        }
    }
}

/// From a media thread to call control.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// The ports of a new relay.
    Opened {
        /// Which relay.
        relay: RelayId,
        /// RTP port towards side A; RTCP is one above.
        a_port: u16,
        /// RTP port towards side B; RTCP is one above.
        b_port: u16,
    },
    /// There is no such relay: no ports left, or the table is full.
    OpenFailed {
        /// Which relay.
        relay: RelayId,
        /// One sentence for the log.
        why: String,
    },
    /// A handshake is done: the media of a side are sealed from now on.
    Secured {
        /// Which relay.
        relay: RelayId,
        /// Which side.
        side: Side,
        /// With what.
        suite: Suite,
    },
    /// A handshake came to nothing, and no media can pass to or from that side.
    HandshakeFailed {
        /// Which relay.
        relay: RelayId,
        /// Which side.
        side: Side,
        /// Why.
        why: DtlsError,
    },
    /// How far a stream has come that is under keys of signalling, now and then: its rollover counter cannot be read from
    /// packets, and has to outlive the process.
    Progress {
        /// Which relay.
        relay: RelayId,
        /// Whose keys.
        side: Side,
        /// The stream that is sent there, not the one that comes from there.
        sent: bool,
        /// The name of the stream.
        ssrc: u32,
        /// Rollover counter and sequence number (RFC 3711 §3.3.1).
        index: u64,
    },
    /// A side that was expected to send has been silent for the whole timeout. Said once, and
    /// again only after that side was heard or signalling described it anew.
    Timeout {
        /// Which relay.
        relay: RelayId,
        /// All sides silent at this moment.
        silent: Silent,
    },
    /// The relay is gone.
    Closed {
        /// Which relay.
        relay: RelayId,
        /// What passed through it.
        stats: Box<RelayStats>,
    },
}

/// A packet of a recorded relay as its sender made it: opened, and not recoded yet.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'a> {
    /// The recording it belongs to.
    pub recording: RecordingId,
    /// Who sent it.
    pub from: Side,
    /// What its payload type means.
    pub meaning: Meaning,
    /// Header and payload.
    pub packet: &'a [u8],
}

/// What a media thread calls one of its sockets: an index into dense tables, below the number of
/// sockets the [`super::RelayTable`] was made for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub struct SocketKey(pub u32);

/// The four sockets of a relay.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sockets {
    /// Media from and to side A.
    pub a_rtp: SocketKey,
    /// Reports from and to side A.
    pub a_rtcp: SocketKey,
    /// Media from and to side B.
    pub b_rtp: SocketKey,
    /// Reports from and to side B.
    pub b_rtcp: SocketKey,
}

/// A [`Command::Open`] that has found its sockets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Opening {
    /// Local address towards side A; its family is the family of side A's far end.
    pub a: IpAddr,
    /// Local address towards side B.
    pub b: IpAddr,
    /// See [`Command::Open`].
    pub timeout: Duration,
    /// See [`Command::Open`].
    pub traffic: Traffic,
    /// The bound sockets.
    pub sockets: Sockets,
}

/// Why a command had no effect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CommandError {
    /// No relay of that name is open.
    UnknownRelay,
    /// A relay of that name is open already.
    AlreadyOpen,
    /// As many relays are open as the table was made for.
    Full,
    /// A socket key is beyond the number the table was made for.
    SocketOutOfRange,
    /// A socket belongs to another relay, or stands twice in the list.
    SocketInUse,
    /// The far end's address cannot be reached from the local one: IPv4 against IPv6.
    AddressFamily,
    /// The far end's address is a group or a whole network.
    NotUnicast,
    /// A handshake is wanted of a table that has no certificate.
    NoCertificate,
    /// A ringing tone is wanted where as many are played as there is time for.
    TooManyTones,
    /// Opening needs sockets: it is [`super::RelayTable::open`], not a command to the table.
    NeedsSockets,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownRelay => "no such relay is open",
            Self::AlreadyOpen => "a relay of this name is already open",
            Self::Full => "no room for another relay",
            Self::SocketOutOfRange => "socket key out of range",
            Self::SocketInUse => "socket belongs to another relay",
            Self::AddressFamily => "far and near address are of different families",
            Self::NotUnicast => "far address is not that of a single host",
            Self::NoCertificate => "no certificate for a handshake",
            Self::TooManyTones => "no time for another ringing tone",
            Self::NeedsSockets => "a relay is opened with its sockets",
        })
    }
}

impl std::error::Error for CommandError {}
