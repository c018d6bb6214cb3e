//! What the relays are told of the two sides: addresses, payload types, keys, handshakes, recoding.

use super::path::is_private;
use super::{CallMedia, policy};
use crate::switch::Core;
use ::media::g711::{self, Law};
use ::media::relay::{Command, Payloads, Side};
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

    /// Tells the relays where a side wants its media. `offer` is what it answered, which names the payload
    /// types it is going to send.
    pub(super) fn describe(
        &mut self,
        core: &mut Core,
        side: Side,
        session: &Session,
        offer: Option<&Session>,
    ) {
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
            line.is_audio = policy::is_audio(media);
            let relay = line.relay;
            core.media(Command::Remote {
                relay,
                side,
                rtp,
                rtcp: session.rtcp_address(index).filter(|_| rtp.is_some()),
                expect_media,
                strict: false,
            });
            core.media(Command::Payloads {
                relay,
                side: side.other(),
                payloads: Box::new(Payloads::of(media)),
            });
            if let Some(offered) = offer.and_then(|offer| offer.media.get(index)) {
                core.media(Command::Payloads {
                    relay,
                    side,
                    payloads: Box::new(Payloads::of(offered)),
                });
            }
        }
        self.follow_audio(core);
    }

    /// Where one side understands but one law of G.711, frames of the other are recoded for it. `given` is what became
    /// of the answer `said` for the side that offered.
    pub(super) fn recode(&self, core: &mut Core, answerer: Side, said: &Session, given: &Session) {
        if !self.a.policy.pcmu_only && !self.b.policy.pcmu_only {
            return;
        }
        for (slot, line) in self.lines.iter().enumerate() {
            let Some(relay) = line.as_ref().map(|line| line.relay) else {
                continue;
            };
            for (side, session) in [(answerer, said), (answerer.other(), given)] {
                // An answer may name more than was offered (RFC 3264 §6.1); its record says what we use of it.
                let pcmu_only = match side {
                    Side::A => self.a.policy.pcmu_only,
                    Side::B => self.b.policy.pcmu_only,
                };
                let law = session.media.get(slot).and_then(|line| {
                    let mu = pcmu_only && line.has_format(g711::PCMU);
                    mu.then_some(Law::Mu).or_else(|| policy::only_law(line))
                });
                core.media(Command::Recode { relay, side, law });
            }
        }
    }
}
