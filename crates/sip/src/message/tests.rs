use super::*;

const INVITE: &str = "INVITE sip:bob@biloxi.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bKnashds8;rport, SIP/2.0/TCP far;branch=z9hG4bK1\r\n\
    v: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK2\r\n\
    Max-Forwards: 70\r\n\
    To: Bob <sip:bob@biloxi.com>\r\n\
    From: \"Alice\" <sip:alice@atlanta.com>;tag=1928301774\r\n\
    Call-ID: a84b4c76e66710@pc33.atlanta.com\r\n\
    CSeq: 314159 INVITE\r\n\
    m: <sip:alice@pc33.atlanta.com>\r\n\
    Supported: timer,\r\n\
    \x20100rel\r\n\
    Record-Route: <sip:p2;lr>\r\n\
    Record-Route: <sip:p1;lr>\r\n\
    X-Custom:  yes, no \r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 4\r\n\
    \r\n\
    v=0\nsurplus";

fn parse(text: &str) -> Result<Message, Rejected> {
    Message::parse(Bytes::copy_from_slice(text.as_bytes()))
}

#[track_caller]
fn check_rejected(text: &str, why: Misbehaviour, status: Option<u16>) {
    let rejected = parse(text).expect_err("accepted");
    assert_eq!(rejected.why, why);
    let response = rejected
        .response()
        .map(|bytes| parse(std::str::from_utf8(&bytes).unwrap()));
    assert_eq!(
        response.and_then(|response| response.ok()?.status()),
        status
    );
}

#[test]
fn everything_is_found() {
    let invite = parse(INVITE).unwrap();
    assert_eq!(invite.method(), Some(&Method::Invite));
    assert_eq!(invite.uri().map(Uri::as_str), Some("sip:bob@biloxi.com"));
    assert_eq!((invite.status(), invite.reason()), (None, ""));
    assert_eq!(invite.via().branch.as_deref(), Some("z9hG4bKnashds8"));
    assert_eq!(invite.from().display.as_deref(), Some("Alice"));
    assert_eq!(invite.from().tag(), Some("1928301774"));
    assert_eq!(invite.to().tag(), None);
    assert_eq!(invite.call_id().as_str(), "a84b4c76e66710@pc33.atlanta.com");
    assert_eq!(invite.cseq().number, 314_159);
    assert_eq!(
        invite.contact().map(|contact| contact.uri.to_string()),
        Some("sip:alice@pc33.atlanta.com".into())
    );
    assert_eq!(invite.max_forwards(), Some(70));
    assert_eq!(invite.body().as_ref(), b"v=0\n");
    assert_eq!(invite.headers(Name::Via).count(), 2);
    assert_eq!(invite.values(Name::Via).count(), 3);
    assert_eq!(invite.header(Name::Supported), Some("timer, 100rel"));
    assert!(invite.has_token(Name::Supported, "100REL"));
    assert_eq!(invite.header_by_text("x-custom"), Some("yes, no"));
    assert_eq!(invite.header_by_text("VIA"), invite.header(Name::Via));
    assert_eq!(
        invite.all_headers().next().map(|(name, ..)| name),
        Some("Via")
    );
    assert_eq!(invite.as_bytes().as_ref(), INVITE.as_bytes());
}

#[test]
fn responses_repeat_the_request() {
    let invite = parse(INVITE)
        .unwrap()
        .with_source("198.51.100.1:4000".parse().unwrap());
    let mut draft = ResponseDraft::new(180);
    draft.to_tag = Some("ours".into());
    draft.contact = Some("<sip:us>".into());
    draft.headers.push("RSeq", 1);
    let printed = draft.print(&invite);
    assert_eq!(
        std::str::from_utf8(&printed).unwrap(),
        "SIP/2.0 180 Ringing\r\n\
         Via: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bKnashds8;rport=4000;received=198.51.100.1\r\n\
         Via: SIP/2.0/TCP far;branch=z9hG4bK1\r\n\
         Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK2\r\n\
         Record-Route: <sip:p2;lr>\r\n\
         Record-Route: <sip:p1;lr>\r\n\
         From: \"Alice\" <sip:alice@atlanta.com>;tag=1928301774\r\n\
         To: Bob <sip:bob@biloxi.com>;tag=ours\r\n\
         Call-ID: a84b4c76e66710@pc33.atlanta.com\r\n\
         CSeq: 314159 INVITE\r\n\
         Contact: <sip:us>\r\n\
         RSeq: 1\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let response = Message::parse(printed).unwrap();
    assert_eq!(
        (response.status(), response.reason()),
        (Some(180), "Ringing")
    );
    assert_eq!((response.method(), response.uri()), (None, None));
    assert_eq!(response.to().tag(), Some("ours"));

    let refusal = ResponseDraft::new(486).print(&invite);
    assert_eq!(
        Message::parse(refusal).unwrap().header(Name::RecordRoute),
        None
    );
}

#[test]
fn requests_print_what_parses() {
    let mut draft = RequestDraft {
        method: Method::Bye,
        uri: Uri::build("sip", Some("bob"), "192.0.2.4", None),
        max_forwards: 70,
        from: "<sip:a@b>;tag=1".into(),
        to: "<sip:c@d>;tag=2\r\nEvil: 1".into(),
        call_id: "id".into(),
        cseq: 2,
        routes: vec!["<sip:p1;lr>".into(), "<sip:p2;lr>".into()],
        contact: None,
        headers: Headers::new(),
        content_type: Some("text/plain".into()),
        body: Bytes::from_static(b"hello"),
    };
    draft
        .headers
        .push_name(Name::Reason, Reason::q850(16, "normal"));
    let bye = Message::parse(draft.print("SIP/2.0/UDP h;branch=z9hG4bK1\r\nEvil: 1")).unwrap();
    assert_eq!(bye.method(), Some(&Method::Bye));
    assert_eq!(bye.headers(Name::Route).count(), 2);
    assert_eq!(bye.header_by_text("Evil"), None);
    assert_eq!(bye.body().as_ref(), b"hello");
    assert_eq!(
        bye.header(Name::Reason),
        Some("Q.850;cause=16;text=\"normal\"")
    );
    draft.method = Method::Other("X sip:h SIP/2.0\r\nEvil: 1\r\n\r\n".into());
    let printed = draft.print("SIP/2.0/UDP h");
    let lines = printed.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines, bye.all_headers().count() + 2);
}

#[test]
fn broken_requests_are_named_and_answered() {
    let without = |line: &str| INVITE.replace(line, "");
    check_rejected("\r\n\r\n", Misbehaviour::Empty, None);
    check_rejected("hello", Misbehaviour::HeadNotTerminated, None);
    check_rejected(
        &INVITE.replace("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"),
        Misbehaviour::Version,
        Some(505),
    );
    check_rejected(
        &INVITE.replace("INVITE sip:bob@biloxi.com ", "INVITE  sip:bob@biloxi.com "),
        Misbehaviour::RequestUri(UriError::Scheme),
        Some(400),
    );
    check_rejected(
        &INVITE.replace("sip:bob@biloxi.com SIP", "sip:bob@biloxi.com?Route=x SIP"),
        Misbehaviour::RequestUriHeaders,
        Some(400),
    );
    check_rejected(
        &without("CSeq: 314159 INVITE\r\n"),
        Misbehaviour::Missing(Name::CSeq),
        None,
    );
    check_rejected(
        &INVITE.replace("314159 INVITE", "314159 BYE"),
        Misbehaviour::CSeqMethod,
        Some(400),
    );
    check_rejected(
        &INVITE.replace("Length: 4", "Length: 400"),
        Misbehaviour::BodyTruncated {
            announced: 400,
            received: 11,
        },
        Some(400),
    );
    check_rejected(
        &INVITE.replace("Length: 4", "Length: -4"),
        Misbehaviour::Malformed(Name::ContentLength),
        Some(400),
    );
    check_rejected(
        &INVITE.replace("Length: 4", "Length: 4\r\nl: 4"),
        Misbehaviour::Repeated(Name::ContentLength),
        Some(400),
    );
    check_rejected(
        &INVITE.replace("X-Custom:", "X Custom:"),
        Misbehaviour::MalformedHeaderLine,
        Some(400),
    );
    check_rejected(
        &INVITE.replace("Forwards: 70", "Forwards: 300"),
        Misbehaviour::Malformed(Name::MaxForwards),
        Some(400),
    );
    check_rejected(
        &INVITE.replace("m: <", "m: \"<"),
        Misbehaviour::MalformedAddress(Name::Contact, NameAddrError::Display),
        Some(400),
    );
    // Nobody answers a response, an ACK, or a request without a way back.
    check_rejected("SIP/2.0 99 Low\r\n\r\n", Misbehaviour::Status, None);
    check_rejected(
        "SIP/2.0 700 High\r\nVia: SIP/2.0/UDP h\r\n\r\n",
        Misbehaviour::Status,
        None,
    );
    check_rejected(
        &INVITE.replace("INVITE sip", "ACK sip"),
        Misbehaviour::CSeqMethod,
        None,
    );
    check_rejected(
        "OPTIONS sip:h SIP/2.0\r\n\r\n",
        Misbehaviour::Missing(Name::Via),
        None,
    );
}

#[test]
fn an_answer_to_a_broken_request_shows_where_it_came_from() {
    let broken = INVITE.replace("314159 INVITE", "314159 BYE");
    let rejected = parse(&broken)
        .unwrap_err()
        .with_source("198.51.100.1:4000".parse().unwrap());
    let response = Message::parse(rejected.response().unwrap()).unwrap();
    assert_eq!(response.via().rport, Some(Some(4000)));
    assert_eq!(response.values(Name::Via).count(), 3);
    assert!(response.to().tag().is_some());
    assert_eq!(
        rejected.response(),
        parse(&broken)
            .unwrap_err()
            .with_source("198.51.100.1:4000".parse().unwrap())
            .response()
    );
    assert!(response.header(Name::Warning).unwrap().contains("CSeq"));
}

#[test]
fn text_that_is_no_utf8_is_replaced_in_the_head_and_kept_in_the_body() {
    let mut bytes = INVITE.replace("yes, no", "\u{1}").into_bytes();
    let at = bytes.iter().position(|&byte| byte == 1).unwrap();
    bytes[at] = 0xff;
    let body = bytes.len() - 11;
    bytes[body] = 0xfe;
    let message = Message::parse(bytes.clone().into()).unwrap();
    assert_eq!(message.header_by_text("X-Custom"), Some("\u{fffd}"));
    assert_eq!(message.body()[0], 0xfe);
    assert_eq!(message.as_bytes().as_ref(), bytes);
}

#[test]
fn what_does_not_matter_to_a_message_does_not_stop_it() {
    let damaged = INVITE.replace("m: <", "m: \"<");
    for (from, to) in [
        ("INVITE sip:bob@biloxi.com SIP/2.0", "SIP/2.0 200 OK"),
        ("INVITE", "ACK"),
        ("INVITE", "BYE"),
    ] {
        let message = parse(&damaged.replace(from, to)).unwrap();
        assert_eq!(message.contact(), None);
    }
    let response = INVITE.replace("INVITE sip:bob@biloxi.com SIP/2.0", "SIP/2.0 200 OK");
    assert!(parse(&response.replace("Forwards: 70", "Forwards: x")).is_ok());
    // A star is no address, and the contact of nobody.
    assert_eq!(
        parse(&INVITE.replace("<sip:alice@pc33.atlanta.com>", "*"))
            .unwrap()
            .contact(),
        None
    );
}

#[test]
fn an_empty_line_may_be_missing_but_a_line_may_not_be_cut() {
    let (head, _) = INVITE.split_once("\r\n\r\n").unwrap();
    let bare = format!("{}\r\n", head.replace("Length: 4", "Length: 0"));
    assert!(parse(&bare).unwrap().body().is_empty());
    check_rejected(bare.trim_end(), Misbehaviour::HeadNotTerminated, Some(400));
    check_rejected(
        &format!("{head}\r\n"),
        Misbehaviour::BodyTruncated {
            announced: 4,
            received: 0,
        },
        Some(400),
    );
}

#[test]
fn bounds_hold() {
    let many = INVITE.replace("X-Custom: ", &"X-Custom: 1\r\n".repeat(HEADERS_MAX));
    assert_eq!(parse(&many).unwrap_err().why, Misbehaviour::TooManyHeaders);
    let large = format!("{INVITE}{}", "x".repeat(MESSAGE_BYTES_MAX));
    check_rejected(&large, Misbehaviour::TooLarge, None);
}
