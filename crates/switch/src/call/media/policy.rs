//! What the records of the two connections ask of a call's media.

use super::path::Path;
use crate::call::recording;
use crate::directory::Connection;
use crate::trail::Trail;
use keep::{Damaged, Keep, Reader, Writer};
use model::{AudioRelay, EncryptedAudio, SipTransport, SystemSwitch};

/// What one connection asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) pcmu_only: bool,
    pub(super) block_video: bool,
    pub(super) latch_once: bool,
    pub(super) comfort_noise: bool,
    pub(super) encryption: EncryptedAudio,
}

impl Keep for Policy {
    fn keep(&self, out: &mut Writer) {
        let Self {
            pcmu_only,
            block_video,
            latch_once,
            comfort_noise,
            encryption,
        } = self;
        for flag in [pcmu_only, block_video, latch_once, comfort_noise] {
            flag.keep(out);
        }
        out.byte(match encryption {
            EncryptedAudio::No => 0,
            EncryptedAudio::Optional => 1,
            EncryptedAudio::Yes => 2,
        });
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let [pcmu_only, block_video, latch_once, comfort_noise] = Keep::kept(input)?;
        let encryption = match input.byte()? {
            0 => EncryptedAudio::No,
            1 => EncryptedAudio::Optional,
            2 => EncryptedAudio::Yes,
            _ => return Err(Damaged::Value("encryption")),
        };
        Ok(Self {
            pcmu_only,
            block_video,
            latch_once,
            comfort_noise,
            encryption,
        })
    }
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

/// Whether the two records let media pass the relay, so that something of ours can be heard.
pub(crate) fn may_be_relayed(source: &Connection, target: &Connection) -> bool {
    Path::asked(&source.record, &target.record) != Path::Direct
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
    trail.step("media", None, || {
        match Path::asked(&source.record, &target.record) {
            Path::Direct => path.to_owned(),
            Path::Relay | Path::RelayIfHidden => {
                format!("{path}; G.711, G.722 and Opus are converted if the sides have no codec in common")
            }
        }
    });
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
