//! What a relay was told that has to be told again when another process opens it: how things are, and not what happens
//! once.

use keep::{Base, Damaged, Keep, Reader, Writer};

use super::{Command, Conversion, Noise, Payloads, Protection, RelayId, Ringback, Side, Traffic};

/// Bytes in front of each command: its place, and how long it is.
const HEAD_BYTES: usize = 3;

/// The last lasting commands of one relay, in their saved form: it is written more often than it is read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Told(Vec<u8>);

impl Command {
    /// Whether a relay that is opened again has to be told this again. Of several that say the same of one relay and
    /// side, only the last counts.
    pub fn is_lasting(&self) -> bool {
        self.lasting().is_some()
    }

    /// The relay that a lasting command is for.
    pub fn lasting(&self) -> Option<RelayId> {
        match self {
            Self::Traffic { relay, .. }
            | Self::LatchOnce { relay, .. }
            | Self::Multiplex { relay, .. }
            | Self::Protect { relay, .. }
            | Self::Remote { relay, .. }
            | Self::Payloads { relay, .. }
            | Self::Convert { relay, .. }
            | Self::ComfortNoise { relay, .. }
            | Self::Ringback { relay, .. }
            | Self::Resume { relay, .. } => Some(*relay),
            // The addresses are call control's to know, a recording begins anew, and the rest happens once.
            Self::Open { .. }
            | Self::Reopen { .. }
            | Self::Relatch { .. }
            | Self::Hurry { .. }
            | Self::Record { .. }
            | Self::Close { .. } => None,
        }
    }
}

impl Told {
    /// Remembers a command, in place of the one before it that said the same, if it is a lasting one.
    pub fn note(&mut self, command: &Command, base: Base) {
        let Some(place) = place(command) else {
            return;
        };
        self.forget(place);
        if let Command::Protect { side, .. } = command {
            // Other keys count from the beginning, and the same ones go on being reported.
            for kind in [RESUME_RECEIVED, RESUME_SENT] {
                self.forget(kind + side.index() as u8);
            }
        }
        let at = self.0.len();
        self.0.extend_from_slice(&[place, 0, 0]);
        let mut out = Writer::over(std::mem::take(&mut self.0), base);
        keep_words(command, &mut out);
        self.0 = out.into_bytes();
        let length = self.0.len() - at - HEAD_BYTES;
        match u16::try_from(length) {
            Ok(length) => self.0[at + 1..at + HEAD_BYTES].copy_from_slice(&length.to_le_bytes()),
            // Longer than any description can make it.
            Err(_) => self.0.truncate(at),
        }
    }

    /// The commands again, in an order in which a new relay understands them.
    pub fn commands(&self, relay: RelayId, base: Base) -> Result<Vec<Command>, Damaged> {
        let mut commands = Vec::new();
        let mut rest = Reader::new(&self.0, base);
        while !rest.is_empty() {
            let place = rest.byte()?;
            let length = rest.raw(2)?.try_into().map_err(|_| Damaged::Short)?;
            let words = rest.raw(u16::from_le_bytes(length).into())?;
            let command = kept_words(relay, place, &mut Reader::new(words, base))?;
            commands.push((place, command));
        }
        commands.sort_by_key(|(place, _)| *place);
        Ok(commands.into_iter().map(|(_, command)| command).collect())
    }

    fn forget(&mut self, place: u8) {
        let mut at = 0;
        while let Some([other, low, high]) = self.0.get(at..at + HEAD_BYTES) {
            let end = at + HEAD_BYTES + usize::from(u16::from_le_bytes([*low, *high]));
            if *other == place {
                self.0.drain(at..end);
                return;
            }
            at = end;
        }
    }
}

keep::keep!(enum Side { 0 = A, 1 = B });

impl Keep for Told {
    fn keep(&self, out: &mut Writer) {
        out.slice(&self.0);
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        input.slice().map(|slice| Self(slice.to_vec()))
    }
}

/// Of the places: which kind of command, and of which side.
const SIDES: u8 = 2;
const TRAFFIC: u8 = 0;
const LATCH_ONCE: u8 = 2;
const MULTIPLEX: u8 = 4;
const PROTECT: u8 = 6;
const REMOTE: u8 = 8;
const PAYLOADS: u8 = 10;
const CONVERT: u8 = 12;
const NOISE: u8 = 14;
const RINGBACK: u8 = 16;
const RESUME_RECEIVED: u8 = 18;
const RESUME_SENT: u8 = 20;

fn place(command: &Command) -> Option<u8> {
    let of = |kind: u8, side: &Side| Some(kind + side.index() as u8);
    match command {
        Command::Traffic { .. } => Some(TRAFFIC),
        Command::LatchOnce { side, .. } => of(LATCH_ONCE, side),
        Command::Multiplex { side, .. } => of(MULTIPLEX, side),
        Command::Protect { side, .. } => of(PROTECT, side),
        Command::Remote { side, .. } => of(REMOTE, side),
        Command::Payloads { side, .. } => of(PAYLOADS, side),
        Command::Convert { side, .. } => of(CONVERT, side),
        Command::ComfortNoise { side, .. } => of(NOISE, side),
        Command::Ringback { side, .. } => of(RINGBACK, side),
        Command::Resume { side, sent, .. } => match sent {
            false => of(RESUME_RECEIVED, side),
            true => of(RESUME_SENT, side),
        },
        _ => None,
    }
}

fn keep_words(command: &Command, out: &mut Writer) {
    match command {
        Command::Traffic { relay: _, traffic } => traffic.keep(out),
        Command::Multiplex {
            relay: _,
            side: _,
            shared,
        } => shared.keep(out),
        Command::Protect {
            relay: _,
            side: _,
            protection,
        } => protection.keep(out),
        Command::Remote {
            relay: _,
            side: _,
            rtp,
            rtcp,
            expect_media,
            strict,
        } => {
            rtp.keep(out);
            rtcp.keep(out);
            expect_media.keep(out);
            strict.keep(out);
        }
        Command::Payloads {
            relay: _,
            side: _,
            payloads,
        } => payloads.keep(out),
        Command::Convert {
            relay: _,
            side: _,
            conversion,
        } => conversion.keep(out),
        Command::ComfortNoise {
            relay: _,
            side: _,
            noise,
        } => noise.keep(out),
        Command::Ringback {
            relay: _,
            side: _,
            ringback,
        } => ringback.keep(out),
        Command::Resume {
            relay: _,
            side: _,
            sent: _,
            ssrc,
            index,
        } => {
            ssrc.keep(out);
            index.keep(out);
        }
        Command::LatchOnce { relay: _, side: _ } => {}
        Command::Open { .. }
        | Command::Reopen { .. }
        | Command::Relatch { .. }
        | Command::Hurry { .. }
        | Command::Record { .. }
        | Command::Close { .. } => {}
    }
}

fn kept_words(relay: RelayId, place: u8, input: &mut Reader<'_>) -> Result<Command, Damaged> {
    let side = if place.is_multiple_of(SIDES) {
        Side::A
    } else {
        Side::B
    };
    Ok(match place - place % SIDES {
        TRAFFIC => Command::Traffic {
            relay,
            traffic: Traffic::kept(input)?,
        },
        LATCH_ONCE => Command::LatchOnce { relay, side },
        MULTIPLEX => Command::Multiplex {
            relay,
            side,
            shared: bool::kept(input)?,
        },
        PROTECT => Command::Protect {
            relay,
            side,
            protection: Protection::kept(input)?,
        },
        REMOTE => Command::Remote {
            relay,
            side,
            rtp: Option::kept(input)?,
            rtcp: Option::kept(input)?,
            expect_media: bool::kept(input)?,
            strict: bool::kept(input)?,
        },
        PAYLOADS => Command::Payloads {
            relay,
            side,
            payloads: Box::<Payloads>::kept(input)?,
        },
        CONVERT => Command::Convert {
            relay,
            side,
            conversion: Option::<Box<Conversion>>::kept(input)?,
        },
        NOISE => Command::ComfortNoise {
            relay,
            side,
            noise: Option::<Noise>::kept(input)?,
        },
        RINGBACK => Command::Ringback {
            relay,
            side,
            ringback: Option::<Box<Ringback>>::kept(input)?,
        },
        kind @ (RESUME_RECEIVED | RESUME_SENT) => Command::Resume {
            relay,
            side,
            sent: kind == RESUME_SENT,
            ssrc: u32::kept(input)?,
            index: u64::kept(input)?,
        },
        _ => return Err(Damaged::Value("relay command")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::Session;
    use crate::srtp::{KeySeed, KeySource, SideKeys, Suite};
    use std::time::Instant;

    const RELAY: RelayId = RelayId(7);

    fn base() -> Base {
        Base {
            now: Instant::now(),
            unix_ms: 0,
        }
    }

    /// One of each lasting kind, in the order in which they are told again.
    fn lasting() -> Vec<Command> {
        let (relay, side) = (RELAY, Side::B);
        let line = |formats: &str| {
            let text = format!(
                "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP {formats}\r\n\
                 a=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:96 useinbandfec=1\r\n"
            );
            let session = Session::parse(text.as_bytes()).expect("a description in order");
            session.media[0].clone()
        };
        let mut source = KeySource::new(&KeySeed([3; 32]));
        let keys = SideKeys {
            receive: source.key(Suite::Aes256Gcm),
            send: source.key(Suite::Aes128CmSha1_80),
        };
        let conversion = Conversion::between(&line("96 101"), None, &line("8 101"));
        assert!(conversion.is_some());
        vec![
            Command::Traffic {
                relay,
                traffic: Traffic::Datagrams,
            },
            Command::LatchOnce {
                relay,
                side: Side::A,
            },
            Command::LatchOnce { relay, side },
            Command::Multiplex {
                relay,
                side,
                shared: true,
            },
            Command::Protect {
                relay,
                side,
                protection: Protection::Keys(Box::new(keys)),
            },
            Command::Remote {
                relay,
                side,
                rtp: Some("192.0.2.9:4000".parse().unwrap()),
                rtcp: None,
                expect_media: true,
                strict: false,
            },
            Command::Payloads {
                relay,
                side,
                payloads: Box::new(Payloads::of(&line("96 101"))),
            },
            Command::Convert {
                relay,
                side,
                conversion: conversion.map(Box::new),
            },
            Command::ComfortNoise {
                relay,
                side,
                noise: Some(Noise::Silence(crate::g711::Law::A)),
            },
        ]
    }

    #[test]
    fn the_last_of_each_kind_is_told_again() {
        let mut told = Told::default();
        for command in lasting().iter().rev() {
            assert!(command.is_lasting(), "{command:?}");
            told.note(command, base());
        }
        assert_eq!(told.commands(RELAY, base()), Ok(lasting()));
        // Said once more, in other words.
        let news = [
            Command::ComfortNoise {
                relay: RELAY,
                side: Side::B,
                noise: None,
            },
            Command::Traffic {
                relay: RELAY,
                traffic: Traffic::Rtp,
            },
        ];
        news.iter().for_each(|command| told.note(command, base()));
        let mut expected = lasting();
        let last = expected.len() - 1;
        (expected[last], expected[0]) = (news[0].clone(), news[1].clone());
        assert_eq!(told.commands(RELAY, base()), Ok(expected));
    }

    #[test]
    fn what_happens_once_is_not_told_again() {
        let (relay, side) = (RELAY, Side::A);
        let mut told = Told::default();
        for command in [
            Command::Relatch { relay, side },
            Command::Hurry { relay, side },
            Command::Record {
                relay,
                recording: None,
            },
            Command::Close { relay },
        ] {
            assert!(!command.is_lasting(), "{command:?}");
            told.note(&command, base());
        }
        assert_eq!(told, Told::default());
    }
}
