//! Who is calling, as far as we believe it, and how a connection is told.
//!
//! A carrier trunk is believed (RFC 3325 §5): P-Asserted-Identity, else Remote-Party-ID, else From says who calls,
//! and its Privacy is kept. Any other connection only says so in From. Its number is checked against those of its
//! domain when the call leaves for another party, and replaced by the domain's caller ID if it is none of them.

use crate::directory::Directory;
use crate::routing::forwarded::Forwarded;
use crate::routing::numbers;
use crate::routing::permissions::is_emergency;
use crate::routing::translate::{Tokens, translate};
use model::{Connection, Domain};
use sip::message::{ByteStr, Message, Name, NameAddr, Uri};

/// What an INVITE says about its caller besides From.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// P-Asserted-Identity: a SIP URI where there is one, else whatever it is.
    asserted: Option<NameAddr>,
    /// Remote-Party-ID of the party that is meant.
    remote_party: Option<NameAddr>,
    /// Privacy, or that of the Remote-Party-ID, asks to hide the caller.
    private: bool,
    /// By whom the call was forwarded.
    forwarded: Forwarded,
}

impl Claims {
    /// By whom the call was forwarded.
    pub fn forwarded(&self) -> &Forwarded {
        &self.forwarded
    }

    /// Reads them from an INVITE. What is malformed claims nothing.
    pub fn of(request: &Message) -> Self {
        Self::about(request, &["calling"])
    }

    /// Reads them from a message within a call: there the sender means itself, whichever side of the call it is.
    pub fn within(message: &Message) -> Self {
        Self::about(message, &["calling", "called"])
    }

    /// Whether they name somebody.
    pub fn identifies(&self) -> bool {
        self.asserted.is_some() || self.remote_party.is_some()
    }

    fn about(request: &Message, parties: &[&str]) -> Self {
        let parsed = |name| {
            request
                .values(name)
                .filter_map(|value| NameAddr::parse(&ByteStr::copy(value)).ok())
        };
        let asserted = parsed(Name::PAssertedIdentity)
            .find(|id| id.uri.user().is_some())
            .or_else(|| parsed(Name::PAssertedIdentity).next());
        let remote_party = parsed(Name::RemotePartyId).find(|id| {
            id.param("party")
                .flatten()
                .is_none_or(|party| parties.iter().any(|it| party.eq_ignore_ascii_case(it)))
        });
        let words = ["id", "user", "full", "header"];
        let asks = |value: &str| {
            words
                .iter()
                .any(|word| word.eq_ignore_ascii_case(value.trim()))
        };
        let private = request
            .headers(Name::Privacy)
            .flat_map(|value| value.split([';', ',']))
            .any(asks)
            || remote_party
                .as_ref()
                .and_then(|id| id.param("privacy").flatten())
                .is_some_and(|privacy| !privacy.eq_ignore_ascii_case("off"));
        Self {
            private,
            asserted,
            remote_party,
            forwarded: Forwarded::of(request),
        }
    }
}

/// The caller of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Name and URI.
    pub id: NameAddr,
    /// Where that stood.
    pub header: &'static str,
    /// Nobody but a trusted party may learn who it is.
    pub private: bool,
}

// Where it stood, the trail has said.
keep::keep!(struct Caller { id, private; header: "From" });

/// Who calls by an INVITE with this From and these claims. `trusted`: the connection is a carrier trunk.
pub fn caller(trusted: bool, from: &NameAddr, claims: &Claims) -> Caller {
    let by_from = || (from.clone(), "From");
    let (id, header) = if !trusted {
        by_from()
    } else if let Some(id) = &claims.asserted {
        (id.clone(), "P-Asserted-Identity")
    } else if let Some(id) = &claims.remote_party {
        (id.clone(), "Remote-Party-ID")
    } else {
        by_from()
    };
    Caller {
        id: NameAddr::new(id.display.as_deref(), as_sip(&id.uri, &from.uri)),
        header,
        private: trusted && claims.private,
    }
}

/// A `tel:` URI as a SIP URI at the host of another; others as they are.
fn as_sip(uri: &Uri, at: &Uri) -> Uri {
    match uri.as_str().split_once(':') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("tel") => {
            let number = rest.split(';').next().unwrap_or(rest);
            let number: String = number
                .chars()
                .filter(|c| !matches!(c, '-' | '.' | '(' | ')'))
                .collect();
            Uri::build("sip", Some(&number), at.host(), at.port())
        }
        _ => uri.clone(),
    }
}

/// Whether a number may stand for a domain: its caller ID, its emergency number or one of its phone numbers, or the
/// caller was forwarded by one of them.
fn is_own(directory: &Directory, domain: &Domain, number: &str, claims: &Claims) -> bool {
    let bare = |number: &str| number.trim_start_matches('+').to_owned();
    let own = [&domain.caller_id_number, &domain.caller_id_number_emergency];
    let is = |number: &str| {
        own.iter()
            .any(|own| !own.is_empty() && bare(own) == bare(number))
            || numbers::belongs_to(directory, &domain.domain, number)
    };
    is(number) || claims.forwarded.is_by(is)
}

/// Name and number that stand in for a caller whose number is not its domain's. `None`: it may show its own.
pub fn substitute<'a>(
    directory: &'a Directory,
    source: &Connection,
    target: &Connection,
    number: &str,
    claims: &Claims,
) -> Option<(&'a str, &'a str)> {
    // Between two trunks of one tenant, extensions are what people know each other by.
    let internal = target.domain == source.domain && !target.connection_is_carrier_trunk;
    if source.connection_is_carrier_trunk || internal {
        return None;
    }
    let domain = directory.part(&source.domain)?.domain.as_ref()?;
    let replaced =
        !domain.caller_id_number.is_empty() && !is_own(directory, domain, number, claims);
    replaced.then_some((&domain.caller_id_name, &domain.caller_id_number))
}

/// What an INVITE to a connection is to say of its caller.
#[derive(Debug, Clone, Copy)]
pub struct Outbound<'a> {
    /// The connection that is called.
    pub target: &'a Connection,
    /// Caller as From would name it, after all translations.
    pub from: &'a NameAddr,
    /// Number before the connection's translations: what `[*]` stands for.
    pub number: &'a str,
    /// The caller is to be hidden.
    pub private: bool,
    /// The destination's user part.
    pub called: &'a str,
    /// What the INVITE that came in claimed.
    pub claims: &'a Claims,
    /// Values of `<…>`.
    pub tokens: &'a Tokens,
}

/// From and the identity headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// From, without tag.
    pub from: NameAddr,
    /// Privacy, P-Asserted-Identity, Remote-Party-ID.
    pub headers: Vec<(String, String)>,
    /// The caller is hidden.
    pub hidden: bool,
}

/// What stands in the identity headers for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format<'a> {
    Nothing,
    Asserted,
    RemoteParty,
    Template(&'a str),
    Fixed(&'a str),
}

impl<'a> Format<'a> {
    fn of(target: &'a Connection) -> Self {
        let text = target.connection_custom_p_asserted_id_format.trim();
        let is = |word: &str| text.eq_ignore_ascii_case(word);
        match text {
            "" | "''" if target.connection_is_carrier_trunk => Self::Asserted,
            "" | "''" => Self::Nothing,
            _ if is("none") => Self::Nothing,
            _ if is("passerted") => Self::Asserted,
            _ if is("rpid") => Self::RemoteParty,
            _ if text.contains("[*]") || text.contains(['<', '@']) => Self::Template(text),
            _ => Self::Fixed(text),
        }
    }
}

/// Who stands in place of somebody hidden (RFC 3323 §4.1.1.3).
pub(crate) fn nobody() -> NameAddr {
    let uri = Uri::build("sip", Some("anonymous"), "anonymous.invalid", None);
    NameAddr::new(Some("Anonymous"), uri)
}

/// Writes the caller for a connection (RFC 3323, 3325).
pub fn outbound(call: Outbound<'_>) -> Written {
    let trusted = call.target.connection_is_carrier_trunk;
    // Whoever answers an emergency call has to know where to send help.
    let hidden = call.private && !is_emergency(call.called);
    let mut headers = Vec::new();
    let mut push = |name: &str, value: String| headers.push((name.to_owned(), value));
    let history = trusted && call.claims.forwarded.is_private_history();
    let privacy: Vec<&str> = [(hidden, "id"), (history, "history")]
        .into_iter()
        .filter_map(|(asked, word)| asked.then_some(word))
        .collect();
    if !privacy.is_empty() {
        push("Privacy", privacy.join(";"));
    }
    let may_name = trusted || !hidden;
    let asserted = "P-Asserted-Identity";
    match Format::of(call.target) {
        Format::Asserted if may_name => push(asserted, call.from.to_text()),
        Format::RemoteParty if may_name => {
            let privacy = if hidden { "full" } else { "off" };
            let from = call.from;
            push(
                "Remote-Party-ID",
                format!("{from};party=calling;screen=yes;privacy={privacy}"),
            );
        }
        Format::Template(template) if may_name => {
            let text = translate(template, call.number, call.tokens);
            let text = if text.contains(':') {
                text
            } else {
                format!("sip:{text}")
            };
            if let Ok(uri) = Uri::parse(&ByteStr::from(text)) {
                let name = call.from.display.as_deref();
                push(asserted, NameAddr::new(name, uri).to_string());
            }
        }
        Format::Fixed(number) => {
            let from = &call.from.uri;
            let uri = Uri::build("sip", Some(number), from.host(), from.port());
            push(asserted, NameAddr::new(None, uri).to_string());
        }
        _ => {}
    }
    let from = if hidden { nobody() } else { call.from.clone() };
    Written {
        from,
        headers,
        hidden,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> NameAddr {
        NameAddr::parse(&ByteStr::copy(text)).unwrap()
    }

    fn written(target: &Connection, private: bool, called: &str) -> Vec<String> {
        let from = id("\"Ann\" <sip:+12125550111@us.example>");
        let tokens = Tokens {
            app_ip: "192.0.2.1".into(),
            ..Tokens::default()
        };
        let out = outbound(Outbound {
            target,
            from: &from,
            number: "12125550111",
            private,
            called,
            claims: &Claims::default(),
            tokens: &tokens,
        });
        let headers = out
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}"));
        std::iter::once(out.from.to_string())
            .chain(headers)
            .collect()
    }

    #[test]
    fn each_format_writes_its_header() {
        let from = "\"Ann\" <sip:+12125550111@us.example>";
        let cases = [
            ("", false, vec![]),
            ("", true, vec![format!("P-Asserted-Identity: {from}")]),
            (
                "passerted",
                false,
                vec![format!("P-Asserted-Identity: {from}")],
            ),
            ("none", true, vec![]),
            (
                "rpid",
                false,
                vec![format!(
                    "Remote-Party-ID: {from};party=calling;screen=yes;privacy=off"
                )],
            ),
            (
                "sip:00[*]@<AppIP>",
                false,
                vec!["P-Asserted-Identity: \"Ann\" <sip:0012125550111@192.0.2.1>".to_owned()],
            ),
            (
                "8005550100",
                false,
                vec!["P-Asserted-Identity: <sip:8005550100@us.example>".to_owned()],
            ),
        ];
        for (format, carrier, headers) in cases {
            let target = Connection {
                connection_custom_p_asserted_id_format: format.into(),
                connection_is_carrier_trunk: carrier,
                ..Connection::default()
            };
            let mut expected = vec![from.to_owned()];
            expected.extend(headers);
            assert_eq!(written(&target, false, "2000"), expected, "{format:?}");
        }
    }

    #[test]
    fn only_carriers_learn_who_hides() {
        let mut target = Connection {
            connection_custom_p_asserted_id_format: "passerted".into(),
            ..Connection::default()
        };
        let hidden = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";
        assert_eq!(written(&target, true, "2000"), [hidden, "Privacy: id"]);
        target.connection_is_carrier_trunk = true;
        assert_eq!(written(&target, true, "2000").len(), 3);
        // Help has to find the caller.
        assert!(written(&target, true, "911")[0].starts_with("\"Ann\""));
    }

    #[test]
    fn a_carrier_is_believed_and_others_are_not() {
        let from = id("<sip:anonymous@anonymous.invalid>");
        let claims = Claims {
            asserted: Some(id("<tel:+1-212-555-0111>")),
            private: true,
            ..Claims::default()
        };
        let believed = caller(true, &from, &claims);
        assert_eq!(believed.id.uri.user(), Some("+12125550111"));
        assert!(believed.private);
        let other = caller(false, &from, &claims);
        assert_eq!(
            (other.id.uri.user(), other.private),
            (Some("anonymous"), false)
        );
    }
}
