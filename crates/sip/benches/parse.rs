//! How long reading and writing one INVITE takes: `cargo bench -p sip`.
//!
//! The message is of the size and shape that a desk phone sends with digest and video-less SDP.
//! Each figure is the best of several rounds, in nanoseconds per message on this machine.

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use sip::message::{ByteStr, Headers, Message, Method, Name, RequestDraft, ResponseDraft};

const INVITE: &str = concat!(
    "INVITE sip:2125551212@pbx.example.com;user=phone SIP/2.0\r\n",
    "Via: SIP/2.0/UDP 192.168.10.117:5060;branch=z9hG4bKd3d0b6cbAD1C5A2F;rport\r\n",
    "From: \"Reception Desk\" <sip:1001@pbx.example.com>;tag=8B1C4D22-6E7A1F90\r\n",
    "To: <sip:2125551212@pbx.example.com;user=phone>\r\n",
    "CSeq: 2 INVITE\r\n",
    "Call-ID: 5f0b2d67-1f7b2a40-c2a3ff10@192.168.10.117\r\n",
    "Contact: <sip:1001@192.168.10.117:5060>;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-0004f2a1b2c3>\"\r\n",
    "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, MESSAGE, SUBSCRIBE, NOTIFY, PRACK, UPDATE, REFER\r\n",
    "User-Agent: DeskPhone-450/5.9.3.2489\r\n",
    "Accept-Language: en\r\n",
    "Supported: 100rel,replaces,timer\r\n",
    "Allow-Events: conference,talk,hold\r\n",
    "Authorization: Digest username=\"1001\", realm=\"pbx.example.com\", nonce=\"5f3c2b1a00000000a1b2c3d4\", ",
    "qop=auth, cnonce=\"kq8sF2bVbYyJ\", nc=00000001, uri=\"sip:2125551212@pbx.example.com;user=phone\", ",
    "response=\"0f2b3c4d5e6f708192a3b4c5d6e7f809\", algorithm=MD5\r\n",
    "Max-Forwards: 70\r\n",
    "Content-Type: application/sdp\r\n",
    "Content-Length: 257\r\n",
    "\r\n",
    "v=0\r\n",
    "o=- 1700000000 1700000000 IN IP4 192.168.10.117\r\n",
    "s=Desk Phone\r\n",
    "c=IN IP4 192.168.10.117\r\n",
    "t=0 0\r\n",
    "a=sendrecv\r\n",
    "m=audio 2222 RTP/AVP 9 0 8 127\r\n",
    "a=rtpmap:9 G722/8000\r\n",
    "a=rtpmap:0 PCMU/8000\r\n",
    "a=rtpmap:8 PCMA/8000\r\n",
    "a=rtpmap:127 telephone-event/8000\r\n",
    "a=ptime:20\r\n",
);

const ROUNDS: usize = 9;
const MESSAGES_PER_ROUND: u32 = 20_000;

fn main() {
    // `cargo test` runs benches too, to see that they work; once is enough for that.
    let rounds = if std::env::args().any(|argument| argument == "--bench") {
        ROUNDS
    } else {
        1
    };
    let wire = Bytes::from_static(INVITE.as_bytes());
    let invite = Message::parse(wire.clone()).expect("the sample is well formed");
    println!(
        "INVITE of {} bytes, {} header lines",
        wire.len(),
        invite.all_headers().count()
    );
    time(rounds, "parse", || Message::parse(wire.clone()));
    time(rounds, "parse, then read what a call needs", || {
        let message = Message::parse(wire.clone()).expect("as above");
        black_box((
            message.from().tag(),
            message.to().tag(),
            message.contact(),
            message.max_forwards(),
        ));
        black_box(message.has_token(Name::Supported, "100rel"));
        black_box(message.header(Name::Authorization));
        message
    });
    let answer = ResponseDraft {
        to_tag: Some("k3jh5k2j3h4k".into()),
        contact: Some("<sip:pbx.example.com>".into()),
        content_type: Some("application/sdp".into()),
        body: invite.body().clone(),
        ..ResponseDraft::new(200)
    };
    time(rounds, "print a 200", || answer.print(&invite));
    let draft = outgoing(&invite);
    time(rounds, "print an INVITE", || {
        draft.print("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK3jh4k3j2h4;rport")
    });
}

fn outgoing(invite: &Message) -> RequestDraft {
    let mut headers = Headers::new();
    headers.push_name(Name::Supported, "100rel,replaces,timer");
    headers.push_name(Name::Allow, invite.header(Name::Allow).unwrap_or_default());
    RequestDraft {
        method: Method::Invite,
        uri: invite.uri().expect("a request").clone(),
        max_forwards: 69,
        from: ByteStr::copy(invite.header(Name::From).unwrap_or_default()),
        to: ByteStr::copy(invite.header(Name::To).unwrap_or_default()),
        call_id: "kj3h4kj2h3k4jh234".into(),
        cseq: 1,
        routes: Vec::new(),
        contact: Some("<sip:pbx.example.com>".into()),
        headers,
        content_type: Some("application/sdp".into()),
        body: invite.body().clone(),
    }
}

fn time<T>(rounds: usize, what: &str, mut work: impl FnMut() -> T) {
    let best = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..MESSAGES_PER_ROUND {
                black_box(work());
            }
            start.elapsed() / MESSAGES_PER_ROUND
        })
        .min()
        .unwrap_or_default();
    println!("{:>6} ns  {what}", best.as_nanos());
}
