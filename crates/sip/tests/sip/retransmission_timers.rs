//! The timers of RFC 3261 §17 and RFC 6026, to the millisecond.

use crate::common::{
    ANSWER, CONTACT, Lone, OFFER, call_to, draft, ms, request, request_in, response, secs,
};
use sip::endpoint::OutboundRequest;
use sip::message::{Headers, Method, ResponseDraft};

const UNTIL_GIVE_UP: Duration = Duration::from_secs(32);
use std::time::Duration;

fn patient() -> sip::endpoint::OutboundInvite {
    let mut call = call_to("sip:bob@192.0.2.2", OFFER);
    call.fail_over_without_response = false;
    call
}

#[test]
fn a_and_b_an_invite_is_repeated_with_doubled_pauses_until_64_t1() {
    let mut lone = Lone::new();
    lone.endpoint.invite(lone.now, patient());
    lone.run(UNTIL_GIVE_UP - ms(1));
    assert_eq!(lone.times(), [0, 500, 1500, 3500, 7500, 15500, 31500]);
    assert!(lone.heard().is_empty());
    lone.run(ms(1));
    assert_eq!(lone.heard(), ["Failed 408 Timeout"]);
    assert_eq!((lone.transactions(), lone.sessions()), (0, 0));
}

#[test]
fn the_repetitions_are_the_same_bytes() {
    let mut lone = Lone::new();
    lone.endpoint.invite(lone.now, patient());
    lone.run(secs(4));
    let sent = lone.take();
    assert_eq!(sent.len(), 4);
    assert!(
        sent.iter()
            .all(|again| again.as_bytes() == sent[0].as_bytes())
    );
}

#[test]
fn a_provisional_stops_a_and_b() {
    let mut lone = Lone::new();
    lone.invite(OFFER);
    let invite = lone.last();
    lone.receive(&response(&invite, 100, "", "", ""));
    lone.run(secs(300));
    assert!(lone.said().is_empty());
    assert!(lone.heard().is_empty());
    assert_eq!(lone.transactions(), 1);
}

#[test]
fn d_a_failed_invite_absorbs_repetitions_for_32_seconds() {
    let mut lone = Lone::new();
    lone.invite(OFFER);
    let invite = lone.last();
    let busy = response(&invite, 486, "x", "", "");
    lone.receive(&busy);
    assert_eq!(lone.said(), ["ACK"]);
    assert_eq!(lone.heard(), ["Failed 486 Response"]);
    lone.run(secs(32) - ms(1));
    lone.receive(&busy);
    assert_eq!(lone.said(), ["ACK"]);
    assert!(lone.heard().is_empty());
    lone.run(ms(1));
    assert_eq!(lone.transactions(), 0);
    lone.receive(&busy);
    assert!(lone.said().is_empty());
}

#[test]
fn m_a_repeated_2xx_is_acknowledged_again_for_64_t1() {
    let mut lone = Lone::new();
    lone.invite(OFFER);
    let invite = lone.last();
    let ok = response(&invite, 200, "x", CONTACT, "v=0\r\n");
    lone.receive(&ok);
    let ack = lone.last();
    assert_eq!(ack.cseq().number, invite.cseq().number);
    assert_ne!(ack.via().branch, invite.via().branch);
    lone.run(secs(32) - ms(1));
    lone.receive(&ok);
    assert_eq!(lone.last().as_bytes(), ack.as_bytes());
    lone.run(ms(1));
    assert_eq!((lone.transactions(), lone.sessions()), (0, 1));
    assert_eq!(lone.heard(), ["Answered 200"]);
}

#[test]
fn e_and_f_another_request_is_repeated_up_to_every_t2() {
    let mut lone = Lone::new();
    let hop = crate::common::udp(crate::common::PEER);
    let request = OutboundRequest::new(
        draft(Method::Options, "sip:192.0.2.2", crate::common::NOTHING),
        hop,
    );
    lone.endpoint.send(lone.now, request);
    lone.run(UNTIL_GIVE_UP - ms(1));
    assert_eq!(
        lone.times(),
        [
            0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500
        ]
    );
    lone.run(ms(1));
    assert_eq!(lone.heard(), ["Response 408"]);
    assert_eq!(lone.transactions(), 0);
}

#[test]
fn an_impatient_request_is_given_up_after_four_seconds_of_silence() {
    let mut lone = Lone::new();
    let hop = crate::common::udp(crate::common::PEER);
    let request = OutboundRequest {
        impatient: true,
        ..OutboundRequest::new(
            draft(Method::Options, "sip:192.0.2.2", crate::common::NOTHING),
            hop,
        )
    };
    lone.endpoint.send(lone.now, request);
    lone.run(secs(4) - ms(1));
    assert_eq!(lone.times(), [0, 500, 1500, 3500]);
    lone.run(ms(1));
    assert_eq!(lone.heard(), ["Response 408"]);
    assert_eq!(lone.transactions(), 0);
}

#[test]
fn e_slows_to_t2_after_a_provisional_and_k_absorbs_for_t4() {
    let mut lone = Lone::new();
    let hop = crate::common::udp(crate::common::PEER);
    let request = OutboundRequest::new(
        draft(Method::Options, "sip:192.0.2.2", crate::common::NOTHING),
        hop,
    );
    lone.endpoint.send(lone.now, request);
    let options = lone.last();
    lone.receive(&response(&options, 100, "", "", ""));
    lone.run(ms(9000));
    assert_eq!(lone.times(), [500, 4500, 8500]);
    lone.receive(&response(&options, 200, "x", "", ""));
    assert_eq!(lone.heard(), ["Response 200"]);
    lone.run(secs(5) - ms(1));
    assert_eq!(lone.transactions(), 1);
    lone.run(ms(1));
    assert_eq!(lone.transactions(), 0);
}

#[test]
fn g_and_h_a_failure_is_repeated_until_64_t1() {
    let mut lone = Lone::new();
    lone.receive(&request("INVITE", "1", 1, "", "v=0\r\n"));
    let session = lone.called();
    assert_eq!(lone.said(), ["100"]);
    lone.endpoint
        .reject(lone.now, session, ResponseDraft::new(486));
    lone.run(UNTIL_GIVE_UP - ms(1));
    assert_eq!(
        lone.times(),
        [
            0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500
        ]
    );
    assert_eq!(lone.transactions(), 1);
    lone.run(ms(1));
    assert_eq!((lone.transactions(), lone.sessions()), (0, 0));
}

#[test]
fn i_an_acknowledged_failure_absorbs_acks_for_t4() {
    let mut lone = Lone::new();
    lone.receive(&request("INVITE", "1", 1, "", "v=0\r\n"));
    let session = lone.called();
    lone.endpoint
        .reject(lone.now, session, ResponseDraft::new(486));
    let busy = lone.last();
    let ack = request_in(&busy, "ACK", "1", 1, "", "");
    lone.receive(&ack);
    lone.run(secs(5) - ms(1));
    assert_eq!(lone.transactions(), 1);
    lone.receive(&ack);
    lone.receive(&request("INVITE", "1", 1, "", "v=0\r\n"));
    assert!(lone.said().is_empty());
    lone.run(ms(1));
    assert_eq!(lone.transactions(), 0);
}

#[test]
fn proceeding_repeats_the_last_provisional_when_the_invite_is_repeated() {
    let mut lone = Lone::new();
    let invite = request("INVITE", "1", 1, "", "v=0\r\n");
    lone.receive(&invite);
    lone.receive(&invite);
    assert_eq!(lone.said(), ["100", "100"]);
    let session = lone.called();
    lone.endpoint.progress(
        lone.now,
        session,
        180,
        Headers::new(),
        crate::common::NOTHING,
        false,
    );
    lone.receive(&invite);
    assert_eq!(lone.said(), ["180", "180"]);
    assert_eq!(lone.heard(), ["Invite"]);
}

#[test]
fn l_an_accepted_invite_absorbs_invites_while_the_2xx_is_repeated() {
    let mut lone = Lone::new();
    let invite = request("INVITE", "1", 1, "", "v=0\r\n");
    lone.receive(&invite);
    let session = lone.called();
    lone.take();
    lone.endpoint
        .answer(lone.now, session, Headers::new(), ANSWER);
    lone.drain();
    lone.receive(&invite);
    lone.run(ms(8000));
    assert_eq!(lone.times(), [0, 500, 1500, 3500, 7500]);
    lone.run(secs(24) - ms(1));
    assert_eq!(lone.times(), [11500, 15500, 19500, 23500, 27500, 31500]);
    assert_eq!(lone.transactions(), 1);
    lone.run(ms(1));
    // L ends together with the patience for the ACK; the BYE is a new transaction.
    assert_eq!(lone.said(), ["BYE"]);
    assert_eq!(lone.heard(), ["Invite", "Ended AckTimeout"]);
}

#[test]
fn j_a_final_response_is_repeated_for_64_t1() {
    let mut lone = Lone::new();
    let message = request("MESSAGE", "1", 1, "", "");
    lone.receive(&message);
    let Some(sip::Event::Request { id, .. }) = lone.events.pop() else {
        panic!("no request")
    };
    lone.receive(&message);
    assert!(lone.said().is_empty());
    lone.endpoint.respond(lone.now, id, ResponseDraft::new(200));
    lone.receive(&message);
    assert_eq!(lone.said(), ["200", "200"]);
    lone.run(secs(32) - ms(1));
    assert_eq!(lone.transactions(), 1);
    lone.run(ms(1));
    assert_eq!(lone.transactions(), 0);
}

#[test]
fn a_request_that_the_layer_above_forgets_gets_500() {
    let mut lone = Lone::new();
    lone.receive(&request("MESSAGE", "1", 1, "", ""));
    lone.run(secs(32));
    assert_eq!(lone.said(), ["500"]);
    lone.run(secs(32));
    assert_eq!(lone.transactions(), 0);
}
