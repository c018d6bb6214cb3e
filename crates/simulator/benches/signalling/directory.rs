//! What a million connections cost: to keep, to find one among them, to change one.

use crate::{ALLOCATOR, cpu_ns};
use model::Connection;
use sip::message::NameAddr;
use stats_alloc::Region;
use std::sync::Arc;
use switch::routing::identity::Claims;
use switch::source::{self, Attempt};
use switch::{Directory, DirectoryChange, DomainPart};

const CONNECTIONS_PER_DOMAIN: usize = 100;
const LOOK_UPS: usize = 100_000;
const CHANGES: usize = 1_000;

/// Prints the row for `domains` domains.
pub(crate) fn measure(domains: usize) {
    let region = Region::new(ALLOCATOR);
    let mut directory = Directory::default();
    let before = cpu_ns();
    (0..domains).for_each(|number| directory.apply(domain(number)));
    let built_s = (cpu_ns() - before) as f64 / 1e9;
    let heap = region.change();
    let held = heap.bytes_allocated as f64 - heap.bytes_deallocated as f64;
    let connections = directory.connection_count();

    // Spread so that no look-up finds its records in a cache.
    let spread = |n: usize| n.wrapping_mul(7_919) % connections;
    let attempts: Vec<Attempt> = (0..LOOK_UPS).map(|n| attempt(spread(n))).collect();
    let before = cpu_ns();
    for attempt in &attempts {
        assert!(source::identify(&directory, attempt).connection.is_some());
    }
    let look_up_us = (cpu_ns() - before) as f64 / 1e3 / LOOK_UPS as f64;

    let before = cpu_ns();
    (0..CHANGES).for_each(|n| directory.apply(domain(spread(n) / CONNECTIONS_PER_DOMAIN)));
    let change_us = (cpu_ns() - before) as f64 / 1e3 / CHANGES as f64;
    println!(
        "{connections} connections in {domains} domains: {:.0} MiB, built in {built_s:.1} s; \
         inbound connection found in {look_up_us:.2} µs; domain built anew and swapped in {change_us:.0} µs",
        held / f64::from(1 << 20)
    );
}

fn pattern(number: usize) -> String {
    format!("sip*@t{number}.example.net")
}

fn domain(number: usize) -> DirectoryChange {
    let name = format!("d{number}.example");
    let first = number * CONNECTIONS_PER_DOMAIN;
    let connections = (first..first + CONNECTIONS_PER_DOMAIN).map(|connection| Connection {
        domain: name.clone(),
        connection_orig_match_pattern: pattern(connection),
        connection_address: "127.0.0.2".to_owned(),
        dial_plan: "calls".to_owned(),
        ..Connection::default()
    });
    let (part, problems) = DomainPart::build(
        &name,
        None,
        connections.collect(),
        Vec::new(),
        Vec::new(),
        |_| Arc::default(),
    );
    assert!(problems.is_empty(), "{problems:?}");
    DirectoryChange::Swap(Arc::new(part))
}

/// An INVITE of the peer of one connection.
fn attempt(connection: usize) -> Attempt {
    let address = |text: String| text.parse::<NameAddr>().expect("an address in order");
    let from = address(format!("<sip:12125550111@t{connection}.example.net>"));
    let to = address("<sip:13105550100@192.0.2.1>".to_owned());
    Attempt {
        request_uri: to.uri.clone(),
        contact: Some(from.uri.clone()),
        from,
        to,
        claims: Claims::default(),
        source_ip: Some([127, 0, 0, 2].into()),
    }
}
