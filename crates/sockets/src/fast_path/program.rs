//! The program that relays a packet of a stream that is lent to the kernel, if the packet is exactly the one that comes
//! next, and lets every other packet go the usual way.

use std::mem::offset_of;
use std::ops::RangeInclusive;
use std::os::fd::RawFd;

use super::Cell;
use crate::bpf::assembler::{Assembler, Condition, Instruction, Label, Operation, Register, Width};

use Condition::{AtLeast, Differs, Equal, Greater, Less, SharesBits, SignedAtLeast};
use Operation::{Add, And, Divide, Move, Multiply, ShiftRight, Subtract, Xor};
use Register::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10};
use Width::{Bits8, Bits16, Bits32, Bits64};

/// Go on to whoever else looks at packets here, and to the sockets.
pub(super) const PASS: i32 = -1;
/// The packet leaves by another way.
pub(super) const REDIRECT: i32 = 7;

/// States of a [`Cell`]. Whoever takes it out of [`LENT`] may read and write its other fields.
pub(super) const OURS: u32 = 0;
pub(super) const LENT: u32 = 1;
pub(super) const COUNTING: u32 = 2;

/// Packets per second beyond which a stream is none; the relay has the same bound.
const PACKETS_PER_SECOND_MAX: i32 = 5_000;

/// Bytes of RTP that are relayed here: with all headers less than any Ethernet takes.
const RTP_BYTES_MAX: i32 = 1_400;

/// How our sockets mark media: expedited forwarding (RFC 3246).
const TRAFFIC_CLASS: u8 = 46 << 2;
const HOPS: u8 = 64;

// Fields of `struct __sk_buff`.
const SKB_LENGTH: i16 = 0;
const SKB_PROTOCOL: i16 = 16;
const SKB_VLAN_PRESENT: i16 = 20;
const SKB_DATA: i16 = 76;
const SKB_DATA_END: i16 = 80;
const SKB_GSO_SIZE: i16 = 176;

// Where things stand in an Ethernet frame with IPv4 without options, UDP and RTP.
const IP: i16 = 14;
const IP_TOTAL_LENGTH: i16 = 16;
const IP_ID: i16 = 18;
const IP_FRAGMENT: i16 = 20;
const IP_PROTOCOL: i16 = 23;
const IP_SOURCE: i16 = 26;
const IP_DESTINATION: i16 = 30;
const UDP_PORTS: i16 = 34;
const UDP_SOURCE: i16 = 34;
const UDP_DESTINATION: i16 = 36;
const UDP_LENGTH: i16 = 38;
const UDP_CHECKSUM: i16 = 40;
const RTP: i16 = 42;
const RTP_PAYLOAD_TYPE: i16 = 43;
const RTP_SEQUENCE: i16 = 44;
const RTP_TIMESTAMP: i16 = 46;
const RTP_SSRC: i16 = 50;
const HEADERS_END: i32 = 54;
const IP_BYTES: i32 = 20;
const UDP_BYTES: i32 = 8;
const RTP_HEADER_BYTES: i32 = 12;

// Functions of the kernel.
const MAP_LOOKUP: i32 = 1;
const KTIME_GET_NS: i32 = 5;
const SKB_STORE_BYTES: i32 = 9;
const L4_CSUM_REPLACE: i32 = 11;
const REDIRECT_NEIGH: i32 = 152;

const RECOMPUTE_CHECKSUM: i32 = 1;
const PSEUDO_HEADER: i32 = 0x10;
/// A checksum of zero means that there is none, and stays.
const KEEP_NO_CHECKSUM: i32 = 0x20;
const FOUR_BYTES: i32 = 4;

// The stack.
const INDEX: i16 = -4;
const RTP_BYTES: i16 = -8;
const NOW: i16 = -16;
const OLD_SOURCE: i16 = -20;
const OLD_DESTINATION: i16 = -24;
const OLD_PORTS: i16 = -28;
const NEW_SOURCE: i16 = -32;
const NEW_DESTINATION: i16 = -36;
const NEW_PORTS: i16 = -40;
const INTERFACE: i16 = -44;
/// Twenty bytes.
const NEW_IP: i16 = -64;

macro_rules! field {
    ($name:ident) => {
        offset_of!(Cell, $name) as i16
    };
}

/// The program for media on the even ones of `ports`, whose cells are in the array `cells`, the first port's first.
pub(super) fn program(ports: &RangeInclusive<u16>, cells: RawFd) -> Vec<Instruction> {
    let mut code = Assembler::default();
    let (pass, stays, returned) = (code.label(), code.label(), code.label());
    let c = &mut code;

    // R6: the context. R7: the packet. R9: its cell.
    c.with(Move, R6, R1);
    is_plain_rtp(c, pass);
    find_cell(c, ports, cells, pass);
    claim(c, pass);
    is_from_its_source(c, stays);
    is_the_next(c, returned);
    keep_pace(c, returned);
    measure_jitter(c);
    count(c);
    note_addresses(c);
    give_back_cell(c, LENT);
    rewrite_and_send(c);

    // From a stranger: the relay has to judge that. The stream goes on.
    c.place(stays);
    give_back_cell(c, LENT);
    c.jump(pass);
    // Something is unusual about the stream. From here on the relay has it.
    c.place(returned);
    give_back_cell(c, OURS);
    c.place(pass);
    c.with_number(Move, R0, PASS);
    c.exit();
    code.finish()
}

/// IPv4 without options, in one piece, UDP, and RTP without contributing sources and extension. Leaves the number of RTP
/// bytes on the stack.
fn is_plain_rtp(c: &mut Assembler, pass: Label) {
    let ethertype = i32::from((libc::ETH_P_IP as u16).to_be());
    c.load(Bits32, R1, R6, SKB_PROTOCOL);
    c.jump_if_number(R1, Differs, ethertype, pass);
    c.load(Bits32, R1, R6, SKB_VLAN_PRESENT);
    c.jump_if_number(R1, Differs, 0, pass);
    c.load(Bits32, R1, R6, SKB_GSO_SIZE);
    c.jump_if_number(R1, Differs, 0, pass);

    c.load(Bits32, R7, R6, SKB_DATA);
    c.load(Bits32, R1, R6, SKB_DATA_END);
    c.with(Move, R2, R7);
    c.with_number(Add, R2, HEADERS_END);
    c.jump_if(R2, Greater, R1, pass);

    c.load(Bits8, R1, R7, IP);
    c.jump_if_number(R1, Differs, 0x45, pass);
    c.load(Bits16, R1, R7, IP_FRAGMENT);
    c.network_order(R1, 16);
    c.jump_if_number(R1, SharesBits, 0x3fff, pass);
    c.load(Bits8, R1, R7, IP_PROTOCOL);
    c.jump_if_number(R1, Differs, libc::IPPROTO_UDP, pass);

    c.load(Bits16, R2, R7, UDP_LENGTH);
    c.network_order(R2, 16);
    c.jump_if_number(R2, Less, UDP_BYTES + RTP_HEADER_BYTES, pass);
    c.jump_if_number(R2, Greater, UDP_BYTES + RTP_BYTES_MAX, pass);
    c.load(Bits16, R3, R7, IP_TOTAL_LENGTH);
    c.network_order(R3, 16);
    c.with(Move, R4, R2);
    c.with_number(Add, R4, IP_BYTES);
    c.jump_if(R3, Differs, R4, pass);
    c.with_number(Add, R3, i32::from(IP));
    c.load(Bits32, R4, R6, SKB_LENGTH);
    c.jump_if(R3, Greater, R4, pass);
    c.with_number(Subtract, R2, UDP_BYTES);
    c.store(Bits32, R10, RTP_BYTES, R2);

    // Version 2; padding does not matter.
    c.load(Bits8, R1, R7, RTP);
    c.with_number(And, R1, 0xdf);
    c.jump_if_number(R1, Differs, 0x80, pass);
}

fn find_cell(c: &mut Assembler, ports: &RangeInclusive<u16>, cells: RawFd, pass: Label) {
    c.load(Bits16, R1, R7, UDP_DESTINATION);
    c.network_order(R1, 16);
    c.jump_if_number(R1, Less, i32::from(*ports.start()), pass);
    c.jump_if_number(R1, Greater, i32::from(*ports.end()), pass);
    c.with_number(Subtract, R1, i32::from(*ports.start()));
    c.jump_if_number(R1, SharesBits, 1, pass);
    c.with_number(ShiftRight, R1, 1);
    c.store(Bits32, R10, INDEX, R1);
    c.map(R1, cells);
    c.with(Move, R2, R10);
    c.with_number(Add, R2, i32::from(INDEX));
    c.call(MAP_LOOKUP);
    c.jump_if_number(R0, Equal, 0, pass);
    c.with(Move, R9, R0);
    c.call(KTIME_GET_NS);
    c.store(Bits64, R10, NOW, R0);
}

/// Nobody else may have the cell: neither the relay nor another processor.
fn claim(c: &mut Assembler, pass: Label) {
    c.with_number(Move, R0, LENT as i32);
    c.with_number(Move, R1, COUNTING as i32);
    c.compare_and_exchange(R9, field!(state), R1);
    c.jump_if_number(R0, Differs, LENT as i32, pass);
}

fn is_from_its_source(c: &mut Assembler, stays: Label) {
    c.load(Bits32, R1, R7, IP_SOURCE);
    c.load(Bits32, R2, R9, field!(source_ip));
    c.jump_if(R1, Differs, R2, stays);
    c.load(Bits16, R1, R7, UDP_SOURCE);
    c.load(Bits32, R2, R9, field!(source_port));
    c.jump_if(R1, Differs, R2, stays);
    c.load(Bits32, R1, R7, IP_DESTINATION);
    c.load(Bits32, R2, R9, field!(local_ip));
    c.jump_if(R1, Differs, R2, stays);
}

fn is_the_next(c: &mut Assembler, returned: Label) {
    c.load(Bits32, R1, R7, RTP_SSRC);
    c.load(Bits32, R2, R9, field!(ssrc));
    c.jump_if(R1, Differs, R2, returned);
    c.load(Bits8, R1, R7, RTP_PAYLOAD_TYPE);
    c.with_number(And, R1, 0x7f);
    c.load(Bits32, R2, R9, field!(payload_type));
    c.jump_if(R1, Differs, R2, returned);
    c.load(Bits16, R1, R7, RTP_SEQUENCE);
    c.network_order(R1, 16);
    c.load(Bits32, R2, R9, field!(next_sequence));
    c.jump_if(R1, Differs, R2, returned);
    c.with_number(Add, R1, 1);
    c.with_number(And, R1, 0xffff);
    // If the pace is too fast this is too early; but then the relay has the stream, and its own count.
    c.store(Bits32, R9, field!(next_sequence), R1);
}

/// As `Pace` in the relay. Leaves the age of the relay in R8, in nanoseconds.
fn keep_pace(c: &mut Assembler, returned: Label) {
    let same_second = c.label();
    c.load(Bits64, R8, R10, NOW);
    c.load(Bits64, R1, R9, field!(opened_ns));
    c.with(Subtract, R8, R1);
    c.with(Move, R1, R8);
    c.with_number(Divide, R1, 1_000_000_000);
    c.load(Bits64, R2, R9, field!(second));
    c.jump_if(R1, Equal, R2, same_second);
    c.store(Bits64, R9, field!(second), R1);
    c.with_number(Move, R1, 0);
    c.store(Bits32, R9, field!(second_packets), R1);
    c.place(same_second);
    c.load(Bits32, R1, R9, field!(second_packets));
    c.jump_if_number(R1, AtLeast, PACKETS_PER_SECOND_MAX, returned);
    c.with_number(Add, R1, 1);
    c.store(Bits32, R9, field!(second_packets), R1);
}

/// RFC 3550 §A.8, as `Jitter` in the relay.
fn measure_jitter(c: &mut Assembler) {
    let (positive, leap) = (c.label(), c.label());
    c.load(Bits32, R2, R9, field!(clock_rate_hz));
    c.with(Move, R1, R8);
    c.with_number(Divide, R1, 1_000);
    c.with(Multiply, R1, R2);
    c.with_number(Divide, R1, 1_000_000);
    c.load(Bits32, R3, R7, RTP_TIMESTAMP);
    c.network_order(R3, 32);
    // The transit, and how it differs from the last.
    c.with_32(Subtract, R1, R3);
    c.load(Bits32, R3, R9, field!(transit));
    c.store(Bits32, R9, field!(transit), R1);
    c.with_32(Subtract, R1, R3);
    c.jump_if_number(R1, SignedAtLeast, 0, positive);
    c.negate_32(R1);
    c.place(positive);
    c.jump_if(R1, Greater, R2, leap);
    // Bounded by sixteen times the largest change that counts: no overflow.
    c.load(Bits32, R2, R9, field!(jitter_sixteenths));
    c.with(Move, R3, R2);
    c.with_number(Add, R3, 8);
    c.with_number(Divide, R3, 16);
    c.with(Add, R2, R1);
    c.with(Subtract, R2, R3);
    c.store(Bits32, R9, field!(jitter_sixteenths), R2);
    c.place(leap);
}

fn count(c: &mut Assembler) {
    c.load(Bits64, R1, R9, field!(packets));
    c.with_number(Add, R1, 1);
    c.store(Bits64, R9, field!(packets), R1);
    c.load(Bits32, R2, R10, RTP_BYTES);
    c.load(Bits64, R1, R9, field!(bytes));
    c.with(Add, R1, R2);
    c.store(Bits64, R9, field!(bytes), R1);
    c.load(Bits64, R1, R10, NOW);
    c.store(Bits64, R9, field!(last_ns), R1);
}

/// Puts what the rewriting needs onto the stack: the cell is about to be given back, and the packet is about to move.
fn note_addresses(c: &mut Assembler) {
    for (at, offset) in [
        (OLD_SOURCE, IP_SOURCE),
        (OLD_DESTINATION, IP_DESTINATION),
        (OLD_PORTS, UDP_PORTS),
    ] {
        c.load(Bits32, R1, R7, offset);
        c.store(Bits32, R10, at, R1);
    }
    for (at, offset) in [
        (NEW_SOURCE, field!(out_source_ip)),
        (NEW_DESTINATION, field!(out_ip)),
        (NEW_PORTS, field!(out_ports)),
        (INTERFACE, field!(out_interface)),
    ] {
        c.load(Bits32, R1, R9, offset);
        c.store(Bits32, R10, at, R1);
    }

    // The new IP header, as words of this machine's order: the checksum does not mind. It is not fragmented.
    let word = |bytes: [u8; 2]| i32::from(u16::from_ne_bytes(bytes));
    let fixed = [
        (0, word([0x45, TRAFFIC_CLASS])),
        (6, word([0x40, 0])),
        (8, word([HOPS, libc::IPPROTO_UDP as u8])),
    ];
    c.with_number(Move, R2, 0);
    for (at, value) in fixed {
        c.with_number(Move, R1, value);
        c.store(Bits16, R10, NEW_IP + at, R1);
        c.with(Add, R2, R1);
    }
    for (at, offset) in [(2, IP_TOTAL_LENGTH), (4, IP_ID)] {
        c.load(Bits16, R1, R7, offset);
        c.store(Bits16, R10, NEW_IP + at, R1);
        c.with(Add, R2, R1);
    }
    for (at, from) in [(12, NEW_SOURCE), (16, NEW_DESTINATION)] {
        c.load(Bits32, R1, R10, from);
        c.store(Bits32, R10, NEW_IP + at, R1);
        c.with(Add, R2, R1);
    }
    // Sums of 16 and 32 bits alike fold into the sum of 16 (RFC 1071 §2); three times, for three carries.
    for _ in 0..3 {
        c.with(Move, R1, R2);
        c.with_number(ShiftRight, R1, 16);
        c.with_number(And, R2, 0xffff);
        c.with(Add, R2, R1);
    }
    c.with_number(Xor, R2, 0xffff);
    c.store(Bits16, R10, NEW_IP + 10, R2);
}

fn give_back_cell(c: &mut Assembler, state: u32) {
    c.with_number(Move, R1, state as i32);
    c.exchange(R9, field!(state), R1);
}

fn rewrite_and_send(c: &mut Assembler) {
    for (old, new, flags) in [
        (OLD_SOURCE, NEW_SOURCE, PSEUDO_HEADER),
        (OLD_DESTINATION, NEW_DESTINATION, PSEUDO_HEADER),
        (OLD_PORTS, NEW_PORTS, 0),
    ] {
        c.with(Move, R1, R6);
        c.with_number(Move, R2, i32::from(UDP_CHECKSUM));
        c.load(Bits32, R3, R10, old);
        c.load(Bits32, R4, R10, new);
        c.with_number(Move, R5, FOUR_BYTES | KEEP_NO_CHECKSUM | flags);
        c.call(L4_CSUM_REPLACE);
    }
    for (at, from, bytes) in [(IP, NEW_IP, IP_BYTES), (UDP_PORTS, NEW_PORTS, FOUR_BYTES)] {
        c.with(Move, R1, R6);
        c.with_number(Move, R2, i32::from(at));
        c.with(Move, R3, R10);
        c.with_number(Add, R3, i32::from(from));
        c.with_number(Move, R4, bytes);
        c.with_number(Move, R5, RECOMPUTE_CHECKSUM);
        c.call(SKB_STORE_BYTES);
    }
    c.load(Bits32, R1, R10, INTERFACE);
    for argument in [R2, R3, R4] {
        c.with_number(Move, argument, 0);
    }
    c.call(REDIRECT_NEIGH);
    c.exit();
}
