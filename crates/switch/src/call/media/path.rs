//! Which way the media of a call go: through our relay, or from end to end.

use super::CallMedia;
use super::policy::Policy;
use crate::call::recording;
use ::media::relay::Side;
use ::media::sdp::{Security, Session};
use model::{AudioRelay, Connection, EncryptedAudio};
use std::net::IpAddr;

/// How the media of a call travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    /// Through our relay.
    Relay,
    /// From end to end; we only see the descriptions.
    Direct,
    /// Through the relay if the peer's own address cannot be reached, else direct: known with its offer.
    RelayIfHidden,
}

keep::keep!(enum Path { 0 = Relay, 1 = Direct, 2 = RelayIfHidden });

impl Path {
    /// What the records of the caller's connection and of the called one ask.
    pub(super) fn asked(source: &Connection, target: &Connection) -> Self {
        let relays = (
            source.connection_audio_relay_enabled,
            target.connection_audio_relay_enabled,
        );
        let policies = (Policy::of(source), Policy::of(target));
        // One side alone with PCMU is what may need recoding, and one alone with SRTP needs opening and sealing.
        let encrypts = |policy: Policy| policy.encryption != EncryptedAudio::No;
        let needed = policies.0.pcmu_only != policies.1.pcmu_only
            || encrypts(policies.0)
            || encrypts(policies.1);
        match relays {
            // There is no other way to hear what is said.
            _ if recording::asked(source, target) => Self::Relay,
            (AudioRelay::Never, _) | (_, AudioRelay::Never) => Self::Direct,
            (AudioRelay::Automatic, _) | (_, AudioRelay::Automatic) => Self::Relay,
            (AudioRelay::None, AudioRelay::None) if needed => Self::Relay,
            (AudioRelay::None, AudioRelay::None) => Self::RelayIfHidden,
        }
    }
}

impl CallMedia {
    /// Decides, with the first description, a path that depended on it.
    pub(super) fn settle_path(&mut self, side: Side, session: &Session) {
        if self.path == Path::RelayIfHidden {
            let hidden = self.face(side).signalling.is_some_and(|seen| {
                (0..session.media.len())
                    .filter_map(|index| session.rtp_address(index))
                    .any(|said| is_private(said.ip()) && said.ip() != seen)
            });
            let sealed =
                (0..session.media.len()).any(|index| session.security(index) != Security::None);
            self.path = if hidden || sealed {
                Path::Relay
            } else {
                Path::Direct
            };
        }
    }
}

/// Addresses that mean something only in their own network.
pub(super) fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            ip.is_private()
                || ip.is_link_local()
                || (ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64)
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses() {
        for (text, private) in [
            ("10.1.2.3", true),
            ("192.168.1.1", true),
            ("100.64.0.1", true),
            ("100.128.0.1", false),
            ("8.8.8.8", false),
            ("127.0.0.1", false),
            ("fd00::1", true),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_private(text.parse().unwrap()), private, "{text}");
        }
    }
}
