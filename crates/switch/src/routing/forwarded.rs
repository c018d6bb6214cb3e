//! By whom a call was forwarded before it came to us, and how the next peer is told: Diversion (RFC 5806) and
//! History-Info (RFC 7044).
//!
//! | came with | goes on with |
//! |---|---|
//! | Diversion | Diversion |
//! | History-Info | History-Info, one entry longer, and Diversion made of it (RFC 7544 §5) for peers that know only that |
//! | both | both, each from its own |
//!
//! Those who ask for privacy are named to carriers alone; to others they are anonymous.

use super::identity::nobody;
use sip::message::{Message, Name, NameAddr, Uri};

/// Diversion values that are carried on; a call that was forwarded more often has lost its history anyway.
pub const MAX_DIVERSIONS: usize = 5;

/// History-Info entries that are carried on: a longer list loses those between the first and the latest.
pub const MAX_HISTORY: usize = 20;

/// Who forwarded a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// Diversion, the latest first.
    diversions: Vec<NameAddr>,
    /// History-Info, the oldest first.
    history: Vec<NameAddr>,
    /// The request asks to hide all of its history.
    private: bool,
}

impl Forwarded {
    /// Reads it from an INVITE. What is malformed says nothing.
    pub fn of(request: &Message) -> Self {
        let mut history: Vec<NameAddr> = request.addresses(Name::HistoryInfo).collect();
        if history.len() > MAX_HISTORY {
            history.drain(1..=history.len() - MAX_HISTORY);
        }
        let diversions: Vec<NameAddr> = request
            .addresses(Name::Diversion)
            .take(MAX_DIVERSIONS)
            .collect();
        let words = ["history", "header", "session"];
        let private = request
            .headers(Name::Privacy)
            .flat_map(|value| value.split([';', ',']))
            .any(|asked| {
                words
                    .iter()
                    .any(|word| word.eq_ignore_ascii_case(asked.trim()))
            });
        Self {
            diversions: if diversions.is_empty() {
                diversions_of(&history, private)
            } else {
                diversions
            },
            history,
            private,
        }
    }

    /// Whether one of those who forwarded the call has a number that is so.
    pub fn is_by(&self, is: impl Fn(&str) -> bool) -> bool {
        self.diversions
            .iter()
            .any(|diversion| diversion.uri.user().is_some_and(&is))
    }

    /// Whether a peer that is told the history has to be told that it is private.
    pub fn is_private_history(&self) -> bool {
        self.private && !self.history.is_empty()
    }

    /// The header lines for a peer that is called by this Request-URI. `trusted`: it is a carrier trunk.
    pub fn headers(&self, trusted: bool, request_uri: &Uri) -> Vec<(String, String)> {
        let mut lines = Vec::with_capacity(self.diversions.len() + self.history.len() + 1);
        let mut push = |name: Name, value: String| lines.push((name.as_str().to_owned(), value));
        for diversion in &self.diversions {
            let hidden = !trusted && wants_privacy(diversion);
            push(Name::Diversion, shown(diversion, hidden).to_string());
        }
        for entry in &self.history {
            let hidden = !trusted && (self.private || is_private_entry(entry));
            push(Name::HistoryInfo, shown(entry, hidden).to_string());
        }
        if let Some(last) = self.history.last() {
            push(Name::HistoryInfo, next_entry(last, request_uri).to_string());
        }
        lines
    }
}

/// The target that we send the call to, as an entry behind the last.
fn next_entry(last: &NameAddr, request_uri: &Uri) -> NameAddr {
    let index = index_of(last).unwrap_or("1");
    // A target that maps to another user, or the same user elsewhere (RFC 7044 §10.4).
    let how = if last.uri.user() == request_uri.user() {
        "rc"
    } else {
        "mp"
    };
    NameAddr::new(None, request_uri.clone())
        .with_param("index", Some(&format!("{index}.1")))
        .with_param(how, Some(index))
}

fn shown(address: &NameAddr, hidden: bool) -> NameAddr {
    let mut address = address.clone();
    if hidden {
        let nobody = nobody();
        (address.display, address.uri) = (nobody.display, nobody.uri);
    }
    address
}

/// Diversion's own parameter: anything but `off` hides something.
fn wants_privacy(diversion: &NameAddr) -> bool {
    let asked = diversion.param("privacy").flatten();
    asked.is_some_and(|asked| !asked.trim_matches('"').eq_ignore_ascii_case("off"))
}

/// A Privacy header within the URI of an entry.
fn is_private_entry(entry: &NameAddr) -> bool {
    entry.uri.headers().split(['?', '&']).any(|header| {
        let (name, value) = header.split_once('=').unwrap_or((header, ""));
        name.eq_ignore_ascii_case("Privacy") && !value.eq_ignore_ascii_case("none")
    })
}

fn index_of(entry: &NameAddr) -> Option<&str> {
    entry.param("index").flatten()
}

/// The diversions that a history speaks of, the latest first: whoever stood before a target that was reached for a
/// cause (RFC 4458) forwarded the call.
fn diversions_of(history: &[NameAddr], private: bool) -> Vec<NameAddr> {
    let mut out = Vec::new();
    for (at, entry) in history.iter().enumerate().rev() {
        let Some(cause) = entry.uri.param("cause").flatten() else {
            continue;
        };
        let named = ["mp", "rc", "np"]
            .into_iter()
            .find_map(|how| entry.param(how).flatten());
        let by = named
            .and_then(|index| history.iter().find(|entry| index_of(entry) == Some(index)))
            .or_else(|| history.get(at.checked_sub(1)?));
        let Some(by) = by else { continue };
        let uri = Uri::build(by.uri.scheme(), by.uri.user(), by.uri.host(), by.uri.port());
        let diversion = NameAddr::new(by.display.as_deref(), uri)
            .with_param("reason", Some(reason_of(cause)))
            .with_param("counter", Some("1"));
        out.push(if private || is_private_entry(by) {
            diversion.with_param("privacy", Some("full"))
        } else {
            diversion
        });
        if out.len() == MAX_DIVERSIONS {
            break;
        }
    }
    out
}

/// Diversion's word for a cause of RFC 4458 (RFC 7544 §5.3).
fn reason_of(cause: &str) -> &'static str {
    match cause {
        "302" => "unconditional",
        "408" => "no-answer",
        "480" | "487" => "deflection",
        "486" => "user-busy",
        "503" => "unavailable",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip::message::ByteStr;

    fn invite(lines: &str) -> Forwarded {
        let text = format!(
            "INVITE sip:2000@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
             From: <sip:1@d>;tag=1\r\nTo: <sip:2000@192.0.2.1>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n{lines}\
             Content-Length: 0\r\n\r\n"
        );
        Forwarded::of(&Message::parse(text.into_bytes().into()).unwrap())
    }

    fn lines(forwarded: &Forwarded, trusted: bool) -> Vec<String> {
        let target = Uri::parse(&ByteStr::copy("sip:2000@carrier")).unwrap();
        let lines = forwarded.headers(trusted, &target).into_iter();
        lines
            .map(|(name, value)| format!("{name}: {value}"))
            .collect()
    }

    #[test]
    fn a_call_nobody_forwarded_has_no_history() {
        assert!(lines(&invite(""), true).is_empty());
        assert!(lines(&invite("Diversion: <not an address\r\n"), true).is_empty());
    }

    #[test]
    fn a_history_grows_by_our_target_and_is_told_as_diversions_too() {
        let forwarded = invite(
            "History-Info: <sip:1001@pbx>;index=1,<sip:1002@pbx;cause=486>;index=1.1;mp=1\r\n\
             History-Info: <sip:2000@sbc;cause=408>;index=1.1.1;mp=1.1\r\n",
        );
        assert_eq!(
            lines(&forwarded, true),
            [
                "Diversion: <sip:1002@pbx>;reason=no-answer;counter=1",
                "Diversion: <sip:1001@pbx>;reason=user-busy;counter=1",
                "History-Info: <sip:1001@pbx>;index=1",
                "History-Info: <sip:1002@pbx;cause=486>;index=1.1;mp=1",
                "History-Info: <sip:2000@sbc;cause=408>;index=1.1.1;mp=1.1",
                "History-Info: <sip:2000@carrier>;index=1.1.1.1;rc=1.1.1",
            ]
        );
        assert!(forwarded.is_by(|user| user == "1001") && !forwarded.is_by(|user| user == "2000"));
    }

    #[test]
    fn a_diversion_of_its_own_is_not_made_anew() {
        let forwarded = invite(
            "Diversion: <sip:1001@pbx>;reason=away\r\n\
             History-Info: <sip:1001@pbx>;index=1, <sip:2001@sbc;cause=302>;index=1.1;mp=1\r\n",
        );
        let lines = lines(&forwarded, true);
        assert_eq!(lines[0], "Diversion: <sip:1001@pbx>;reason=away");
        assert_eq!(
            lines[3],
            "History-Info: <sip:2000@carrier>;index=1.1.1;mp=1.1"
        );
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn who_asks_for_privacy_is_named_to_carriers_alone() {
        let hidden = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";
        let forwarded = invite("Diversion: \"Ann\" <sip:1001@pbx>;reason=away;privacy=full\r\n");
        let ours = "Diversion: \"Ann\" <sip:1001@pbx>;reason=away;privacy=full";
        assert_eq!(lines(&forwarded, true), [ours]);
        let theirs = format!("Diversion: {hidden};reason=away;privacy=full");
        assert_eq!(lines(&forwarded, false), [theirs]);

        let entries = "History-Info: <sip:1001@pbx?Privacy=history>;index=1\r\n\
                       History-Info: <sip:2000@sbc;cause=302>;index=1.1;mp=1\r\n";
        let one = invite(entries);
        assert_eq!(
            lines(&one, true)[1],
            "History-Info: <sip:1001@pbx?Privacy=history>;index=1"
        );
        assert_eq!(
            lines(&one, false)[..3],
            [
                format!("Diversion: {hidden};reason=unconditional;counter=1;privacy=full"),
                format!("History-Info: {hidden};index=1"),
                "History-Info: <sip:2000@sbc;cause=302>;index=1.1;mp=1".to_owned(),
            ]
        );
        let all = invite(&format!("Privacy: history\r\n{entries}"));
        assert!(all.is_private_history() && !one.is_private_history());
        assert_eq!(
            lines(&all, false)[2],
            format!("History-Info: {hidden};index=1.1;mp=1")
        );
    }

    #[test]
    fn lists_are_bounded() {
        let many: String = (1..=30)
            .map(|n| format!("History-Info: <sip:{n}@pbx;cause=302>;index={n}\r\n"))
            .collect();
        let lines = lines(&invite(&many), true);
        let of = |name: &str| lines.iter().filter(|line| line.starts_with(name)).count();
        assert_eq!(
            (of("Diversion"), of("History-Info")),
            (MAX_DIVERSIONS, MAX_HISTORY + 1)
        );
        assert!(
            lines.iter().any(|line| line.contains("<sip:1@pbx")),
            "the first stays"
        );
        assert!(
            lines.iter().any(|line| line.contains("<sip:30@pbx")),
            "and the latest"
        );
    }
}
