//! The suites and their sizes.

/// A crypto suite of SDES (RFC 4568 §6.2, RFC 6188, RFC 7714 §14.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum Suite {
    /// AES-128 in counter mode, tags of 80 bits.
    Aes128CmSha1_80,
    /// AES-128 in counter mode, tags of 32 bits on RTP.
    Aes128CmSha1_32,
    /// AES-256 in counter mode, tags of 80 bits.
    Aes256CmSha1_80,
    /// AES-256 in counter mode, tags of 32 bits on RTP.
    Aes256CmSha1_32,
    /// AES-128 in Galois/counter mode.
    Aes128Gcm,
    /// AES-256 in Galois/counter mode.
    Aes256Gcm,
}

keep::keep!(enum Suite {
    0 = Aes128CmSha1_80, 1 = Aes128CmSha1_32, 2 = Aes256CmSha1_80, 3 = Aes256CmSha1_32, 4 = Aes128Gcm, 5 = Aes256Gcm,
});

impl Suite {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Aes128CmSha1_80,
        Self::Aes128CmSha1_32,
        Self::Aes256CmSha1_80,
        Self::Aes256CmSha1_32,
        Self::Aes128Gcm,
        Self::Aes256Gcm,
    ];

    /// Its name in a description.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes128CmSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::Aes128CmSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::Aes256CmSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Self::Aes256CmSha1_32 => "AES_256_CM_HMAC_SHA1_32",
            Self::Aes128Gcm => "AEAD_AES_128_GCM",
            Self::Aes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// The suite of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|suite| suite.name().eq_ignore_ascii_case(name))
    }

    /// Bytes of the master key, and of each session key.
    pub fn key_bytes(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 | Self::Aes128CmSha1_32 | Self::Aes128Gcm => 16,
            Self::Aes256CmSha1_80 | Self::Aes256CmSha1_32 | Self::Aes256Gcm => 32,
        }
    }

    /// Bytes of the master salt.
    pub fn salt_bytes(self) -> usize {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm => 12,
            _ => 14,
        }
    }

    /// Bytes of the tag behind an RTP packet.
    pub(super) fn rtp_tag_bytes(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 | Self::Aes256CmSha1_80 => 10,
            Self::Aes128CmSha1_32 | Self::Aes256CmSha1_32 => 4,
            Self::Aes128Gcm | Self::Aes256Gcm => 16,
        }
    }

    /// Bytes of the tag behind a report: never the short one (RFC 4568 §6.2.2).
    pub(super) fn rtcp_tag_bytes(self) -> usize {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm => 16,
            _ => 10,
        }
    }
}
