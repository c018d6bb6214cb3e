//! SIP as pure logic: messages, digest, target selection, transactions, dialogs.
//!
//! Nothing in this crate reads a clock, opens a socket, waits, or knows a record of the switch. Time
//! and randomness come in as arguments and seeds, so the same inputs always give the same outputs.
//!
//! | module | what it is for | RFC |
//! |---|---|---|
//! | [`message`] | reading, looking into and composing messages | 3261, 3262, 3326, 4028 |
//! | [`framing`] | messages out of a byte stream | 3261 §18.3, 5626 |
//! | [`misbehaviour`] | every way a peer can break the rules, its answer and its log line | |
//! | [`auth`] | digest, both sides | 7616, 8760, 3261 §22 |
//! | [`resolve`] | from a host to addresses: says what to look up, is told the answer | 3263, 2782 |
//! | [`endpoint`] | transactions and sessions behind one `handle` and one `poll` | 3261, 3262, 3311, 3581, 6026 |
//! | [`random`] | seeded randomness | |
//!
//! What comes in is parsed at the edge into types that cannot hold nonsense. What goes out is
//! composed by types through which no value can add a line. Everything has a bound, a named
//! constant beside the code that keeps it.
//!
//! ```
//! use sip::message::{Message, Method, Name, ResponseDraft};
//!
//! let bytes = "OPTIONS sip:pbx.example.com SIP/2.0\r\n\
//!     Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport\r\n\
//!     From: <sip:probe@192.0.2.1>;tag=1\r\n\
//!     To: <sip:pbx.example.com>\r\n\
//!     Call-ID: 1@192.0.2.1\r\n\
//!     CSeq: 1 OPTIONS\r\n\
//!     Content-Length: 0\r\n\r\n";
//! let request = Message::parse(bytes.into()).expect("a well-formed request");
//! assert_eq!(request.method(), Some(&Method::Options));
//! assert_eq!(request.from().tag(), Some("1"));
//!
//! let mut draft = ResponseDraft::new(200);
//! draft.headers.push_name(Name::Allow, "INVITE, ACK, CANCEL, BYE, OPTIONS");
//! let response = draft.print(&request.with_source("192.0.2.1:5062".parse().unwrap()));
//! assert!(response.starts_with(b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport=5062"));
//!
//! // A broken request says what is wrong with it, and brings its own answer.
//! let broken = Message::parse(bytes.replace("1 OPTIONS", "1 INVITE").into()).unwrap_err();
//! assert!(broken.response().unwrap().starts_with(b"SIP/2.0 400 "));
//! ```

mod arena;
pub mod auth;
mod dialog;
pub mod endpoint;
pub mod event;
pub mod framing;
pub mod message;
pub mod misbehaviour;
pub mod random;
pub mod resolve;
mod token;
mod transaction;
pub mod transport;

pub use endpoint::{Endpoint, owner_of};
pub use event::Event;
pub use misbehaviour::Misbehaviour;
