//! DTLS-SRTP in descriptions, and what the media thread is told of it. The handshake itself is in the tests of `media`.

use crate::wire::{CARRIER, PBX, Wire};
use media::dtls::{DtlsError, Fingerprint, HashFunction, Role};
use media::relay::{Command, Event, Protection, RelayId, Side, Terms};
use media::sdp::{Session, Setup};
use media::srtp::Suite;
use model::{AudioRelay, EncryptedAudio};
use simulator::world::dtls_fingerprint;
use sip::message::{Message, Name};

/// The fingerprint of a far end's certificate.
fn theirs(certificate: &str) -> Fingerprint {
    Fingerprint::of(HashFunction::Sha256, certificate.as_bytes())
}

/// A body with this audio line and what belongs to it.
fn body(profile: &str, lines: &str) -> String {
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 198.51.100.9\r\ns=-\r\nc=IN IP4 198.51.100.9\r\nt=0 0\r\nm=audio 30000 {profile} 0\r\n{lines}"
    );
    format!(
        "Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
}

fn sealed(setup: &str, certificate: &str, more: &str) -> String {
    let lines = format!(
        "a=setup:{setup}\r\na=fingerprint:{}\r\n{more}",
        theirs(certificate)
    );
    body("UDP/TLS/RTP/SAVP", &lines)
}

#[track_caller]
fn described(message: &Message) -> Session {
    Session::parse(message.body()).expect("a description")
}

/// What an answer or offer of ours says of the handshake.
#[track_caller]
fn ours(message: &Message) -> (String, Setup) {
    let session = described(message);
    let dtls = session.dtls(0).expect("our fingerprint");
    assert_eq!(dtls.fingerprints, [dtls_fingerprint()]);
    (session.media[0].proto.clone(), dtls.setup)
}

/// No word of a handshake reaches the other side.
#[track_caller]
fn in_the_clear(message: &Message, profile: &str) {
    let session = described(message);
    assert_eq!(session.media[0].proto, profile);
    for name in [
        "fingerprint",
        "setup",
        "tls-id",
        "rtcp-mux",
        "rtcp-fb",
        "crypto",
    ] {
        assert_eq!(session.media[0].attribute(name), None);
    }
}

/// How the relay was told to protect a side, one order after another.
fn protections(wire: &Wire, of: Side) -> Vec<Protection> {
    let orders = wire.world.orders().iter();
    orders
        .filter_map(|order| match order {
            Command::Protect {
                side, protection, ..
            } if *side == of => Some(protection.clone()),
            _ => None,
        })
        .collect()
}

fn shaken(role: Role, certificate: &str, association: u32) -> Protection {
    Protection::Dtls(Box::new(Terms {
        role,
        fingerprints: vec![theirs(certificate)],
        association,
    }))
}

fn told(wire: &Wire, what: impl Fn(&Command) -> bool) -> usize {
    wire.world
        .orders()
        .iter()
        .filter(|order| what(order))
        .count()
}

fn hurried(wire: &Wire) -> usize {
    told(wire, |order| {
        matches!(order, Command::Hurry { side: Side::A, .. })
    })
}

/// A call of the PBX with this offer that the carrier answers in the clear: the 200 and the carrier's INVITE.
fn call(wire: &mut Wire, offer: &str) -> (Message, Message) {
    wire.invite("2000", offer);
    let invite = wire.at_carrier();
    wire.answer(&invite, 200, "", true);
    let answered = wire.got(PBX, "200").pop().expect("the call is answered");
    wire.ask(&answered, "ACK", "");
    (answered, invite)
}

#[test]
fn a_handshake_is_answered_in_kind_and_ends_at_the_relay() {
    let mut wire = Wire::new(|_, _| ());
    let lines = format!(
        "a=setup:actpass\r\na=fingerprint:{}\r\na=rtcp-mux\r\na=rtcp-fb:* nack\r\n",
        theirs("phone")
    );
    wire.invite("2000", &body("UDP/TLS/RTP/SAVPF", &lines));
    let invite = wire.at_carrier();
    in_the_clear(&invite, "RTP/AVP");
    // Before it has our answer the far end cannot begin, and nothing may reach it in the clear.
    assert_eq!(protections(&wire, Side::A), [Protection::Pending]);
    wire.answer(&invite, 200, "", true);
    let answered = wire.got(PBX, "200").pop().expect("the call is answered");
    let profile = "UDP/TLS/RTP/SAVPF".to_owned();
    assert_eq!(ours(&answered), (profile, Setup::Passive));
    let line = &described(&answered).media[0];
    assert!(line.multiplexes());
    assert_eq!(line.attribute("tls-id"), None, "nobody named one");
    let last = protections(&wire, Side::A).pop();
    assert_eq!(last, Some(shaken(Role::Server, "phone", 1)));
    assert_eq!(protections(&wire, Side::B), []);
    let multiplexed = |order: &Command| {
        matches!(
            order,
            Command::Multiplex {
                side: Side::A,
                shared: true,
                ..
            }
        )
    };
    assert_eq!(told(&wire, multiplexed), 1);
    assert_eq!(hurried(&wire), 1);
}

#[test]
fn who_waits_is_begun_with_and_who_names_the_association_hears_our_name() {
    let mut wire = Wire::new(|_, _| ());
    let name = "a=tls-id:0123456789abcdef01234567\r\n";
    let (answered, _) = call(&mut wire, &sealed("passive", "phone", name));
    assert_eq!(ours(&answered).1, Setup::Active);
    let tls_id = described(&answered).dtls(0).and_then(|dtls| dtls.tls_id);
    assert_eq!(tls_id.map(|id| id.len()), Some(32));
    let last = protections(&wire, Side::A).pop();
    assert_eq!(last, Some(shaken(Role::Client, "phone", 1)));
}

#[test]
fn a_handshake_is_as_good_as_keys_for_a_record_that_demands_encryption() {
    for demanded in [
        EncryptedAudio::No,
        EncryptedAudio::Optional,
        EncryptedAudio::Yes,
    ] {
        let mut wire = Wire::new(|pbx, _| {
            pbx.connection_require_encrypted_audio_enabled = demanded;
        });
        let old = body(
            "RTP/SAVP",
            &format!("a=setup:active\r\na=fingerprint:{}\r\n", theirs("phone")),
        );
        let (answered, invite) = call(&mut wire, &old);
        assert_eq!(ours(&answered), ("RTP/SAVP".to_owned(), Setup::Passive));
        in_the_clear(&invite, "RTP/AVP");
    }
}

#[test]
fn the_called_side_is_offered_keys_in_the_description_whatever_the_caller_does() {
    let mut wire = Wire::new(|_, carrier| {
        carrier.connection_require_encrypted_audio_enabled = EncryptedAudio::Yes;
    });
    wire.invite("2000", &sealed("actpass", "phone", ""));
    let session = described(&wire.at_carrier());
    assert_eq!(session.media[0].proto, "RTP/SAVP");
    assert!(session.media[0].crypto().is_some());
    assert_eq!(session.dtls(0), None);
}

#[test]
fn a_handshake_beside_rtp_is_taken_up_where_the_record_says_so() {
    for (encryption, taken) in [
        (EncryptedAudio::No, false),
        (EncryptedAudio::Optional, true),
    ] {
        let mut wire = Wire::new(|pbx, _| {
            pbx.connection_require_encrypted_audio_enabled = encryption;
        });
        let lines = format!("a=setup:actpass\r\na=fingerprint:{}\r\n", theirs("phone"));
        let (answered, _) = call(&mut wire, &body("RTP/AVP", &lines));
        let session = described(&answered);
        assert_eq!(session.media[0].proto, "RTP/AVP");
        assert_eq!(session.dtls(0).is_some(), taken);
    }
}

#[test]
fn the_same_again_keeps_the_association_and_another_certificate_ends_it() {
    let mut wire = Wire::new(|_, _| ());
    let (answered, invite) = call(&mut wire, &sealed("actpass", "phone", ""));
    let before = protections(&wire, Side::A).len();
    for certificate in ["phone", "other"] {
        let contact = format!("Contact: <sip:ann@{PBX}>\r\n");
        let again = contact + &sealed("actpass", certificate, "a=sendonly\r\n");
        wire.ask(&answered, "INVITE", &again);
        let at_carrier = wire.at_carrier();
        assert_ne!(at_carrier.cseq(), invite.cseq(), "it is passed on");
        wire.answer(&at_carrier, 200, "", true);
        let again = wire.got(PBX, "200").pop().expect("answered again");
        assert_eq!(ours(&again).1, Setup::Passive, "the role stays");
        wire.ask(&again, "ACK", "");
    }
    let after = &protections(&wire, Side::A)[before..];
    assert_eq!(after, [shaken(Role::Server, "other", 2)]);
    assert_eq!(hurried(&wire), 2, "the second one has to end as well");
}

#[test]
fn an_offer_of_ours_within_the_call_keeps_what_was_agreed() {
    let mut wire = Wire::new(|_, _| ());
    let (_, invite) = call(&mut wire, &sealed("actpass", "phone", "a=rtcp-mux\r\n"));
    let before = protections(&wire, Side::A).len();
    let lines = format!(
        "Contact: <sip:bob@{CARRIER}>\r\n{}",
        body("RTP/AVP", "a=sendonly\r\n")
    );
    wire.carrier_says(&invite, "INVITE", 7, &lines);
    let at_pbx = wire.got(PBX, "INVITE").pop().expect("offered");
    let profile = "UDP/TLS/RTP/SAVP".to_owned();
    assert_eq!(ours(&at_pbx), (profile, Setup::Passive));
    assert!(described(&at_pbx).media[0].multiplexes());
    wire.pbx_says(
        &at_pbx,
        200,
        &sealed("active", "phone", "a=rtcp-mux\r\na=recvonly\r\n"),
    );
    let answer = wire.got(CARRIER, "200").pop().expect("answered");
    in_the_clear(&answer, "RTP/AVP");
    assert_eq!(
        protections(&wire, Side::A).len(),
        before,
        "nothing new to say"
    );
}

#[test]
fn an_offer_that_comes_late_is_answered_in_the_ack() {
    let mut wire = Wire::new(|_, _| ());
    wire.invite("2000", "Content-Length: 0\r\n\r\n");
    let invite = wire.at_carrier();
    assert!(invite.body().is_empty());
    wire.answer(&invite, 200, &sealed("actpass", "carrier", ""), false);
    let offered = wire.got(PBX, "200").pop().expect("offered");
    in_the_clear(&offered, "RTP/AVP");
    assert_eq!(protections(&wire, Side::B), [Protection::Pending]);
    wire.ask(&offered, "ACK", &body("RTP/AVP", ""));
    let ack = wire.got(CARRIER, "ACK").pop().expect("answered");
    assert_eq!(ours(&ack).1, Setup::Passive);
    let last = protections(&wire, Side::B).pop();
    assert_eq!(last, Some(shaken(Role::Server, "carrier", 1)));
}

#[test]
fn where_the_media_do_not_pass_us_the_two_ends_shake_hands() {
    let mut wire = Wire::new(|pbx, carrier| {
        for connection in [pbx, carrier] {
            connection.connection_audio_relay_enabled = AudioRelay::Never;
            connection.connection_require_encrypted_audio_enabled = EncryptedAudio::Yes;
        }
    });
    wire.invite("2000", &sealed("actpass", "phone", ""));
    let invite = wire.at_carrier();
    let dtls = described(&invite).dtls(0).expect("passed on");
    assert_eq!(dtls.fingerprints, [theirs("phone")]);
    wire.answer(&invite, 200, &sealed("active", "carrier", ""), false);
    let answered = wire.got(PBX, "200").pop().expect("answered");
    let dtls = described(&answered).dtls(0).expect("passed on");
    assert_eq!(
        (dtls.fingerprints, dtls.setup),
        (vec![theirs("carrier")], Setup::Active)
    );
    assert_eq!(wire.world.orders(), []);
}

#[test]
fn a_handshake_that_cannot_be_had_is_refused() {
    for offer in [
        body("UDP/TLS/RTP/SAVP", "a=setup:actpass\r\n"),
        body(
            "UDP/TLS/RTP/SAVP",
            "a=setup:actpass\r\na=fingerprint:md5 00\r\n",
        ),
        sealed("holdconn", "phone", ""),
    ] {
        let mut wire = Wire::new(|_, _| ());
        wire.invite("2000", &offer);
        assert_eq!(wire.got(PBX, "488").len(), 1, "{offer}");
        assert!(wire.got(CARRIER, "INVITE").is_empty());
    }
}

fn first_relay(wire: &Wire) -> RelayId {
    let mut orders = wire.world.orders().iter();
    let opened = orders.find_map(|order| match order {
        Command::Open { relay, .. } => Some(*relay),
        _ => None,
    });
    opened.expect("a relay")
}

#[test]
fn a_call_whose_handshake_fails_ends_with_the_reason() {
    let mut wire = Wire::new(|_, _| ());
    call(&mut wire, &sealed("actpass", "phone", ""));
    let (relay, side, why) = (first_relay(&wire), Side::A, DtlsError::Fingerprint);
    wire.world
        .media_says(0, Event::HandshakeFailed { relay, side, why });
    wire.wait(200);
    for who in [PBX, CARRIER] {
        let bye = wire.got(who, "BYE").pop().expect("told");
        let reason = bye.header(Name::Reason).expect("a reason");
        assert!(
            reason.contains("Orig: DTLS: the certificate is not the one described"),
            "{reason}"
        );
    }
}

#[test]
fn a_call_whose_handshake_fails_before_the_answer_is_refused() {
    let mut wire = Wire::new(|_, _| ());
    wire.invite("2000", &sealed("actpass", "phone", ""));
    let invite = wire.at_carrier();
    wire.answer(&invite, 183, "", true);
    let (relay, side, why) = (first_relay(&wire), Side::A, DtlsError::NoProfile);
    wire.world
        .media_says(0, Event::HandshakeFailed { relay, side, why });
    wire.wait(200);
    assert_eq!(wire.got(PBX, "488").len(), 1);
    assert_eq!(wire.got(CARRIER, "CANCEL").len(), 1);
}

#[test]
fn the_record_says_when_the_media_were_sealed() {
    let mut wire = Wire::new(|_, _| ());
    let (answered, _) = call(&mut wire, &sealed("actpass", "phone", ""));
    let (relay, side, suite) = (first_relay(&wire), Side::A, Suite::Aes128Gcm);
    wire.world
        .media_says(0, Event::Secured { relay, side, suite });
    wire.ask(&answered, "BYE", "");
    wire.wait(60_000);
    let decisions = wire.cdr().decisions.join("\n");
    let expected = "the caller's media sealed by DTLS-SRTP, AEAD_AES_128_GCM";
    assert!(decisions.contains(expected), "{decisions}");
}
