//! One INVITE, several phones: early dialogs are told apart by their tags, the first 2xx wins, and
//! others are acknowledged and hung up (RFC 3261 §13.2.2.4).

use crate::common::{Lone, NOTHING, OFFER, response, secs};
use sip::Event;
use sip::message::{Headers, Method};

fn contact(host: &str) -> String {
    format!("Contact: <sip:phone@{host}>\r\n")
}

#[test]
fn the_first_answer_wins_and_the_second_is_hung_up() {
    let mut lone = Lone::new();
    let session = lone.invite(OFFER);
    let invite = lone.last();
    lone.receive(&response(&invite, 180, "one", &contact("192.0.2.11"), ""));
    lone.receive(&response(&invite, 180, "two", &contact("192.0.2.12"), ""));
    assert_eq!(lone.heard(), ["Progress 180", "Progress 180"]);
    lone.receive(&response(
        &invite,
        200,
        "two",
        &contact("192.0.2.12"),
        "v=0\r\n",
    ));
    let ack = lone.last();
    assert_eq!(ack.uri_text(), "sip:phone@192.0.2.12");
    assert_eq!(ack.to().tag(), Some("two"));
    assert_eq!(lone.heard(), ["Answered 200"]);

    let late = response(&invite, 200, "one", &contact("192.0.2.11"), "v=0\r\n");
    lone.receive(&late);
    let sent = lone.take();
    assert_eq!(
        sent.iter()
            .map(crate::common::first_word)
            .collect::<Vec<_>>(),
        ["ACK", "BYE"]
    );
    assert!(sent.iter().all(|message| message.to().tag() == Some("one")));
    assert!(
        sent.iter()
            .all(|message| message.uri_text() == "sip:phone@192.0.2.11")
    );
    assert_eq!(sent[1].cseq().number, invite.cseq().number + 1);
    // The same again: its ACK was lost. It is not hung up twice.
    lone.receive(&late);
    assert_eq!(lone.said(), ["ACK"]);
    assert!(lone.heard().is_empty());

    lone.endpoint.bye(lone.now, session, Headers::new());
    let bye = lone.last();
    assert_eq!(bye.uri_text(), "sip:phone@192.0.2.12");
    lone.receive(&response(&bye, 200, "", "", ""));
    lone.receive(&response(&sent[1], 200, "", "", ""));
    lone.run(secs(40));
    assert_eq!((lone.transactions(), lone.sessions()), (0, 0));
}

#[test]
fn requests_in_each_early_dialog_are_known() {
    let mut lone = Lone::new();
    lone.invite(OFFER);
    let invite = lone.last();
    for tag in ["one", "two"] {
        lone.receive(&response(&invite, 183, tag, &contact("192.0.2.11"), ""));
    }
    lone.heard();
    let from = invite
        .header(sip::message::Name::From)
        .expect("a From")
        .to_owned();
    for (tag, expected) in [
        ("one", "Request INFO"),
        ("two", "Request INFO"),
        ("three", "Misbehaved UnknownDialog"),
    ] {
        let info = format!(
            "INFO sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK{tag}\r\nMax-Forwards: 70\r\n\
             From: <sip:bob@192.0.2.2>;tag={tag}\r\nTo: {from}\r\nCall-ID: {}\r\nCSeq: 1 INFO\r\n\
             Content-Length: 0\r\n\r\n",
            invite.call_id()
        );
        lone.receive(&info);
        assert_eq!(lone.heard(), [expected]);
    }
}

#[test]
fn a_fork_that_answers_after_the_hangup_is_hung_up_too() {
    let mut lone = Lone::new();
    let session = lone.invite(OFFER);
    let invite = lone.last();
    lone.receive(&response(
        &invite,
        200,
        "one",
        &contact("192.0.2.11"),
        "v=0\r\n",
    ));
    lone.endpoint.bye(lone.now, session, Headers::new());
    let bye = lone.last();
    lone.receive(&response(&bye, 200, "", "", ""));
    assert_eq!(lone.sessions(), 0);
    lone.receive(&response(
        &invite,
        200,
        "two",
        &contact("192.0.2.12"),
        "v=0\r\n",
    ));
    assert_eq!(lone.said(), ["ACK", "BYE"]);
}

#[test]
fn the_latest_early_dialog_carries_our_requests() {
    let mut lone = Lone::new();
    let session = lone.invite(OFFER);
    let invite = lone.last();
    lone.receive(&response(&invite, 183, "one", &contact("192.0.2.11"), ""));
    lone.receive(&response(&invite, 183, "two", &contact("192.0.2.12"), ""));
    let id = lone.endpoint.request(
        lone.now,
        session,
        Method::Info,
        Headers::new(),
        None,
        NOTHING,
    );
    let info = lone.last();
    assert_eq!(
        (info.to().tag(), info.uri_text()),
        (Some("two"), "sip:phone@192.0.2.12")
    );
    lone.receive(&response(&info, 200, "", "", ""));
    let Some(Event::Response {
        id: answered,
        status: 200,
        ..
    }) = lone.events.pop()
    else {
        panic!("no response")
    };
    assert_eq!(answered, id);
}
