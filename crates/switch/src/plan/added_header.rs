//! The header line that a dial rule adds.

use crate::routing::translate::{Tokens, translate};
use model::header_line;
use sip::message::Name;

/// `Name: value` of a rule's parameter with its tokens replaced, unless the name is reserved. The store may hold what the
/// API would not take, and what a token stands for comes from elsewhere, so both are looked at here.
pub(super) fn added_header(
    parameter: &str,
    tokens: &Tokens,
    called_user: &str,
) -> Option<(String, String)> {
    let (name, value) = header_line::parse(parameter).ok()?;
    // A compact form takes the place of what would be written anyway only under the name that we write.
    let name = match Name::parse(name) {
        Name::Other => name,
        known => known.as_str(),
    };
    let value = translate(value, called_user, tokens);
    header_line::is_one_line(&value).then(|| (name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use sip::message::{Headers, Message, Method, RequestDraft};

    /// What a request of ours has without any line added.
    const OURS: [Name; 7] = [
        Name::Via,
        Name::MaxForwards,
        Name::From,
        Name::To,
        Name::CallId,
        Name::CSeq,
        Name::ContentLength,
    ];

    /// Names and lines of a request with this header, read as any peer would.
    fn printed(header: Option<&(String, String)>) -> (Message, Vec<String>) {
        let mut headers = Headers::new();
        if let Some((name, value)) = header {
            headers.push(name, value);
        }
        let draft = RequestDraft {
            method: Method::Invite,
            uri: "sip:7@carrier.example".parse().expect("a URI"),
            max_forwards: 70,
            from: "<sip:1@us.example>;tag=a".into(),
            to: "<sip:7@carrier.example>".into(),
            call_id: "c".into(),
            cseq: 1,
            routes: Vec::new(),
            contact: None,
            headers,
            content_type: None,
            body: Bytes::new(),
        };
        let bytes = draft.print("SIP/2.0/UDP us.example;branch=z9hG4bK1");
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        let head = text.strip_suffix("\r\n\r\n").expect("no body");
        let lines = head.split("\r\n").skip(1).map(str::to_owned).collect();
        (Message::parse(bytes).expect("a message"), lines)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn whatever_the_field_says_one_line_is_added_or_none(
            name in prop_oneof![
                "[a-zA-Z]",
                "[vVfFtTiImMlLcCeE]",
                "(?i:via|from|to|call-id|cseq|contact|route|record-route|max-forwards|content-[a-z]{0,9})",
                "[-A-Za-z.!%*_+`'~]{1,12}",
                "[ \t\r\n\0:<>;,\"%a-zA-Zé\u{2028}\u{85}]{0,12}",
            ],
            around in "[ \t\r\n\0\u{a0}\u{feff}]{0,2}",
            value in "[ \t\r\n\0:<>;,\"%a-zA-Z*\\[\\]!é\u{2028}\u{85}\u{7f}]{0,24}",
            own_domain in "[ \t\r\n\0:<>;,\"a-z]{0,12}",
            called in "[ \t\r\n\0:<>;,\"a-z0-9]{0,12}",
        ) {
            let tokens = Tokens { own_domain, ..Tokens::default() };
            for line in [
                format!("{around}{name}{around}:{around}{value}"),
                format!("{name}: <OwnDomain>{value}[*]"),
            ] {
                let added = added_header(&line, &tokens, &called);
                let (message, lines) = printed(added.as_ref());
                prop_assert_eq!(lines.len(), OURS.len() + usize::from(added.is_some()), "{:?}", line);
                for ours in OURS {
                    prop_assert_eq!(message.headers(ours).count(), 1, "{} of {:?}", ours, line);
                }
                for theirs in [Name::Contact, Name::Route, Name::RecordRoute] {
                    prop_assert_eq!(message.header(theirs), None, "{:?}", line);
                }
                for line in &lines {
                    prop_assert!(!line.contains(|c: char| c.is_ascii_control() && c != '\t'), "{:?}", line);
                }
                prop_assert!(message.body().is_empty());
            }
        }
    }

    /// The list of the records and the names of the messages are made in different places.
    #[test]
    fn a_compact_form_is_reserved_with_its_name() {
        for letter in ('a'..='z').chain('A'..='Z').map(String::from) {
            let known = Name::parse(&letter);
            let reserved = header_line::is_reserved(known.as_str());
            assert_eq!(
                header_line::is_reserved(&letter),
                reserved,
                "{letter} is {known}"
            );
        }
    }

    #[test]
    fn a_compact_form_that_is_free_is_written_in_full() {
        let added = |line| added_header(line, &Tokens::default(), "7");
        assert_eq!(added("s: hello"), Some(("Subject".into(), "hello".into())));
        assert_eq!(added("n: [*]"), Some(("n".into(), "7".into())));
        assert_eq!(added("V: SIP/2.0/UDP evil"), None);
    }
}
