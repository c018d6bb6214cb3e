//! SRTP of a call: each side has keys of its own, or none (SDES, RFC 4568).
//!
//! Where the media pass our relay, SRTP ends there. An offer's keys are answered with ours, whatever the other side
//! speaks; what the other side is offered follows from its own record. What was once agreed with a side is kept in
//! later offers to it, so that nobody is asked to give up encryption in the middle of a call.

use super::policy::Policy;
use ::media::relay::{Protection, Side, SideKeys};
use ::media::sdp::{Crypto, MediaLine, Security, Session, Transport};
use ::media::srtp::{KeySource, MasterKey, Suite};
use model::EncryptedAudio;

/// The suite we offer: the one that every implementation has (RFC 4568 §6.2.1).
const SUITE: Suite = Suite::Aes128CmSha1_80;

/// Tag of the one `a=crypto` that we offer.
const TAG: u32 = 1;

/// Keys of a call, by side and slot.
#[derive(Debug, Default)]
pub(super) struct Secure {
    sides: [Vec<SlotKeys>; 2],
}

#[derive(Debug, Clone, Default)]
struct SlotKeys {
    /// Of what we send there; stays for the life of the leg.
    ours: Option<MasterKey>,
    /// What the last offer of that side brought, if it is taken up.
    offered: Option<Crypto>,
    /// What the last answer of that side brought.
    answered: Option<Crypto>,
    /// We offered keys, and their answer is awaited.
    asked: bool,
    /// SRTP was agreed; whether by a profile that says so.
    agreed: Option<bool>,
    /// What the relay was told.
    told: Protection,
}

impl Secure {
    /// Reads the keys of an offer. `Err` when it lacks what the record of its side demands, or keys we could use.
    pub(super) fn take_offer(
        &mut self,
        side: Side,
        policy: Policy,
        offer: &Session,
    ) -> Result<(), String> {
        for (slot, line) in offer.media.iter().enumerate() {
            let keys = self.slot(side, slot);
            keys.offered = None;
            if !is_rtp(line) {
                if demands(policy, line) {
                    return Err("SRTP with keys in the description is demanded".to_owned());
                }
                continue;
            }
            let profile = line.security() == Security::Sdes;
            let crypto = line.crypto();
            if profile && crypto.is_none() {
                return Err("SRTP is offered without a key that can be used".to_owned());
            }
            let takes = profile || policy.encryption != EncryptedAudio::No;
            keys.offered = crypto.filter(|_| takes);
            if keys.offered.is_none() && demands(policy, line) {
                return Err("RTP is offered in the clear where SRTP is demanded".to_owned());
            }
        }
        Ok(())
    }

    /// Writes keys and profiles of an offer to `side`.
    pub(super) fn write_offer(
        &mut self,
        source: &mut KeySource,
        side: Side,
        policy: Policy,
        given: &mut Session,
    ) {
        for (slot, line) in given.media.iter_mut().enumerate() {
            let keys = self.slot(side, slot);
            keys.asked = false;
            if !is_rtp(line) {
                continue;
            }
            let (profile, crypto) = match (keys.agreed, policy.encryption) {
                (Some(profile), _) => (profile, true),
                (None, EncryptedAudio::No) => (false, false),
                (None, EncryptedAudio::Optional) => (false, true),
                (None, EncryptedAudio::Yes) => (true, true),
            };
            keys.asked = crypto;
            let ours = crypto.then(|| Crypto {
                tag: TAG,
                key: keys.ours.get_or_insert_with(|| source.key(SUITE)).clone(),
            });
            line.set_secure_profile(profile);
            line.set_crypto(ours.as_ref());
        }
    }

    /// Reads the keys of an answer.
    pub(super) fn take_answer(
        &mut self,
        side: Side,
        policy: Policy,
        answer: &Session,
    ) -> Result<(), String> {
        for (slot, line) in answer.media.iter().enumerate() {
            if !is_rtp(line) {
                continue;
            }
            let keys = self.slot(side, slot);
            let profile = line.security() == Security::Sdes;
            let suite = keys.ours.as_ref().map(MasterKey::suite);
            let crypto = line
                .crypto()
                .filter(|crypto| keys.asked && suite == Some(crypto.key.suite()));
            if crypto.is_none() && (profile || demands(policy, line)) {
                return Err("Answer without the encryption that was offered".to_owned());
            }
            keys.agreed = crypto.as_ref().map(|_| profile);
            keys.answered = crypto;
        }
        Ok(())
    }

    /// Writes keys and profiles of an answer to `side`, whose offer it answers.
    pub(super) fn write_answer(
        &mut self,
        source: &mut KeySource,
        side: Side,
        offer: &Session,
        given: &mut Session,
    ) {
        for (slot, line) in given.media.iter_mut().enumerate() {
            let Some(offered) = offer.media.get(slot) else {
                continue;
            };
            if line.transport() != Transport::Rtp || offered.transport() != Transport::Rtp {
                continue;
            }
            offered.proto.clone_into(&mut line.proto);
            let keys = self.slot(side, slot);
            let profile = offered.security() == Security::Sdes;
            keys.agreed = keys.offered.as_ref().map(|_| profile);
            let ours = keys.answer(source).filter(|_| line.is_active());
            line.set_crypto(ours.as_ref());
        }
    }

    /// How a side that offered is protected, if the relay does not know it yet.
    pub(super) fn news_of_offer(
        &mut self,
        source: &mut KeySource,
        side: Side,
        slot: usize,
    ) -> Option<Protection> {
        let keys = self.slot(side, slot);
        let ours = keys.answer(source).map(|ours| ours.key);
        let theirs = keys.offered.as_ref().map(|theirs| theirs.key.clone());
        keys.tell(theirs, ours)
    }

    /// How a side that answered is protected, if the relay does not know it yet.
    pub(super) fn news_of_answer(&mut self, side: Side, slot: usize) -> Option<Protection> {
        let keys = self.slot(side, slot);
        let theirs = keys.answered.as_ref().map(|theirs| theirs.key.clone());
        keys.tell(theirs, keys.ours.clone())
    }

    /// Another far end takes the place of this side's: it gets other keys.
    pub(super) fn forget(&mut self, side: Side) {
        for keys in &mut self.sides[index(side)] {
            *keys = SlotKeys {
                told: std::mem::take(&mut keys.told),
                ..SlotKeys::default()
            };
        }
    }

    fn slot(&mut self, side: Side, slot: usize) -> &mut SlotKeys {
        let slots = &mut self.sides[index(side)];
        if slots.len() <= slot {
            slots.resize_with(slot + 1, SlotKeys::default);
        }
        &mut slots[slot]
    }
}

impl SlotKeys {
    /// Our answer to the keys that were offered: of the same suite and under the same tag.
    fn answer(&mut self, source: &mut KeySource) -> Option<Crypto> {
        let offered = self.offered.as_ref()?;
        let suite = offered.key.suite();
        if self.ours.as_ref().is_none_or(|ours| ours.suite() != suite) {
            self.ours = Some(source.key(suite));
        }
        let key = self.ours.clone()?;
        Some(Crypto {
            tag: offered.tag,
            key,
        })
    }

    fn tell(&mut self, receive: Option<MasterKey>, send: Option<MasterKey>) -> Option<Protection> {
        let protection = match receive.zip(send) {
            Some((receive, send)) => Protection::Keys(Box::new(SideKeys { receive, send })),
            None => Protection::Clear,
        };
        if self.told == protection {
            return None;
        }
        self.told.clone_from(&protection);
        Some(protection)
    }
}

/// Whether a line is RTP whose keys, if it has any, stand in the description.
fn is_rtp(line: &MediaLine) -> bool {
    line.is_active() && line.transport() == Transport::Rtp && line.security() != Security::Dtls
}

/// Whether a record demands that this line be encrypted.
fn demands(policy: Policy, line: &MediaLine) -> bool {
    policy.encryption == EncryptedAudio::Yes
        && line.is_active()
        && line.media.eq_ignore_ascii_case("audio")
}

fn index(side: Side) -> usize {
    match side {
        Side::A => 0,
        Side::B => 1,
    }
}
