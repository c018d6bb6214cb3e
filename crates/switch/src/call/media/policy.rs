//! What the records of the two connections ask of a call's media, and what that makes of descriptions.

use crate::call::recording;
use crate::directory::Connection;
use crate::trail::Trail;
use ::media::g711::{self, Law};
use ::media::relay::Noise;
use ::media::sdp::{Codec, MediaLine, Session, Transport};
use model::{AudioRelay, EncryptedAudio, SipTransport, SystemSwitch};

/// Payload type of comfort noise at 8 kHz (RFC 3551 §6).
const COMFORT_NOISE: u8 = 13;

/// What one connection asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) pcmu_only: bool,
    pub(super) block_video: bool,
    pub(super) latch_once: bool,
    pub(super) comfort_noise: bool,
    pub(super) encryption: EncryptedAudio,
}

impl Policy {
    pub(super) fn of(record: &model::Connection) -> Self {
        Self {
            pcmu_only: record.connection_pcmu_only_enabled,
            block_video: record.connection_block_video_in_sdp_enabled,
            latch_once: record.connection_prevent_rtp_port_change_enabled,
            comfort_noise: record.connection_relay_comfort_noise_enabled == SystemSwitch::Yes,
            encryption: record.connection_require_encrypted_audio_enabled,
        }
    }
}

/// Notes in the trail what the two records ask.
pub(crate) fn note(source: &Connection, target: &Connection, trail: &mut Trail) {
    let recorded = recording::asked(&source.record, &target.record);
    let path = match (
        source.record.connection_audio_relay_enabled,
        target.record.connection_audio_relay_enabled,
    ) {
        (AudioRelay::Never, _) | (_, AudioRelay::Never) if !recorded => {
            "media never pass the relay"
        }
        (AudioRelay::Automatic, AudioRelay::Automatic) => "media pass the relay",
        _ if recorded => "media pass the relay, for the call is recorded",
        (AudioRelay::Automatic, _) | (_, AudioRelay::Automatic) => "media pass the relay",
        _ => "media pass the relay only where they have to",
    };
    trail.step("media", None, || path.to_owned());
    for connection in [source, target] {
        let policy = Policy::of(&connection.record);
        let demanded = policy.encryption == EncryptedAudio::Yes;
        let tls = connection.record.connection_sip_transport_protocol == SipTransport::Tls;
        let asked = [
            (policy.pcmu_only, "PCMU alone"),
            (policy.block_video, "no video"),
            (policy.latch_once, "RTP source learned once"),
            (policy.comfort_noise, "comfort noise in pauses"),
            (
                policy.encryption == EncryptedAudio::Optional,
                "SRTP offered beside RTP",
            ),
            (demanded && tls, "SRTP demanded, by keys or by DTLS"),
            (
                demanded && !tls,
                "SRTP demanded, by keys, which travel in the clear without TLS, or by DTLS",
            ),
        ];
        let words: Vec<_> = asked
            .iter()
            .filter(|(asked, _)| *asked)
            .map(|(_, word)| *word)
            .collect();
        if !words.is_empty() {
            trail.step("media", Some(connection.label()), || words.join(", "));
        }
    }
}

/// What becomes of an offer of a side with policy `from` for one with policy `to`. `may_recode` tells whether the
/// media pass us, so that one law of G.711 can be turned into the other.
pub(super) fn narrow_offer(
    mut offer: Session,
    from: Policy,
    to: Policy,
    may_recode: bool,
) -> Result<Session, String> {
    for line in audio_lines(&mut offer) {
        if from.pcmu_only && !line.has_format(g711::PCMU) {
            return Err("Offer without PCMU from a connection that uses nothing else".to_owned());
        }
        if from.pcmu_only {
            line.retain_formats(|codec| codec.payload_type == g711::PCMU || is_event(codec));
            if may_recode && !to.pcmu_only {
                line.insert_format(1, &Codec::PCMA);
            }
        } else if to.pcmu_only {
            let recoded = may_recode && line.has_format(g711::PCMA);
            if !line.has_format(g711::PCMU) && !recoded {
                return Err(
                    "Nothing offered can become PCMU, which the called connection asks for"
                        .to_owned(),
                );
            }
            line.insert_format(0, &Codec::PCMU);
            line.retain_formats(|codec| codec.payload_type == g711::PCMU || is_event(codec));
        }
    }
    Ok(offer)
}

/// What becomes of an answer of a side with policy `from` for the side whose offer it answers.
pub(super) fn narrow_answer(
    mut answer: Session,
    from: Policy,
    to: Policy,
    offer: &Session,
) -> Result<Session, String> {
    for (index, line) in answer.media.iter_mut().enumerate() {
        if !is_audio(line) || !(from.pcmu_only || to.pcmu_only) {
            continue;
        }
        let (mu, a) = (line.has_format(g711::PCMU), line.has_format(g711::PCMA));
        if !mu && (from.pcmu_only || !a) {
            return Err("Answer without PCMU".to_owned());
        }
        let offered_mu = offer
            .media
            .get(index)
            .is_none_or(|line| line.has_format(g711::PCMU));
        let law = if offered_mu { Codec::PCMU } else { Codec::PCMA };
        line.insert_format(0, &law);
        line.retain_formats(|codec| codec.payload_type == law.payload_type || is_event(codec));
    }
    Ok(answer)
}

/// The one law of G.711 that a line leaves; `None` when it leaves both or neither.
pub(super) fn only_law(line: &MediaLine) -> Option<Law> {
    match (line.has_format(g711::PCMU), line.has_format(g711::PCMA)) {
        (true, false) => Some(Law::Mu),
        (false, true) => Some(Law::A),
        _ => None,
    }
}

/// What a far end that accepted `line` can be sent in a pause.
pub(super) fn noise_for(line: &MediaLine) -> Option<Noise> {
    if !is_audio(line) {
        return None;
    }
    if line.has_format(COMFORT_NOISE) {
        return Some(Noise::Described);
    }
    let mut codecs = line.codecs();
    codecs
        .find_map(|codec| Law::of(codec.payload_type))
        .map(Noise::Silence)
}

fn audio_lines(session: &mut Session) -> impl Iterator<Item = &mut MediaLine> {
    session.media.iter_mut().filter(|line| is_audio(line))
}

pub(super) fn is_audio(line: &MediaLine) -> bool {
    line.is_active()
        && line.media.eq_ignore_ascii_case("audio")
        && line.transport() == Transport::Rtp
}

fn is_event(codec: &Codec) -> bool {
    codec.is_telephone_event()
}
