//! Properties that hold for every input: what we print we can read, and nothing makes a reader
//! panic, hang or let a line through.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use sip::auth;
use sip::framing::{Frame, Framer};
use sip::message::header::challenge::Challenge;
use sip::message::header::credentials::DigestCredentials;
use sip::message::header::session_expires::SessionExpires;
use sip::message::uri::unescape;
use sip::message::{
    ByteStr, CSeq, Headers, Message, Method, Name, NameAddr, Params, RAck, Reason, RequestDraft,
    ResponseDraft, Uri, Values, Via,
};

const INVITE: &str = "INVITE sip:bob;x=y:pw@[2001:db8::1]:5070;transport=tcp;lr SIP/2.0\r\n\
    Via: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bKnashds8;rport, SIP/2.0/TCP far:99;received=::1\r\n\
    Max-Forwards: 70\r\n\
    To: \"Bob \\\"B\\\"\" <sip:bob@biloxi.com>;tag=a\r\n\
    From: Alice Two <sips:alice@atlanta.com;a=b>;tag=1928301774;x=\"y;z\"\r\n\
    Call-ID: a84b4c76e66710@pc33.atlanta.com\r\n\
    CSeq: 314159 INVITE\r\n\
    m: <sip:alice@pc33.atlanta.com>;q=0.5, <tel:+1202>\r\n\
    Supported: timer,\r\n\x20100rel\r\n\
    Authorization: Digest username=\"bob\", realm=\"r\", nonce=\"n\", uri=\"sip:x\", response=\"00\", qop=auth, nc=1, cnonce=\"c\"\r\n\
    Reason: SIP;cause=200;text=\"done, elsewhere\"\r\n\
    Session-Expires: 1800;refresher=uac\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 4\r\n\
    \r\n\
    v=0\n";

/// Bytes that matter to the grammar more often than chance would bring them.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..8),
        prop::sample::select(vec![
            "\r\n",
            "\n",
            "\r",
            "\r\n\r\n",
            "\r\n ",
            "\t",
            " ",
            ",",
            ";",
            ":",
            "=",
            "\"",
            "\\",
            "<",
            ">",
            "@",
            "[",
            "]",
            "?",
            "%",
            "%41",
            "*",
            "/",
            "\0",
            "é",
            "SIP/2.0",
            "Via:",
            "v:",
            "l: 5\r\n",
            "Content-Length: 99\r\n",
            "sip:",
            "4294967296",
            "-1",
            "z9hG4bK",
            ";tag=",
            ";rport",
            ";received=",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ]
}

/// The INVITE above with some places overwritten, cut out or grown.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    vec((any::<prop::sample::Index>(), 0..12usize, piece()), 1..6).prop_map(|changes| {
        let mut bytes = INVITE.as_bytes().to_vec();
        for (at, cut, piece) in changes {
            let start = at.index(bytes.len() + 1);
            let end = (start + cut).min(bytes.len());
            bytes.splice(start..end, piece);
        }
        bytes
    })
}

fn arbitrary_bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(piece(), 0..40).prop_map(|pieces| pieces.concat())
}

/// Calls everything a message has, and answers it.
fn look_at_everything(message: &Message) {
    for name in Name::KNOWN {
        let _ = message.header(*name).map(str::len);
        message.values(*name).for_each(drop);
        message.addresses(*name).for_each(drop);
    }
    for (name, _, value) in message.all_headers() {
        assert!(message.header_by_text(name).is_some());
        assert!(!value.contains('\n') && !name.contains(['\r', '\n', ':']));
        Params::new(value).for_each(drop);
    }
    let _ = (
        message.contact(),
        message.max_forwards(),
        message.content_type(),
    );
    message.has_token(Name::Supported, "100rel");
    assert!(message.body().len() <= message.as_bytes().len());
    let source = "[2001:db8::7]:99".parse().unwrap();
    let mut draft = ResponseDraft::new(200);
    draft.to_tag = Some("ours".into());
    let clone = message.clone().with_source(source);
    if message.is_request() {
        let response = Message::parse(draft.print(&clone)).expect("our response cannot be read");
        assert!(response.to().tag().is_some());
        assert_eq!(response.call_id(), message.call_id());
        assert_eq!(response.cseq(), message.cseq());
        assert_eq!(response.from(), message.from());
        assert!(response.via().received.is_some());
    }
}

fn read_values(text: &str) {
    let shared = ByteStr::copy(text);
    let _ = (
        Uri::parse(&shared),
        NameAddr::parse(&shared),
        CSeq::parse(&shared),
        Via::parse(&shared),
    );
    let _ = (
        RAck::parse(&shared),
        Reason::parse(text),
        SessionExpires::parse(text),
        unescape(text),
    );
    let _ = (Challenge::parse(text), DigestCredentials::parse(text));
    Values::new(text).for_each(drop);
    Params::new(text).for_each(drop);
    Reason::parse_all(text).for_each(drop);
    let me = auth::Credentials {
        username: text.into(),
        password: text.into(),
        realm: None,
    };
    let answer = auth::answer([text].into_iter(), &me, text, text, b"", 1, text);
    assert!(answer.is_none_or(|value| !value.contains(['\r', '\n'])));
}

fn check_rejection(bytes: Vec<u8>) {
    match Message::parse(bytes.into()) {
        Ok(message) => look_at_everything(&message),
        Err(rejected) => {
            let source = "192.0.2.1:5060".parse().unwrap();
            if let Some(response) = rejected.with_source(source).response() {
                assert!(response.starts_with(b"SIP/2.0 "));
                let ends = response
                    .windows(4)
                    .filter(|window| window == b"\r\n\r\n")
                    .count();
                assert_eq!(ends, 1, "a response with two ends");
            }
        }
    }
}

fn header_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        piece().prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    ]
}

fn built_uri() -> impl Strategy<Value = Uri> {
    let host = prop_oneof![
        "[a-z]{1,8}(\\.[a-z]{2,5}){0,2}",
        any::<std::net::Ipv6Addr>().prop_map(|address| address.to_string()),
        any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
        header_text(),
    ];
    let param = prop::option::of((header_text(), prop::option::of(header_text())));
    (
        any::<bool>(),
        prop::option::of(header_text()),
        host,
        any::<Option<u16>>(),
        param,
    )
        .prop_map(|(secure, user, host, port, param)| {
            let uri = Uri::build(
                if secure { "sips" } else { "sip" },
                user.as_deref(),
                &host,
                port,
            );
            match param.filter(|(name, _)| !name.is_empty()) {
                Some((name, value)) => uri.with_param(&name, value.as_deref()),
                None => uri,
            }
        })
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in arbitrary_bytes()) {
        read_values(&String::from_utf8_lossy(&bytes));
        check_rejection(bytes);
    }

    #[test]
    fn damaged_messages_do_no_harm(bytes in mutated()) {
        check_rejection(bytes);
    }

    #[test]
    fn damaged_values_do_no_harm(bytes in mutated()) {
        for line in String::from_utf8_lossy(&bytes).split("\r\n") {
            read_values(line.split_once(": ").map_or(line, |(_, value)| value));
        }
    }

    #[test]
    fn streams_yield_the_same_frames_however_they_are_cut(
        pieces in vec(prop_oneof![mutated(), piece(), Just(INVITE.as_bytes().to_vec())], 1..4),
        cut in 1..200usize,
    ) {
        let stream = pieces.concat();
        let frames = |size: usize| {
            let mut framer = Framer::new(8192);
            let mut frames = Vec::new();
            for piece in stream.chunks(size) {
                framer.push(piece);
                while let Some(frame) = framer.next() {
                    let failed = frame.is_err();
                    frames.push(frame);
                    if failed {
                        return frames;
                    }
                }
            }
            frames
        };
        let frames_of_all = frames(stream.len().max(1));
        prop_assert_eq!(&frames_of_all, &frames(cut));
        for frame in frames_of_all.into_iter().flatten() {
            if let Frame::Message(bytes) = frame
                && let Ok(message) = Message::parse(bytes.clone())
            {
                // Framing and parsing agree on where the message ends.
                prop_assert!(bytes.ends_with(message.body()));
            }
        }
    }

    #[test]
    fn built_uris_read_as_themselves(uri in built_uri()) {
        let again: Uri = uri.as_str().parse().unwrap();
        prop_assert!(again.equivalent(&uri));
        prop_assert_eq!(&again, &uri);
        prop_assert!(!uri.as_str().contains(|c: char| c.is_whitespace() || c.is_control() || "<>\"".contains(c)));
    }

    #[test]
    fn built_users_come_back(user in header_text()) {
        let uri = Uri::build("sip", Some(&user), "h", None);
        prop_assert_eq!(uri.user_unescaped().unwrap_or_default(), user);
    }

    #[test]
    fn built_addresses_read_as_themselves(
        display in header_text(),
        uri in built_uri(),
        tag in header_text(),
        name in header_text(),
    ) {
        let address = NameAddr::new(Some(&display), uri).with_param(&name, Some(&display)).with_tag(&tag);
        let text = address.to_string();
        prop_assert!(!text.contains(['\r', '\n']));
        let again: NameAddr = text.parse().unwrap();
        prop_assert_eq!(&again.uri, &address.uri);
        prop_assert_eq!(again.params(), address.params());
        prop_assert_eq!(again.to_string(), text);
    }

    #[test]
    fn requests_carry_no_more_lines_than_we_wrote(
        uri in built_uri(),
        texts in vec(header_text(), 7),
        method in header_text(),
        body in vec(any::<u8>(), 0..50),
    ) {
        let mut headers = Headers::new();
        headers.push(&texts[0], &texts[1]);
        headers.push("X-Known", &texts[1]);
        let draft = RequestDraft {
            method: Method::parse(&ByteStr::copy(&method)).unwrap_or(Method::Info),
            uri,
            max_forwards: 70,
            from: texts[2].clone().into(),
            to: texts[3].clone().into(),
            call_id: texts[4].clone().into(),
            cseq: 1,
            routes: vec![texts[5].clone().into()],
            contact: Some(texts[6].clone().into()),
            headers: headers.clone(),
            content_type: Some("text/plain".into()),
            body: Bytes::from(body.clone()),
        };
        let printed = draft.print(&texts[2]);
        let mut framer = Framer::new(1 << 16);
        framer.push(&printed);
        // A From of line ends, say, is no From: but never more than one message, whatever is in it.
        if texts[0].eq_ignore_ascii_case("content-length") || texts[0].eq_ignore_ascii_case("l") {
            return Ok(());
        }
        prop_assert_eq!(framer.next(), Some(Ok(Frame::Message(printed.clone()))));
        let head = &printed[..printed.len() - body.len()];
        let lines = head.iter().filter(|byte| **byte == b'\n').count();
        let expected = 1 + 9 + headers.iter().count() + usize::from(!body.is_empty()) + 1;
        prop_assert_eq!(lines, expected);
        prop_assert_eq!(head.iter().filter(|byte| **byte == b'\r').count(), lines);
    }

    #[test]
    fn typed_headers_read_as_themselves(number in 0..1u32 << 31, seconds: u32, text in header_text(), cause: u8) {
        let cseq = CSeq { number, method: Method::Invite };
        prop_assert_eq!(CSeq::parse(&cseq.to_string().into()), Some(cseq.clone()));
        let rack = RAck { rseq: seconds, cseq };
        prop_assert_eq!(RAck::parse(&rack.to_string().into()), Some(rack));
        let session = SessionExpires { interval_seconds: seconds, refresher: None };
        prop_assert_eq!(SessionExpires::parse(&session.to_string()), Some(session));
        let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let reason = Reason::q850(cause, &clean);
        prop_assert_eq!(Reason::parse(&reason.to_string()), Some(reason));
    }

    #[test]
    fn answers_are_verified(
        username in "[^\\p{C}]{0,12}",
        password in any::<String>(),
        realm in "[^\\p{C}]{0,12}",
        body in vec(any::<u8>(), 0..40),
        md5: bool,
        protect_body: bool,
    ) {
        let now = std::time::Instant::now();
        let mut server = auth::Authenticator::new([9; 32]);
        let mut challenges = server.challenge(now, &realm, false);
        let challenge = if md5 { challenges.remove(1) } else { challenges.remove(0) };
        let challenge = if protect_body { challenge.replace("auth,auth-int", "auth-int") } else { challenge };
        let me = auth::Credentials { username: username.clone(), password: password.clone().into(), realm: None };
        let value = auth::answer([&*challenge].into_iter(), &me, "INVITE", "sip:x", &body, 1, "c").unwrap();
        let verdict = server.verify(now, "INVITE", &value, &body, &realm, &username, &password.into());
        prop_assert_eq!(verdict, auth::Verdict::Ok);
    }
}
