//! `connection-address`: every way to write where a peer is, and what becomes of a call when one of its servers fails.

use crate::wire::{PBX, Wire};
use sip::message::{Message, Name};
use sip::resolve::{Kind, Record};
use std::net::Ipv4Addr;

const ONE: &str = "198.51.100.11";
const TWO: &str = "198.51.100.12";

fn server(priority: u16, target: &str, port: u16) -> Record {
    Record::Srv {
        priority,
        weight: 1,
        port,
        target: target.into(),
    }
}

fn address(text: &str) -> Vec<Record> {
    vec![Record::A(text.parse::<Ipv4Addr>().unwrap())]
}

/// A PBX that calls a carrier with this address, in a world where its names exist.
fn call(connection_address: &str) -> Wire {
    let mut wire = Wire::new(|_, carrier| carrier.connection_address = connection_address.into());
    let world = &mut wire.world;
    world.name("carrier.example", Kind::A, address(ONE));
    world.name("one.example", Kind::A, address(ONE));
    world.name("two.example", Kind::A, address(TWO));
    let servers = vec![
        server(20, "two.example", 5072),
        server(10, "one.example", 5071),
    ];
    world.name("_sip._udp.served.example", Kind::Srv, servers);
    // Is ignored where a port is written.
    world.name("served.example", Kind::A, address(TWO));
    wire.invite("2000", "");
    wire
}

#[test]
fn every_way_to_write_an_address_leads_there() {
    for (written, leads_to, host) in [
        (ONE, "198.51.100.11:5060", "198.51.100.11"),
        (
            "198.51.100.11:5080",
            "198.51.100.11:5080",
            "198.51.100.11:5080",
        ),
        (
            "sip:any@198.51.100.11:5080;lr",
            "198.51.100.11:5080",
            "198.51.100.11:5080",
        ),
        ("Carrier.Example", "198.51.100.11:5060", "carrier.example"),
        (
            "carrier.example:5080",
            "198.51.100.11:5080",
            "carrier.example:5080",
        ),
        ("served.example", "198.51.100.11:5071", "served.example"),
        (
            "served.example:5080",
            "198.51.100.12:5080",
            "served.example:5080",
        ),
    ] {
        let wire = call(written);
        let invites = wire.got(leads_to, "INVITE");
        let [invite] = &invites[..] else {
            panic!("{written}: {:#?}", wire.world.ladder())
        };
        let uri = invite.uri().unwrap().as_str();
        assert_eq!(uri, format!("sip:2000@{host}"), "{written}");
    }
    let wire = call("nowhere.example");
    assert_eq!(wire.got(PBX, "503").len(), 1);
}

fn at_one(wire: &Wire) -> Message {
    wire.got("198.51.100.11:5071", "INVITE").remove(0)
}

fn at_two(wire: &Wire) -> Vec<Message> {
    wire.got("198.51.100.12:5072", "INVITE")
}

#[test]
fn a_server_that_is_silent_for_four_seconds_makes_room_for_the_next() {
    let mut wire = call("served.example");
    at_one(&wire);
    wire.wait(3_500);
    assert!(at_two(&wire).is_empty());
    wire.wait(600);
    let invite = at_two(&wire).remove(0);
    wire.answer(&invite, 200, "", true);
    assert_eq!(wire.got(PBX, "200").len(), 1);
}

#[test]
fn a_server_that_is_overloaded_makes_room_and_one_that_refuses_does_not() {
    let mut wire = call("served.example");
    wire.answer(&at_one(&wire), 503, "", false);
    let invite = at_two(&wire).remove(0);
    assert_eq!(invite.uri().unwrap().as_str(), "sip:2000@served.example");
    wire.answer(&invite, 503, "", false);
    assert_eq!(wire.got(PBX, "503").len(), 1, "there is no third");
    assert_eq!(wire.got(PBX, "503")[0].header(Name::RetryAfter), None);

    let mut wire = call("served.example");
    wire.answer(&at_one(&wire), 486, "", false);
    assert!(at_two(&wire).is_empty());
    assert_eq!(wire.got(PBX, "486").len(), 1);
}
