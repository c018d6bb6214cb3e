//! Session descriptions (RFC 8866) and the offer/answer model (RFC 3264).
//!
//! [`Session`] keeps a description line by line, in order, known or not, and reads meaning from
//! the lines when asked. So a description that passes through us loses nothing that we did not
//! take away on purpose, and what is broken in a line that nobody asks about hurts nobody.
//!
//! [`anchor`] is what a switch that relays the media does to descriptions on their way,
//! [`offer_answer`] checks that an answer fits its offer, and [`negotiate`] writes both for end
//! points of our own.

pub mod anchor;
mod codec;
mod connection;
mod crypto;
mod direction;
mod dtls;
mod line;
mod media_line;
mod narrow;
pub mod negotiate;
pub mod offer_answer;
mod origin;
mod session;

pub use codec::Codec;
pub use connection::{Address, Connection};
pub use crypto::Crypto;
pub use direction::Direction;
pub use dtls::{Dtls, Setup};
pub use line::{Attribute, Line};
pub use media_line::{MediaLine, Security, Transport};
pub use origin::Origin;
pub use session::{SdpError, Session};

/// Longest description we read. Larger ones do not occur outside attacks.
pub const SESSION_BYTES_MAX: usize = 64 * 1024;
/// Most lines in a description.
pub const LINES_MAX: usize = 1_024;
/// Most media lines in a description.
pub const MEDIA_LINES_MAX: usize = 32;
/// Most formats in a media line.
pub const FORMATS_MAX: usize = 128;
