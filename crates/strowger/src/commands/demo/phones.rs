//! Two phones of the simulator on real sockets: one thread asks both in turn.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bytes::Bytes;
use driver::Traced;
use simulator::phone::{Input, Output, Phone, PhoneConfig, PhoneEvent, WhenCalled};
use tokio::sync::mpsc::Receiver;

use super::{CALLED_TONE_HZ, CALLER_TONE_HZ};
use crate::commands::Failure;
use crate::ladder::{Actor, Arrow, Ladder};
use crate::terminal::say;

/// Longest rest between two looks at the sockets; RTP has a packet every 20 ms.
const REST: Duration = Duration::from_millis(2);
/// After this the call has failed, whatever it is waiting for.
const PATIENCE: Duration = Duration::from_secs(8);
/// Rest after the last message, for answers that are still on their way.
const AFTERMATH: Duration = Duration::from_millis(150);
/// Larger than any datagram that arrives here.
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// Datagrams taken from one socket before the others get their turn.
const DATAGRAMS_PER_TURN: usize = 16;

/// What the two phones made of the call.
pub(super) struct CallResult {
    pub(super) heard_by_caller: Vec<i16>,
    pub(super) heard_by_called: Vec<i16>,
    pub(super) packets_to_caller: u64,
    pub(super) packets_to_called: u64,
}

/// A phone and its two sockets.
struct Station {
    phone: Phone,
    sip: UdpSocket,
    rtp: UdpSocket,
}

/// What makes a phone somebody's.
struct Owner {
    name: &'static str,
    user: &'static str,
    domain: &'static str,
    tone_hz: f32,
    seed: u64,
}

const ANN: Owner = Owner {
    name: "Ann",
    user: "12125550111",
    domain: "ann-pbx",
    tone_hz: CALLER_TONE_HZ,
    seed: 1,
};
const BEN: Owner = Owner {
    name: "Ben",
    user: "13105550100",
    domain: "ben-carrier",
    tone_hz: CALLED_TONE_HZ,
    seed: 2,
};

impl Station {
    fn open(owner: &Owner, switch: SocketAddr, ring: Duration) -> Result<Self, Failure> {
        let (sip, rtp) = (socket()?, socket()?);
        let config = PhoneConfig {
            name: owner.name.into(),
            user: owner.user.into(),
            domain: owner.domain.into(),
            sip: sip.local_addr()?,
            rtp: rtp.local_addr()?,
            peer: switch,
            tone_hz: owner.tone_hz,
            credentials: None,
            when_called: WhenCalled::Answer(ring),
            seed: owner.seed,
        };
        Ok(Self {
            phone: Phone::new(config),
            sip,
            rtp,
        })
    }
}

/// Ann, who calls, and Ben, who is called.
pub(super) struct Phones {
    stations: [Station; 2],
    started: Instant,
    caller_sip: SocketAddr,
    called_sip: SocketAddr,
}

impl Phones {
    /// Opens the sockets of both phones; `switch` is where they send their requests.
    ///
    /// # Errors
    /// No socket can be had.
    pub(super) fn bind(switch: SocketAddr, ring: Duration) -> Result<Self, Failure> {
        let stations = [
            Station::open(&ANN, switch, ring)?,
            Station::open(&BEN, switch, ring)?,
        ];
        let [caller_sip, called_sip] =
            [stations[0].sip.local_addr()?, stations[1].sip.local_addr()?];
        Ok(Self {
            stations,
            started: Instant::now(),
            caller_sip,
            called_sip,
        })
    }

    /// Where Ann's phone listens.
    pub(super) fn caller_sip(&self) -> SocketAddr {
        self.caller_sip
    }

    /// Where Ben's phone listens.
    pub(super) fn called_sip(&self) -> SocketAddr {
        self.called_sip
    }

    /// Ann calls a URI, the two talk, Ann hangs up; every message becomes a rung.
    ///
    /// # Errors
    /// The call was refused, or nothing happened for too long.
    pub(super) fn call(
        &mut self,
        to: &str,
        talk: Duration,
        ladder: Ladder,
        trace: &mut Receiver<Traced>,
    ) -> Result<CallResult, Failure> {
        self.started = Instant::now();
        let [caller, _] = &mut self.stations;
        caller.phone.call(self.started, to);
        let (mut hang_up_at, mut done_at) = (None, None);
        loop {
            let now = Instant::now();
            self.draw(trace, ladder);
            for index in 0..self.stations.len() {
                for event in self.turn(index, now)? {
                    match (index, event) {
                        (0, PhoneEvent::Answered) => hang_up_at = Some(now + talk),
                        (0, PhoneEvent::MediaHeard) => {
                            let tones =
                                format!("RTP  {CALLER_TONE_HZ:.0} Hz →  ← {CALLED_TONE_HZ:.0} Hz");
                            say!("{}", ladder.media(now - self.started, &tones));
                        }
                        (0, PhoneEvent::Failed { status }) => {
                            return Err(Failure::new(format!(
                                "The call was refused with {status}."
                            )));
                        }
                        (1, PhoneEvent::Ended { .. }) => done_at = Some(now + AFTERMATH),
                        _ => {}
                    }
                }
            }
            if hang_up_at.is_some_and(|at| at <= now) {
                hang_up_at = None;
                self.stations[0].phone.hang_up(now);
            }
            if done_at.is_some_and(|at| at <= now) {
                break;
            }
            if now - self.started > talk + PATIENCE {
                return Err(Failure::new("The call did not come to an end in time."));
            }
            std::thread::sleep(REST);
        }
        let [caller, called] = &self.stations;
        Ok(CallResult {
            heard_by_caller: caller.phone.heard().to_vec(),
            heard_by_called: called.phone.heard().to_vec(),
            packets_to_caller: caller.phone.packets().1,
            packets_to_called: called.phone.packets().1,
        })
    }

    /// Draws what the switch has seen since, in its order and by its clock.
    fn draw(&self, trace: &mut Receiver<Traced>, ladder: Ladder) {
        while let Ok(seen) = trace.try_recv() {
            let Some(station) = [
                (self.caller_sip, Actor::Caller),
                (self.called_sip, Actor::Called),
            ]
            .into_iter()
            .find_map(|(address, actor)| (address == seen.remote).then_some(actor)) else {
                continue;
            };
            let (from, to) = if seen.received {
                (station, Actor::Switch)
            } else {
                (Actor::Switch, station)
            };
            let at = seen.at.saturating_duration_since(self.started);
            say!(
                "{}",
                ladder.arrow(at, &Arrow::of_message(from, to, &seen.bytes))
            );
        }
    }

    /// One phone reads what came, does what time asks for, and sends what it wants to send.
    fn turn(&mut self, index: usize, now: Instant) -> Result<Vec<PhoneEvent>, Failure> {
        let Station { phone, sip, rtp } = &mut self.stations[index];
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        for _ in 0..DATAGRAMS_PER_TURN {
            let Some((length, from)) = receive(sip, &mut buffer)? else {
                break;
            };
            let bytes = Bytes::copy_from_slice(&buffer[..length]);
            phone.handle(now, Input::Sip { from, bytes });
        }
        for _ in 0..DATAGRAMS_PER_TURN {
            let Some((length, from)) = receive(rtp, &mut buffer)? else {
                break;
            };
            phone.handle(
                now,
                Input::Rtp {
                    from,
                    bytes: Bytes::copy_from_slice(&buffer[..length]),
                },
            );
        }
        if phone.poll_timeout().is_some_and(|timeout| timeout <= now) {
            phone.handle(now, Input::Timeout);
        }
        let mut events = Vec::new();
        while let Some(output) = phone.poll() {
            match output {
                Output::Sip { to, bytes } => {
                    sip.send_to(&bytes, to)?;
                }
                Output::Rtp { to, bytes } => _ = rtp.send_to(&bytes, to)?,
                Output::Event(event) => events.push(event),
            }
        }
        Ok(events)
    }
}

fn socket() -> Result<UdpSocket, Failure> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Result<Option<(usize, SocketAddr)>, Failure> {
    match socket.recv_from(buffer) {
        Ok(received) => Ok(Some(received)),
        // Refused: the switch had closed the port that our last packet went to, as it does after a call.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
