//! What the relays are told of the two sides: addresses, payload types, keys, handshakes, conversions.

use super::path::is_private;
use super::{CallMedia, Offered, codecs, index};
use crate::core::Core;
use ::media::relay::{Command, Conversion, Payloads, Side};
use ::media::sdp::Session;
use std::net::SocketAddr;

impl CallMedia {
    /// Tells the relays how a side is protected, where that has changed.
    pub(super) fn protect(&mut self, core: &mut Core, side: Side, offered: bool) {
        for (slot, line) in self.lines.iter().enumerate() {
            let Some(relay) = line.as_ref().map(|line| line.relay) else {
                continue;
            };
            let news = if offered {
                self.secure.news_of_offer(&mut core.keys, side, slot)
            } else {
                self.secure.news_of_answer(side, slot)
            };
            if let Some(shared) = news.multiplexed {
                core.media(Command::Multiplex {
                    relay,
                    side,
                    shared,
                });
            }
            if let Some(protection) = news.protection {
                core.media(Command::Protect {
                    relay,
                    side,
                    protection,
                });
                self.hurry(core, side, slot);
            }
        }
    }

    /// Once the call is answered, a handshake has to come to an end.
    pub(super) fn hurry(&self, core: &mut Core, side: Side, slot: usize) {
        let line = self.lines.get(slot).and_then(Option::as_ref);
        if let Some(line) = line.filter(|_| self.confirmed && self.secure.shakes(side, slot)) {
            let relay = line.relay;
            core.media(Command::Hurry { relay, side });
        }
    }

    /// Tells the relays where a side wants its media.
    pub(super) fn describe(&mut self, core: &mut Core, side: Side, session: &Session) {
        let signalling = match side {
            Side::A => self.a.signalling,
            Side::B => self.b.signalling,
        };
        for (index, media) in session.media.iter().enumerate() {
            let Some(Some(line)) = self.lines.get_mut(index) else {
                continue;
            };
            let rtp = session.rtp_address(index).filter(|_| media.is_active());
            // A private address behind a public one is a phone behind NAT that does not know better.
            let rtp = rtp.map(|said| match signalling {
                Some(seen) if is_private(said.ip()) && !is_private(seen) && !seen.is_loopback() => {
                    SocketAddr::new(seen, said.port())
                }
                _ => said,
            });
            let expect_media = media.is_active() && session.effective_direction(index).sends();
            match side {
                Side::A => line.expects_a = expect_media,
                Side::B => line.expects_b = expect_media,
            }
            line.is_audio = codecs::is_audio(media);
            let relay = line.relay;
            core.media(Command::Remote {
                relay,
                side,
                rtp,
                rtcp: session.rtcp_address(index).filter(|_| rtp.is_some()),
                expect_media,
                strict: false,
            });
        }
        self.follow_audio(core);
    }

    /// Tells the relays what the payload types of a side mean, which are those of the description it was given.
    pub(super) fn name_payloads(&self, core: &mut Core, side: Side, given: &Session) {
        for (media, line) in given.media.iter().zip(&self.lines) {
            let Some(relay) = line.as_ref().map(|line| line.relay) else {
                continue;
            };
            core.media(Command::Payloads {
                relay,
                side,
                payloads: Box::new(Payloads::of(media)),
            });
        }
    }

    /// Tells the relays what packets need on their way, where that has changed. `said` is the answer to an offer,
    /// `given` what became of it for the side that offered.
    pub(super) fn convert(
        &mut self,
        core: &mut Core,
        offered: &Offered,
        said: &Session,
        given: &Session,
    ) {
        let offerer = offered.side;
        let mut transcodes = false;
        for (slot, line) in self.lines.iter_mut().enumerate() {
            let lines = [&*offered.said, &*offered.given, said, given];
            let [own, passed_on, said, given] = lines.map(|session| session.media.get(slot));
            let (Some(line), Some(own), Some(passed_on), Some(said), Some(given)) =
                (line, own, passed_on, said, given)
            else {
                continue;
            };
            let understood = codecs::agreed(own, given);
            let taken_up = codecs::taken_up(said, passed_on);
            let to_answerer = Conversion::between(given, Some(own), &taken_up);
            let to_offerer = Conversion::between(passed_on, Some(said), &understood);
            for (side, conversion, spoken) in [
                (offerer.other(), to_answerer, said),
                (offerer, to_offerer, given),
            ] {
                line.codecs[index(side)] = codecs::spoken(spoken);
                transcodes |= conversion.as_ref().is_some_and(Conversion::transcodes);
                if line.conversions[index(side)] != conversion {
                    line.conversions[index(side)].clone_from(&conversion);
                    core.media(Command::Convert {
                        relay: line.relay,
                        side,
                        conversion: conversion.map(Box::new),
                    });
                }
            }
        }
        if transcodes && !self.transcoded {
            self.transcoded = true;
            core.transcoded_calls += 1;
        }
    }
}
