//! Sockets, a few system calls at a time.
//!
//! The standard library sends and receives one datagram per call and knows no readiness. A switch that carries
//! thousands of streams needs batches, so this crate wraps the handful of Linux calls that make them and nothing
//! more:
//!
//! - [`UdpSocket`]: bound with `SO_REUSEPORT` or IPv6-only, read and written in batches;
//! - [`ReceiveBatch`], [`SendBatch`]: the preallocated buffers of those batches;
//! - [`Poller`], [`Waker`]: readiness of many descriptors, and a wake-up from another thread;
//! - [`MediaIo`]: many sockets with one packet each, which is what media looks like;
//! - [`FastPath`]: media that the kernel relays without asking, as long as nothing unusual happens;
//! - [`send_descriptors`], [`receive_descriptors`]: sockets that go to another process with all that waits in them;
//! - [`raise_open_files`], [`free_bytes`]: what the system allows and has room for;
//! - [`use_small_pages`]: memory in pieces that can be given back.
//!
//! This is the only crate of the workspace that may contain `unsafe`. Every such block names the reason why it is
//! sound, and none of them leaks a pointer or a bare descriptor to a caller: what leaves this crate is safe Rust.

#[cfg(not(target_os = "linux"))]
compile_error!(
    "strowger's sockets are written for Linux: epoll, eventfd, recvmmsg, sendmmsg, io_uring"
);

mod address;
mod batch;
mod bpf;
mod disk;
mod fast_path;
mod inherit;
mod limits;
mod media_io;
mod poll;
mod route;
mod udp;

pub use batch::{Arrived, Datagram, ReceiveBatch, SendBatch};
pub use disk::free_bytes;
pub use fast_path::{FastPath, Lent, LentState, Returned};
pub use inherit::{
    DESCRIPTORS_PER_MESSAGE, receive_descriptors, send_descriptors, take_left_descriptors,
};
pub use limits::{raise_open_files, use_small_pages};
pub use media_io::{
    MEDIA_PACE, MEDIA_PACKET_BYTES, MediaEngine, MediaIo, Onward, PACKETS_PER_LOOK, Packet, Turn,
};
pub use poll::{Poller, Ready, Waker};
pub use udp::{UdpOptions, UdpSocket, outgoing_address};
