//! DTLS-SRTP (RFC 5763, RFC 5764): keys of a stream from a handshake on its own port.
//!
//! A description names a certificate by its [`Fingerprint`] and says who begins; the handshake proves that whoever
//! answers on the media port has that certificate's key, and both ends draw the keys of SRTP from it. So the keys never
//! stand in a description, and who can only read signalling cannot listen.
//!
//! An [`Association`] is one handshake: it is handed datagrams, the time and a source of secrets, and hands back
//! datagrams, then keys. It speaks DTLS 1.2 (RFC 6347), of it what a handshake for SRTP needs and no more:
//!
//! | | |
//! |---|---|
//! | cipher | `ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`; `ECDHE_RSA_…` where the far end waits and has a key of RSA |
//! | curves | X25519, P-256 |
//! | certificates of far ends | ECDSA on P-256 and P-384, RSA from 1,024 to 8,192 bits |
//! | profiles | `AEAD_AES_128_GCM`, `AEAD_AES_256_GCM`, `AES128_CM_SHA1_80`, `AES128_CM_SHA1_32` |
//! | besides | cookies, extended master secret (RFC 7627), fragments, retransmission |
//!
//! Not here, because nobody needs it for SRTP: data of applications, sessions resumed, keys negotiated anew, RSA as key
//! exchange, CBC, compression. Nor DTLS 1.3, whose speakers all speak 1.2 as well (RFC 8827 §6.5 wants 1.2).
//!
//! It is our own because no library fitted. Of those in Rust that leave sockets and clocks to others, one has no RSA,
//! which half of the telephones in use have in their certificates, takes its secrets from the operating system behind
//! our back, and doubles its waits without end; another brings a hundred crates and a system interface. The primitives
//! are not ours. What is checked against others: the tests of this crate shake hands with `dimpl`, the scenarios with
//! OpenSSL and baresip.

mod association;
mod client;
mod endpoint;
mod error;
mod exchange;
mod fingerprint;
mod secrets;
mod server;
mod signature;
mod wire;

pub use association::{Association, HANDSHAKE_MAX, Progress};
pub use endpoint::Endpoint;
pub use error::DtlsError;
pub use fingerprint::{Fingerprint, HashFunction, names};

/// Which end of a handshake one is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum Role {
    /// Begins.
    Client,
    /// Waits for the other to begin.
    Server,
}

impl Role {
    fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// Whether a datagram on a port that carries several things is of a handshake (RFC 7983 §7).
pub fn is_dtls(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(20..=63))
}
