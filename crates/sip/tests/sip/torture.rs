//! The torture messages of RFC 4475 and RFC 5118, each with its verdict.
//!
//! What an endpoint then does with each stands in `torture_endpoint.rs`. Where the RFC leaves a
//! choice, the comment at the entry says "Choice:" and why we chose so.

use std::collections::BTreeSet;
use std::path::PathBuf;

use bytes::Bytes;
use sip::Misbehaviour;
use sip::message::uri::unescape;
use sip::message::{Message, Method, Name, NameAddrError, Rejected, Uri, UriError};

/// What reading a message must come to.
enum Verdict {
    /// It is read, and then holds what the function checks. What the layers above answer, if it is
    /// not an ordinary message to them, stands in the comment at the entry.
    Read(fn(&Message)),
    /// It is refused, and this status goes back.
    Refused(u16, Misbehaviour),
    /// It is dropped: a response that cannot be used, and that nobody can be told about.
    Dropped(Misbehaviour),
}

use Verdict::{Dropped, Read, Refused};

/// RFC 4475, in the order of its sections.
const RFC_4475: [(&str, Verdict); 49] = [
    // 3.1.1: valid messages.
    ("wsinv", Read(wsinv)),
    ("intmeth", Read(intmeth)),
    ("esc01", Read(esc01)),
    ("escnull", Read(escnull)),
    ("esc02", Read(esc02)),
    ("lwsdisp", Read(lwsdisp)),
    ("longreq", Read(longreq)),
    ("dblreq", Read(dblreq)),
    ("semiuri", Read(semiuri)),
    ("transports", Read(transports)),
    ("mpart01", Read(mpart01)),
    ("unreason", Read(unreason)),
    ("noreason", Read(noreason)),
    // 3.1.2: invalid messages.
    ("badinv01", Refused(400, Misbehaviour::Malformed(Name::Via))),
    (
        "clerr",
        Refused(
            400,
            Misbehaviour::BodyTruncated {
                announced: 9999,
                received: 154,
            },
        ),
    ),
    (
        "ncl",
        Refused(400, Misbehaviour::Malformed(Name::ContentLength)),
    ),
    // Expires and the expires parameter are out of range too, but those a registrar would bring
    // into its range (RFC 3261 §20.19); CSeq and Max-Forwards leave no choice.
    (
        "scalar02",
        Refused(400, Misbehaviour::Malformed(Name::CSeq)),
    ),
    ("scalarlg", Dropped(Misbehaviour::Malformed(Name::CSeq))),
    (
        "quotbal",
        Refused(
            400,
            Misbehaviour::MalformedAddress(Name::To, NameAddrError::Display),
        ),
    ),
    // Choice: the four malformed request lines are refused rather than repaired. Who sends them is
    // told what is wrong, and no two elements on the path can take one line for different targets.
    (
        "ltgtruri",
        Refused(400, Misbehaviour::RequestUri(UriError::Scheme)),
    ),
    (
        "lwsruri",
        Refused(400, Misbehaviour::RequestUri(UriError::Character)),
    ),
    (
        "lwsstart",
        Refused(400, Misbehaviour::RequestUri(UriError::Scheme)),
    ),
    ("trws", Refused(400, Misbehaviour::MalformedStartLine)),
    ("escruri", Refused(400, Misbehaviour::RequestUriHeaders)),
    // Choice: accepted. We never compute with Date, and a call is worth more than its time zone.
    ("baddate", Read(baddate)),
    (
        "regbadct",
        Refused(
            400,
            Misbehaviour::MalformedAddress(Name::Contact, NameAddrError::NeedsBrackets),
        ),
    ),
    // Choice: accepted. Spaces within the brackets leave no doubt about the address, and what we
    // send on is composed anew, without them.
    ("badaspec", Read(badaspec)),
    // Choice: accepted, for the same reason: From and To are no lists, so the comma in the unquoted
    // display name separates nothing. The message also lacks its empty line; it has no body.
    ("baddn", Read(baddn)),
    ("badvers", Refused(505, Misbehaviour::Version)),
    ("mismatch01", Refused(400, Misbehaviour::CSeqMethod)),
    ("mismatch02", Refused(400, Misbehaviour::CSeqMethod)),
    ("bigcode", Dropped(Misbehaviour::Status)),
    // 3.2: transaction layer.
    ("badbranch", Read(badbranch)),
    // 3.3: application layer.
    ("insuf", Refused(400, Misbehaviour::Missing(Name::From))),
    // 416 by the endpoint.
    ("unkscm", Read(unkscm)),
    // 416 by the endpoint.
    ("novelsc", Read(novelsc)),
    // The registrar refuses an address of record that is no SIP URI.
    ("unksm2", Read(unksm2)),
    // 420 with Unsupported by the endpoint.
    ("bext01", Read(bext01)),
    // 415 with Accept by whoever wants the body.
    ("invut", Read(invut)),
    // Challenged as if there were no Authorization: the digest verdict is "unusable".
    ("regaut01", Read(regaut01)),
    ("multi01", Refused(400, Misbehaviour::Repeated(Name::CSeq))),
    // Choice: refused even where both numbers are equal. Two lengths are two opinions on where a
    // message ends, and nobody sends them without ill intent or a fault.
    (
        "mcl01",
        Refused(400, Misbehaviour::Repeated(Name::ContentLength)),
    ),
    // Dropped by the endpoint: two Via values, and no transaction of ours.
    ("bcast", Read(bcast)),
    // Choice: answered. RFC 4475 allows 483 as well, which other methods get.
    ("zeromf", Read(zeromf)),
    ("cparam01", Read(cparam01)),
    ("cparam02", Read(cparam02)),
    ("regescrt", Read(regescrt)),
    // 406 by whoever would have to answer in text/nobodyKnowsThis.
    ("sdp01", Read(sdp01)),
    // 3.4: backward compatibility.
    ("inv2543", Read(inv2543)),
];

/// RFC 5118, in the order of its sections.
const RFC_5118: [(&str, Verdict); 12] = [
    (
        "ipv6-good",
        Read(|message| check_host(message, "[2001:db8::10]", None)),
    ),
    (
        "ipv6-bad",
        Refused(400, Misbehaviour::RequestUri(UriError::Port)),
    ),
    // The sender meant port 5070 and wrote an address: it cannot be known, so it is an address.
    (
        "port-ambiguous",
        Read(|message| check_host(message, "[2001:db8::10:5070]", None)),
    ),
    (
        "port-unambiguous",
        Read(|message| check_host(message, "[2001:db8::10]", Some(5070))),
    ),
    // Choice: brackets around a received address are taken, and not sent (RFC 5118 §4.5).
    ("via-received-param-with-delim", Read(check_received)),
    ("via-received-param-no-delim", Read(check_received)),
    // As printed, Content-Length is 17 bytes more than the body; with the number mended, the
    // message is read: see `ipv6_in_sdp_is_refused_for_its_length_alone`.
    (
        "ipv6-in-sdp",
        Refused(
            400,
            Misbehaviour::BodyTruncated {
                announced: 268,
                received: 251,
            },
        ),
    ),
    ("mult-ip-in-header", Read(mult_ip_in_header)),
    (
        "mult-ip-in-sdp",
        Read(|message| assert!(body(message).contains("c=IN IP6 2001:db8::1"))),
    ),
    ("ipv4-mapped-ipv6", Read(ipv4_mapped)),
    // Choice: refused. The grammar of RFC 3261 yields three colons by mistake, but no reader of
    // addresses knows what they mean (RFC 5118 §4.10).
    (
        "ipv6-bug-abnf-3-colons",
        Refused(400, Misbehaviour::RequestUri(UriError::Host)),
    ),
    (
        "ipv6-correct-abnf-2-colons",
        Read(|message| check_host(message, "[2001:db8::192.0.2.1]", None)),
    ),
];

#[test]
fn rfc_4475() {
    check_all("rfc4475", &RFC_4475);
}

#[test]
fn rfc_5118() {
    check_all("rfc5118", &RFC_5118);
}

#[test]
fn ipv6_in_sdp_is_refused_for_its_length_alone() {
    let text = String::from_utf8(bytes("rfc5118", "ipv6-in-sdp")).unwrap();
    let mended = Message::parse(
        text.replace("Content-Length: 268", "Content-Length: 251")
            .into(),
    )
    .unwrap();
    check_host(&mended, "[2001:db8::10]", None);
    assert!(body(&mended).contains("c=IN IP6 2001:db8::20"));
}

/// What we compose of a message's parts is read again as the same parts.
#[test]
fn typed_parts_survive_printing() {
    let messages = RFC_4475.iter().map(|(name, _)| ("rfc4475", name));
    for (folder, name) in messages.chain(RFC_5118.iter().map(|(name, _)| ("rfc5118", name))) {
        let Ok(message) = Message::parse(bytes(folder, name).into()) else {
            continue;
        };
        let contact = message.contact();
        for address in [Some(message.from()), Some(message.to()), contact.as_ref()]
            .into_iter()
            .flatten()
        {
            let again: sip::message::NameAddr = address.to_string().parse().unwrap();
            assert_eq!(
                (&again.uri, again.params()),
                (&address.uri, address.params()),
                "{name}"
            );
        }
        let via = sip::message::Via::parse(&message.via().to_string().into()).unwrap();
        assert_eq!(via.branch, message.via().branch, "{name}");
        assert_eq!(message.cseq().to_string().split(' ').count(), 2, "{name}");
    }
}

fn check_all(folder: &str, table: &[(&str, Verdict)]) {
    let in_table: BTreeSet<String> = table
        .iter()
        .map(|(name, _)| format!("{name}.dat"))
        .collect();
    let in_folder: BTreeSet<String> = std::fs::read_dir(path(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(in_table, in_folder, "table and folder differ");
    for (name, verdict) in table {
        println!("{name}");
        let bytes = Bytes::from(bytes(folder, name));
        check(Message::parse(bytes), verdict);
    }
}

fn check(result: Result<Message, Rejected>, verdict: &Verdict) {
    match (verdict, result) {
        (Read(holds), Ok(message)) => {
            holds(&message);
            check_can_be_answered(&message);
        }
        (Refused(status, why), Err(rejected)) => {
            assert_eq!(rejected.why, *why);
            let response = rejected.response().expect("no answer");
            let start = format!("SIP/2.0 {status} ");
            assert!(response.starts_with(start.as_bytes()), "{response:?}");
            assert!(response.ends_with(b"Content-Length: 0\r\n\r\n"));
        }
        (Dropped(why), Err(rejected)) => {
            assert_eq!(rejected.why, *why);
            assert_eq!(rejected.response(), None);
        }
        (Read(_), Err(rejected)) => panic!("refused: {rejected}"),
        (Refused(..) | Dropped(_), Ok(_)) => panic!("read"),
    }
}

/// Whatever is read can be answered, and the answer read again.
fn check_can_be_answered(message: &Message) {
    if message.is_request() {
        let response = sip::message::ResponseDraft::new(404).print(message);
        let response = Message::parse(response).expect("unreadable response");
        assert_eq!(response.header(Name::To), message.header(Name::To));
        assert_eq!(
            response.headers(Name::Via).count(),
            message.headers(Name::Via).count()
        );
        assert_eq!(response.call_id(), message.call_id());
    }
}

fn path(folder: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/torture")
        .join(folder)
}

fn bytes(folder: &str, name: &str) -> Vec<u8> {
    std::fs::read(path(folder).join(format!("{name}.dat"))).unwrap()
}

fn body(message: &Message) -> &str {
    std::str::from_utf8(message.body()).unwrap()
}

fn uri(message: &Message) -> &Uri {
    message.uri().expect("a request")
}

// --- RFC 4475 ---

fn wsinv(message: &Message) {
    assert_eq!(message.method(), Some(&Method::Invite));
    assert_eq!(uri(message).param("unknownparam"), Some(None));
    assert_eq!(message.to().tag(), Some("1918181833n"));
    assert_eq!(message.from().display.as_deref(), Some("J Rosenberg \\\""));
    assert_eq!(message.from().tag(), Some("98asjd8"));
    assert_eq!(message.max_forwards(), Some(68));
    assert_eq!(message.cseq().to_string(), "9 INVITE");
    assert_eq!(message.via().branch.as_deref(), Some("390skdjuw"));
    assert_eq!(message.values(Name::Via).count(), 3);
    assert_eq!(message.header(Name::Subject), Some(""));
    assert_eq!(
        message.header_by_text("newfangledheader"),
        Some("newfangled value continued newfangled value")
    );
    assert_eq!(
        message.header_by_text("UnknownHeaderWithUnusualValue"),
        Some(";;,,;;,;")
    );
    let route = message.addresses(Name::Route).next().unwrap();
    assert!(route.uri.is_loose() && route.uri.param("unknown-no-value") == Some(None));
    let contact = message.contact().unwrap();
    assert_eq!(contact.display.as_deref(), Some("Quoted string \"\""));
    assert_eq!(contact.param("newparam"), Some(Some("newvalue")));
    assert_eq!(contact.param("secondparam"), Some(None));
    assert_eq!(message.body().len(), 150);
}

fn intmeth(message: &Message) {
    assert_eq!(
        message.method().map(Method::as_str),
        Some("!interesting-Method0123456789_*+`.%indeed'~")
    );
    assert_eq!(uri(message).host(), "example.com");
    assert_eq!(
        uri(message).user(),
        Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*")
    );
    assert_eq!(
        message.to().display.as_deref(),
        Some("BEL:\u{7} NUL:\0 DEL:\u{7f}")
    );
    assert_eq!(
        message.from().display.as_deref(),
        Some("token1~` token2'+_ token3*%!.-")
    );
    assert_eq!(
        message.from().param("fromParam''~+*_!.-%"),
        Some(Some("\"работающий\""))
    );
    assert_eq!(message.from().tag(), Some("_token~1'+`*%!-."));
    assert_eq!(
        message.header_by_text("extensionHeader-!.%*+_`'~"),
        Some("\u{feff}大停電")
    );
    assert_eq!(message.max_forwards(), Some(255));
}

fn esc01(message: &Message) {
    assert_eq!(
        uri(message).user_unescaped().as_deref(),
        Some("sips:user@example.com")
    );
    assert_eq!(uri(message).scheme(), "sip");
    assert_eq!(
        message.from().uri.user_unescaped().as_deref(),
        Some("I have spaces")
    );
    let contact = message.contact().unwrap().uri;
    assert_eq!(contact.user_unescaped().as_deref(), Some("caller"));
    // `%6C%72` is `lr` only by comparison (RFC 3261 §19.1.4), not by its text.
    let plain: Uri = "sip:caller@host5.example.net;lr;name=value%25%34%31"
        .parse()
        .unwrap();
    assert!(contact.equivalent(&plain));
    assert!(!contact.equivalent(&plain.with_param("name", Some("valueA"))));
    assert_eq!(unescape("value%25%34%31"), "value%41");
}

fn escnull(message: &Message) {
    assert_eq!(
        message.to().uri.user_unescaped().as_deref(),
        Some("null-\0-null")
    );
    let contacts: Vec<_> = message
        .addresses(Name::Contact)
        .map(|contact| contact.uri)
        .collect();
    assert_eq!(contacts.len(), 2);
    assert!(!contacts[0].equivalent(&contacts[1]));
}

fn esc02(message: &Message) {
    assert_eq!(
        message.method(),
        Some(&Method::Other("RE%47IST%45R".into()))
    );
    assert_eq!(message.to().display.as_deref(), Some("%Z%45"));
    assert_eq!(
        message.via().branch.as_deref(),
        Some("z9hG4bK209%fzsnel234")
    );
    assert_eq!(message.headers(Name::Contact).count(), 2);
    assert!(message.header_by_text("C%6Fntact").is_some());
}

fn lwsdisp(message: &Message) {
    assert_eq!(message.from().display.as_deref(), Some("caller"));
}

fn longreq(message: &Message) {
    assert_eq!(message.values(Name::Via).count(), 34);
    assert!(message.from().tag().is_some_and(|tag| tag.len() > 100));
    assert!(message.call_id().len() > 100);
    assert_eq!(message.body().len(), 150);
}

fn dblreq(message: &Message) {
    // What follows in the datagram does not belong to the message, and is not looked at.
    assert_eq!(message.method(), Some(&Method::Register));
    assert!(message.body().is_empty());
}

fn semiuri(message: &Message) {
    assert_eq!(
        uri(message).user_unescaped().as_deref(),
        Some("user;par=u@example.net")
    );
    assert_eq!(uri(message).params(), "");
    assert_eq!(message.values(Name::Accept).count(), 6);
}

fn transports(message: &Message) {
    assert_eq!(message.values(Name::Via).count(), 5);
    for via in message.values_shared(Name::Via) {
        assert!(sip::message::Via::parse(&via).is_some(), "{via}");
    }
}

fn mpart01(message: &Message) {
    assert_eq!(
        message.content_type(),
        Some("multipart/mixed;boundary=7a9cbec02ceef655")
    );
    assert_eq!(message.body().len(), 553);
    assert!(message.body().iter().any(|byte| *byte >= 0x80));
}

fn unreason(message: &Message) {
    assert_eq!(
        (message.status(), message.reason()),
        (Some(200), "= 2**3 * 5**2 но сто девяносто девять - простое")
    );
}

fn noreason(message: &Message) {
    assert_eq!((message.status(), message.reason()), (Some(100), ""));
}

fn baddate(message: &Message) {
    assert_eq!(
        message.header(Name::Date),
        Some("Fri, 01 Jan 2010 16:00:00 EST")
    );
}

fn badaspec(message: &Message) {
    assert_eq!(
        message.to().to_string(),
        "\"Watson, Thomas\" <sip:t.watson@example.org>"
    );
}

fn baddn(message: &Message) {
    assert_eq!(
        message.from().to_string(),
        "\"Bell, Alexander\" <sip:a.g.bell@example.com>;tag=43"
    );
}

fn badbranch(message: &Message) {
    // The cookie with nothing behind it is not unique: matched as RFC 2543 did.
    assert_eq!(message.via().branch.as_deref(), Some("z9hG4bK"));
    assert_eq!(message.via().unique_branch(), None);
}

fn unkscm(message: &Message) {
    assert_eq!(uri(message).scheme(), "nobodyknowsthisscheme");
}

fn novelsc(message: &Message) {
    assert_eq!(uri(message).scheme(), "soap.beep");
}

fn unksm2(message: &Message) {
    assert_eq!(message.to().uri.scheme(), "isbn");
    assert_eq!(message.from().uri.scheme(), "http");
    assert_eq!(
        message
            .contact()
            .map(|contact| contact.uri.to_string())
            .as_deref(),
        Some("name:John_Smith")
    );
}

fn bext01(message: &Message) {
    assert!(message.has_token(Name::Require, "nothingSupportsThisEither"));
    assert_eq!(message.values(Name::ProxyRequire).count(), 2);
}

fn invut(message: &Message) {
    assert_eq!(message.content_type(), Some("application/unknownformat"));
}

fn regaut01(message: &Message) {
    let value = message.header(Name::Authorization).unwrap();
    let mut server = sip::auth::Authenticator::new([0; 32]);
    let now = std::time::Instant::now();
    let verdict = server.verify(
        now,
        "REGISTER",
        value,
        b"",
        "example.com",
        "j.user",
        &"secret".into(),
    );
    assert_eq!(verdict, sip::auth::Verdict::Unusable);
}

fn bcast(message: &Message) {
    assert_eq!(message.values(Name::Via).count(), 2);
}

fn zeromf(message: &Message) {
    assert_eq!(message.max_forwards(), Some(0));
}

fn cparam01(message: &Message) {
    let contact = message.contact().unwrap();
    assert_eq!(
        (contact.uri.params(), contact.params()),
        ("", ";unknownparam")
    );
}

fn cparam02(message: &Message) {
    let contact = message.contact().unwrap();
    assert_eq!(
        (contact.uri.params(), contact.params()),
        (";unknownparam", "")
    );
}

fn regescrt(message: &Message) {
    assert_eq!(
        message.contact().unwrap().uri.headers(),
        "Route=%3Csip:sip.example.com%3E"
    );
}

fn sdp01(message: &Message) {
    assert_eq!(message.header(Name::Accept), Some("text/nobodyKnowsThis"));
}

fn inv2543(message: &Message) {
    assert_eq!(message.via().branch, None);
    assert_eq!((message.from().tag(), message.max_forwards()), (None, None));
    // Without a Content-Length the body is the rest of the datagram.
    assert!(body(message).starts_with("v=0\r\n") && body(message).ends_with("0\r\n"));
}

// --- RFC 5118 ---

fn check_host(message: &Message, host: &str, port: Option<u16>) {
    assert_eq!((uri(message).host(), uri(message).port()), (host, port));
    assert!(
        uri(message)
            .host_ip()
            .is_some_and(|address| address.is_ipv6())
    );
}

fn check_received(message: &Message) {
    assert_eq!(message.via().received, "2001:db8::9:255".parse().ok());
    assert!(
        message
            .via()
            .to_string()
            .contains(";received=2001:db8::9:255")
    );
}

fn mult_ip_in_header(message: &Message) {
    let vias: Vec<_> = message
        .values_shared(Name::Via)
        .map(|via| sip::message::Via::parse(&via).unwrap())
        .collect();
    assert_eq!(
        (&*vias[0].host, vias[0].port),
        ("[2001:db8::9:1]", Some(6050))
    );
    assert_eq!(&*vias[1].host, "192.0.2.1");
    assert_eq!(vias[2].received, "192.0.2.200".parse().ok());
}

fn ipv4_mapped(message: &Message) {
    assert_eq!(
        (&*message.via().host, message.via().port),
        ("[::ffff:192.0.2.10]", Some(19823))
    );
    assert_eq!(
        message.contact().unwrap().uri.host_ip(),
        "::ffff:192.0.2.2".parse().ok()
    );
}
