//! Typed headers, one per file: what it is, how it reads, how it prints.

pub mod challenge;
pub mod credentials;
pub mod cseq;
pub mod name_addr;
pub mod rack;
pub mod reason;
pub mod retry_after;
pub mod session_expires;
pub mod tokens;
pub mod via;
