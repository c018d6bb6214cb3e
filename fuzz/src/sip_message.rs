//! Reads a datagram, looks at everything, and answers it.

use bytes::Bytes;
use sip::message::{Message, Name, ResponseDraft};

pub fn run(data: &[u8]) {
    let source = "[2001:db8::7]:99".parse().expect("an address");
    match Message::parse(Bytes::copy_from_slice(data)) {
        Ok(message) => answer(&message.with_source(source)),
        Err(rejected) => {
            if let Some(response) = rejected.with_source(source).response() {
                let ends = response
                    .windows(4)
                    .filter(|window| window == b"\r\n\r\n")
                    .count();
                assert_eq!(ends, 1, "a response with two ends");
            }
        }
    }
}

fn answer(message: &Message) {
    for name in Name::KNOWN {
        message.values(*name).for_each(drop);
        message.addresses(*name).for_each(drop);
    }
    for (name, _, value) in message.all_headers() {
        assert!(message.header_by_text(name).is_some());
        assert!(!value.contains(['\r', '\n']));
    }
    if message.is_request() {
        let mut draft = ResponseDraft::new(200);
        draft.to_tag = Some("ours".into());
        let response = Message::parse(draft.print(message)).expect("our response cannot be read");
        assert_eq!(response.call_id(), message.call_id());
        assert_eq!(response.cseq(), message.cseq());
        assert_eq!(response.from(), message.from());
        assert!(response.via().received.is_some());
    }
}
