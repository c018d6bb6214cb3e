//! SRTP of a call: each side has keys of its own, or none. They stand in the descriptions (SDES, RFC 4568) or come from
//! a handshake on the media port, of which the descriptions only say between whom (DTLS-SRTP, RFC 5763).
//!
//! Where the media pass our relay, SRTP ends there. An offer is answered in kind, whatever the other side speaks; what
//! the other side is offered follows from its own record, and never is a handshake. What was once agreed with a side is
//! kept in later offers to it, so that nobody is asked to give up encryption in the middle of a call.

mod shaken;

use self::shaken::Shaken;
use super::policy::Policy;
use ::media::dtls::Fingerprint;
use ::media::relay::{Protection, Side, SideKeys};
use ::media::sdp::anchor::LocalDtls;
use ::media::sdp::{Crypto, Dtls, MediaLine, Security, Session, Transport};
use ::media::srtp::{KeySource, MasterKey, Suite};
use keep::{Damaged, Keep, Reader, Writer};
use model::EncryptedAudio;

/// The suite we offer: the one that every implementation has (RFC 4568 §6.2.1).
const SUITE: Suite = Suite::Aes128CmSha1_80;

/// Tag of the one `a=crypto` that we offer.
const TAG: u32 = 1;

/// Keys of a call, by side and slot.
#[derive(Debug)]
pub(super) struct Secure {
    sides: [Vec<SlotKeys>; 2],
    /// Of our certificate.
    ours: Fingerprint,
}

#[derive(Debug, Clone, Default)]
struct SlotKeys {
    /// Of what we send there; stays for the life of the leg.
    ours: Option<MasterKey>,
    /// What the last offer of that side brought, if it is taken up.
    offered: Theirs,
    /// What the last answer of that side brought.
    answered: Theirs,
    /// What our last offer to that side asked for.
    asked: Asked,
    agreed: Agreed,
    shaken: Shaken,
    /// What the relay was told.
    told: Protection,
    told_to_multiplex: bool,
}

keep::keep!(struct SlotKeys {
    ours, offered, answered, asked, agreed, told, told_to_multiplex; shaken: Shaken::default(),
});

/// What a description of a far end brings for our part.
#[derive(Debug, Clone, Default)]
enum Theirs {
    #[default]
    Nothing,
    Keys(Crypto),
    Handshake(Dtls),
}

// Handshakes end with the process: see [`Secure::is_shaken`].
impl Keep for Theirs {
    fn keep(&self, out: &mut Writer) {
        match self {
            Self::Nothing | Self::Handshake(_) => out.byte(0),
            Self::Keys(crypto) => {
                out.byte(1);
                crypto.keep(out);
            }
        }
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        match input.byte()? {
            0 => Ok(Self::Nothing),
            1 => Ok(Self::Keys(Crypto::kept(input)?)),
            _ => Err(Damaged::Value("keys")),
        }
    }
}

/// What an offer of ours asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Asked {
    #[default]
    Nothing,
    Keys,
    Handshake,
}

keep::keep!(enum Asked { 0 = Nothing, 1 = Keys, 2 = Handshake });

/// How a side is protected by agreement, which later offers to it keep to.
#[derive(Debug, Clone, Default)]
enum Agreed {
    #[default]
    Nothing,
    /// SRTP with keys in descriptions; whether by a profile that says so.
    Keys { profile: bool },
    /// SRTP with keys of a handshake, by this profile.
    Handshake { profile: String },
}

keep::keep!(enum Agreed { 0 = Nothing, 1 = Keys { profile }, 2 = Handshake { profile } });

/// What there is to say to the relay about one line of one side.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) protection: Option<Protection>,
    /// Whether reports share the port of the media.
    pub(super) multiplexed: Option<bool>,
}

impl Secure {
    /// Writes the keys of both sides.
    pub(super) fn keep(&self, out: &mut Writer) {
        let Self { sides, ours: _ } = self;
        sides.keep(out);
    }

    /// Reads the keys of both sides. `ours` names our certificate, which is another one in each process.
    pub(super) fn kept(input: &mut Reader<'_>, ours: Fingerprint) -> Result<Self, Damaged> {
        Ok(Self {
            sides: Keep::kept(input)?,
            ours,
        })
    }

    /// Whether media are sealed by a handshake, or are about to be: its secrets are the media thread's alone, and end
    /// with it.
    pub(super) fn is_shaken(&self) -> bool {
        self.sides.iter().flatten().any(|keys| {
            matches!(keys.offered, Theirs::Handshake(_))
                || matches!(keys.answered, Theirs::Handshake(_))
                || matches!(keys.agreed, Agreed::Handshake { .. })
        })
    }

    /// Whether there is more to them than is written: handshakes, past ones included.
    pub(super) fn is_more_than_kept(&self) -> bool {
        let mut all = self.sides.iter().flatten();
        self.is_shaken() || all.any(|keys| keys.shaken.has_begun())
    }

    /// `ours` names our certificate.
    pub(super) fn new(ours: Fingerprint) -> Self {
        Self {
            sides: Default::default(),
            ours,
        }
    }

    /// Reads what an offer brings. `Err` when it lacks what the record of its side demands, or anything we could use.
    pub(super) fn take_offer(
        &mut self,
        side: Side,
        policy: Policy,
        offer: &Session,
    ) -> Result<(), String> {
        for (slot, line) in offer.media.iter().enumerate() {
            let keys = self.slot(side, slot);
            keys.offered = Theirs::Nothing;
            if !is_rtp(line) {
                if demands(policy, line) {
                    return Err("SRTP is demanded".to_owned());
                }
                continue;
            }
            keys.offered = Theirs::offered(offer, slot, policy)?;
            if demands(policy, line) && matches!(keys.offered, Theirs::Nothing) {
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
        for slot in 0..given.media.len() {
            let by_handshake = given.security(slot) == Security::Dtls;
            let keys = self.slot(side, slot);
            (keys.asked, keys.shaken.described) = (Asked::Nothing, None);
            let line = &mut given.media[slot];
            if !is_rtp(line) {
                continue;
            }
            let (profile, crypto) = match (&keys.agreed, policy.encryption) {
                (Agreed::Handshake { profile }, _) => {
                    profile.clone_into(&mut line.proto);
                    line.set_crypto(None);
                    keys.asked = Asked::Handshake;
                    keys.shaken.describe_again();
                    continue;
                }
                (Agreed::Keys { profile }, _) => (*profile, true),
                (Agreed::Nothing, EncryptedAudio::No) => (false, false),
                (Agreed::Nothing, EncryptedAudio::Optional) => (false, true),
                (Agreed::Nothing, EncryptedAudio::Yes) => (true, true),
            };
            if crypto {
                keys.asked = Asked::Keys;
            }
            let ours = crypto.then(|| Crypto {
                tag: TAG,
                key: keys.ours.get_or_insert_with(|| source.key(SUITE)).clone(),
            });
            if by_handshake && is_audio(line) {
                line.drop_feedback();
            }
            line.set_secure_profile(profile);
            line.set_crypto(ours.as_ref());
        }
    }

    /// Reads what an answer brings.
    pub(super) fn take_answer(
        &mut self,
        source: &mut KeySource,
        side: Side,
        policy: Policy,
        answer: &Session,
    ) -> Result<(), String> {
        for (slot, line) in answer.media.iter().enumerate() {
            if !is_rtp(line) {
                continue;
            }
            let security = answer.security(slot);
            let keys = self.slot(side, slot);
            keys.answered = match keys.asked {
                Asked::Handshake => answer.dtls(slot).map_or(Theirs::Nothing, Theirs::Handshake),
                Asked::Keys => {
                    let suite = keys.ours.as_ref().map(MasterKey::suite);
                    let crypto = line.crypto();
                    crypto
                        .filter(|crypto| suite == Some(crypto.key.suite()))
                        .map_or(Theirs::Nothing, Theirs::Keys)
                }
                Asked::Nothing => Theirs::Nothing,
            };
            keys.agreed = match &keys.answered {
                Theirs::Nothing if security != Security::None || demands(policy, line) => {
                    return Err("Answer without the encryption that was offered".to_owned());
                }
                Theirs::Nothing => Agreed::Nothing,
                Theirs::Keys(_) => Agreed::Keys {
                    profile: security == Security::Sdes,
                },
                Theirs::Handshake(_) => Agreed::Handshake {
                    profile: line.proto.clone(),
                },
            };
            match &keys.answered {
                Theirs::Handshake(dtls) => keys.shaken.agree(source, dtls, line.multiplexes()),
                _ => keys.shaken.end(),
            }
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
            keys.shaken.described = None;
            keys.agreed = match &keys.offered {
                Theirs::Nothing => Agreed::Nothing,
                Theirs::Keys(_) => Agreed::Keys {
                    profile: offer.security(slot) == Security::Sdes,
                },
                Theirs::Handshake(_) => Agreed::Handshake {
                    profile: offered.proto.clone(),
                },
            };
            match &keys.offered {
                Theirs::Handshake(dtls) if line.is_active() => {
                    keys.shaken.agree(source, dtls, offered.multiplexes());
                    keys.shaken.describe_again();
                }
                _ => keys.shaken.end(),
            }
            let ours = keys.answer(source).filter(|_| line.is_active());
            line.set_crypto(ours.as_ref());
        }
    }

    /// What the relay has to hear about a line of a side that offered.
    pub(super) fn news_of_offer(
        &mut self,
        source: &mut KeySource,
        side: Side,
        slot: usize,
    ) -> News {
        let keys = self.slot(side, slot);
        let ours = keys.answer(source).map(|ours| ours.key);
        let protection = keys.protection(&keys.offered, ours);
        keys.tell(protection)
    }

    /// What the relay has to hear about a line of a side that answered.
    pub(super) fn news_of_answer(&mut self, side: Side, slot: usize) -> News {
        let keys = self.slot(side, slot);
        let protection = keys.protection(&keys.answered, keys.ours.clone());
        keys.tell(protection)
    }

    /// What the description that is being written for a side says of the handshake of a line.
    pub(super) fn described(&self, side: Side, slot: usize) -> Option<LocalDtls> {
        let keys = self.sides[index(side)].get(slot)?;
        let (setup, tls_id) = keys.shaken.described?;
        Some(LocalDtls {
            fingerprint: self.ours,
            setup,
            tls_id,
        })
    }

    /// Whether reports of a line share the port of the media, on a side that shakes hands.
    pub(super) fn multiplexed(&self, side: Side, slot: usize) -> bool {
        let keys = self.sides[index(side)].get(slot);
        keys.is_some_and(|keys| keys.shaken.multiplexed())
    }

    /// Whether the relay was told to shake hands with a side.
    pub(super) fn shakes(&self, side: Side, slot: usize) -> bool {
        let keys = self.sides[index(side)].get(slot);
        keys.is_some_and(|keys| matches!(keys.told, Protection::Dtls(_)))
    }

    /// Another far end takes the place of this side's: it gets other keys.
    pub(super) fn forget(&mut self, side: Side) {
        for keys in &mut self.sides[index(side)] {
            *keys = SlotKeys {
                told: std::mem::take(&mut keys.told),
                told_to_multiplex: keys.told_to_multiplex,
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

impl Theirs {
    /// What an offer brings that is taken up: what its profile asks for always, what stands beside RTP in the clear
    /// (RFC 8643) where the record of its side has a use for it.
    fn offered(offer: &Session, slot: usize, policy: Policy) -> Result<Self, String> {
        let crypto = || offer.media.get(slot).and_then(MediaLine::crypto);
        let theirs = match offer.security(slot) {
            Security::Sdes => {
                Self::Keys(crypto().ok_or("SRTP is offered without a key that can be used")?)
            }
            Security::Dtls => Self::Handshake(
                offer
                    .dtls(slot)
                    .ok_or("DTLS-SRTP is offered without a fingerprint that can be used")?,
            ),
            Security::None if policy.encryption == EncryptedAudio::No => Self::Nothing,
            Security::None => {
                let handshake = || offer.dtls(slot).map(Self::Handshake);
                let keys = crypto().map(Self::Keys);
                keys.or_else(handshake).unwrap_or_default()
            }
        };
        match &theirs {
            Self::Handshake(dtls) if dtls.setup == ::media::sdp::Setup::HoldConn => {
                Err("a=setup:holdconn, where a stream has to be set up".to_owned())
            }
            _ => Ok(theirs),
        }
    }
}

impl SlotKeys {
    /// Our answer to the keys that were offered: of the same suite and under the same tag.
    fn answer(&mut self, source: &mut KeySource) -> Option<Crypto> {
        let Theirs::Keys(offered) = &self.offered else {
            return None;
        };
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

    fn protection(&self, theirs: &Theirs, ours: Option<MasterKey>) -> Protection {
        match (theirs, ours) {
            (Theirs::Keys(theirs), Some(send)) => {
                let receive = theirs.key.clone();
                Protection::Keys(Box::new(SideKeys { receive, send }))
            }
            // Before the answer the far end does not know our certificate, and nothing may pass in the clear.
            (Theirs::Handshake(_), _) => self.shaken.protection().unwrap_or(Protection::Pending),
            (Theirs::Nothing | Theirs::Keys(_), _) => Protection::Clear,
        }
    }

    fn tell(&mut self, protection: Protection) -> News {
        let multiplexed = self.shaken.multiplexed();
        let news = News {
            protection: (self.told != protection).then(|| protection.clone()),
            multiplexed: (self.told_to_multiplex != multiplexed).then_some(multiplexed),
        };
        (self.told, self.told_to_multiplex) = (protection, multiplexed);
        news
    }
}

/// Whether a line is RTP in use.
fn is_rtp(line: &MediaLine) -> bool {
    line.is_active() && line.transport() == Transport::Rtp
}

fn is_audio(line: &MediaLine) -> bool {
    line.media.eq_ignore_ascii_case("audio")
}

/// Whether a record demands that this line be encrypted.
fn demands(policy: Policy, line: &MediaLine) -> bool {
    policy.encryption == EncryptedAudio::Yes && line.is_active() && is_audio(line)
}

fn index(side: Side) -> usize {
    match side {
        Side::A => 0,
        Side::B => 1,
    }
}
