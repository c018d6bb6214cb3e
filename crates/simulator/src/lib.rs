//! A seeded world: phones and carriers that call through the switch, over a network that loses, repeats,
//! reorders and delays.
//!
//! Everything runs on simulated time in one thread, on the very code that the product runs. What a seed does
//! once it does always, so a failure is its seed:
//!
//! ```text
//! cargo run -p simulator -- --seed 4711        # one world, with its ladder of messages
//! cargo run -p simulator -- --seeds 500        # the first five hundred
//! ```
//!
//! | module | what it is |
//! |---|---|
//! | [`phone`] | a user agent with one line; `strowger demo` drives the same value with real sockets |
//! | [`network`] | what happens to a datagram between two addresses |
//! | [`world`] | shards, phones, network and media on one clock |
//! | [`recorder`] | what is told to whoever writes recordings |
//! | [`scenario`] | what a seed makes of a world, and what must hold at its end |

pub mod network;
pub mod phone;
pub mod recorder;
pub mod scenario;
pub mod world;
