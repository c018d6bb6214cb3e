//! Counting SIP messages by what they are, from their first bytes.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a message is counted as; anything else is `other`.
const KINDS: [&str; 21] = [
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "OPTIONS",
    "REGISTER",
    "PRACK",
    "UPDATE",
    "INFO",
    "REFER",
    "NOTIFY",
    "SUBSCRIBE",
    "MESSAGE",
    "PUBLISH",
    "1xx",
    "2xx",
    "3xx",
    "4xx",
    "5xx",
    "6xx",
    "other",
];
const RESPONSES: usize = 14;
const OTHER: usize = 20;

/// Messages of one direction.
#[derive(Default)]
pub(crate) struct MessageCounts([AtomicU64; KINDS.len()]);

impl MessageCounts {
    /// Counts a message.
    pub(crate) fn count(&self, message: &[u8]) {
        self.0[kind(message)].fetch_add(1, Ordering::Relaxed);
    }

    /// Adds up several shards' counts and prints those that are not zero.
    pub(crate) fn print<'a>(
        all: impl Iterator<Item = &'a Self> + Clone,
        direction: &str,
        out: &mut String,
    ) {
        for (index, name) in KINDS.iter().enumerate() {
            let total: u64 = all
                .clone()
                .map(|counts| counts.0[index].load(Ordering::Relaxed))
                .sum();
            if total > 0 {
                let _ = writeln!(
                    out,
                    "strowger_sip_messages_total{{direction=\"{direction}\",kind=\"{name}\"}} {total}"
                );
            }
        }
    }
}

fn kind(message: &[u8]) -> usize {
    if let Some(status) = message.strip_prefix(b"SIP/2.0 ") {
        return match status.first() {
            Some(class @ b'1'..=b'6') => RESPONSES + usize::from(class - b'1'),
            _ => OTHER,
        };
    }
    let method = message
        .split(|byte| *byte == b' ')
        .next()
        .unwrap_or_default();
    KINDS[..RESPONSES]
        .iter()
        .position(|name| name.as_bytes() == method)
        .unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_by_method_and_class() {
        let counts = MessageCounts::default();
        for message in [
            "INVITE sip:a SIP/2.0",
            "SIP/2.0 180 Ringing",
            "SIP/2.0 183 Progress",
            "FROB sip:a",
            "",
            "\r\n",
        ] {
            counts.count(message.as_bytes());
        }
        let mut text = String::new();
        MessageCounts::print([&counts].into_iter(), "in", &mut text);
        let lines: Vec<_> = text
            .lines()
            .map(|line| line.trim_start_matches("strowger_sip_messages_total"))
            .collect();
        assert_eq!(
            lines,
            [
                r#"{direction="in",kind="INVITE"} 1"#,
                r#"{direction="in",kind="1xx"} 2"#,
                r#"{direction="in",kind="other"} 3"#
            ]
        );
    }
}
