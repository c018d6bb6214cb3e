//! The pattern language of connections, dial rules, routes and policies.
//!
//! | written | matches |
//! |---|---|
//! | `*` | any run of characters, also none |
//! | `?` | exactly one character |
//! | `[1-5]`, `[135]` | one character of the set; `[*]`, `[?]`, `[#]` are the literal character |
//! | others | themselves |
//!
//! Anchored at both ends. Scheme and host compare without case, the user part with case
//! (RFC 3261 §19.1.4). A pattern without `@` is held against the user part alone, and `*` alone matches
//! everything. A port counts only where the pattern's host has one. When the tested user is a number with
//! `+` in front and the pattern's user does not begin with `+`, the `+` is left out of the comparison.
//!
//! Of several patterns that match, the most specific wins: see [`Rank`].

use std::cmp::Reverse;
use std::fmt;

/// Longest pattern accepted, in bytes.
pub const MAX_PATTERN_BYTES: usize = 512;

/// A pattern ready to be matched.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    tokens: Box<[Token]>,
    scope: Scope,
    /// Lower-case host without port when the host part has no wildcard: the key of an index.
    literal_host: Option<String>,
    /// The user when that part has no wildcard.
    literal_user: Option<String>,
    user_rank: PartRank,
    host_rank: PartRank,
    keeps_plus: bool,
}

/// What a pattern is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Everything,
    UserOnly,
    Uri,
    UriWithPort,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Byte(u8),
    AnyRun,
    AnyOne,
    OneOf(Box<[u8; 32]>),
}

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternError {
    /// Nothing to match.
    Empty,
    /// A `[` without its `]`.
    UnclosedSet,
    /// `[]` would match nothing.
    EmptySet,
    /// Longer than [`MAX_PATTERN_BYTES`].
    TooLong,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a pattern must not be empty"),
            Self::UnclosedSet => write!(f, "a set opened with [ must be closed with ]"),
            Self::EmptySet => write!(f, "a set [] must name at least one character"),
            Self::TooLong => write!(f, "a pattern has at most {MAX_PATTERN_BYTES} bytes"),
        }
    }
}

impl std::error::Error for PatternError {}

/// How specific one part of a pattern is. Greater wins: no wildcard, then more literal characters, fewer
/// `*`, more `?` (a set counts as one), longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct PartRank {
    exact: bool,
    literals: u16,
    runs: Reverse<u16>,
    ones: u16,
    length: u16,
}

/// Specificity of a whole pattern: its two parts in the order that counts for the purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Rank(PartRank, PartRank);

/// The text a pattern is held against: `scheme:user@host`, without parameters, in comparable case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// `scheme:user@host[:port]`, scheme and host in lower case.
    text: String,
    user_at: u32,
    user_end: u32,
    port_at: u32,
    plus: bool,
}

impl Subject {
    /// Builds the text from the parts of a URI. `user` is taken as written.
    pub fn new(scheme: &str, user: Option<&str>, host: &str, port: Option<u16>) -> Self {
        let mut text = String::with_capacity(scheme.len() + host.len() + 32);
        text.push_str(&scheme.to_ascii_lowercase());
        text.push(':');
        let user_at = text.len() as u32;
        text.push_str(user.unwrap_or(""));
        let user_end = text.len() as u32;
        if user.is_some() {
            text.push('@');
        }
        text.extend(host.chars().map(|c| c.to_ascii_lowercase()));
        let port_at = text.len() as u32;
        if let Some(port) = port {
            text.push(':');
            text.push_str(&port.to_string());
        }
        let plus = user.is_some_and(|u| {
            u.len() > 1 && u.starts_with('+') && u[1..].bytes().all(|b| b.is_ascii_digit())
        });
        Self {
            text,
            user_at,
            user_end,
            port_at,
            plus,
        }
    }

    /// `scheme:user@host`, for people.
    pub fn as_str(&self) -> &str {
        &self.text[..self.port_at as usize]
    }

    /// The user as written; empty when the URI has none.
    pub fn user(&self) -> &str {
        &self.text[self.user_at as usize..self.user_end as usize]
    }

    /// The lower-case host without its port.
    pub fn host(&self) -> &str {
        let start = self.user_end as usize;
        let host = &self.text[start..self.port_at as usize];
        host.strip_prefix('@').unwrap_or(host)
    }
}

impl Pattern {
    /// Compiles a pattern.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > MAX_PATTERN_BYTES {
            return Err(PatternError::TooLong);
        }
        let at = text.rfind('@');
        let (user, host) = match at {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        let bare_user = strip_scheme(user);
        let mut tokens = Vec::with_capacity(text.len());
        let scheme_bytes = user.len() - bare_user.len();
        let (lower_user, kept_user) = user.split_at(scheme_bytes);
        compile(&lower_user.to_ascii_lowercase(), &mut tokens)?;
        let user_from = tokens.len();
        compile(kept_user, &mut tokens)?;
        let user_rank = rank(&tokens[user_from..]);
        let literal_user = user_rank.exact.then(|| literal(&tokens[user_from..]));
        // No host is any host: it must not look more specific than one with a `*`.
        let mut host_rank = rank(&[Token::AnyRun]);
        let mut literal_host = None;
        let mut with_port = false;
        if let Some(host) = host {
            tokens.push(Token::Byte(b'@'));
            let host_from = tokens.len();
            let host = host.to_ascii_lowercase();
            compile(&host, &mut tokens)?;
            host_rank = rank(&tokens[host_from..]);
            let (name, port) = split_port(&host);
            with_port = port;
            if host_rank.exact {
                literal_host = Some(name.to_owned());
            }
        }
        let scope = match (text, host) {
            ("*", _) => Scope::Everything,
            (_, None) => Scope::UserOnly,
            _ if with_port => Scope::UriWithPort,
            _ => Scope::Uri,
        };
        Ok(Self {
            text: text.to_owned(),
            tokens: tokens.into_boxed_slice(),
            scope,
            literal_host,
            literal_user,
            user_rank,
            host_rank,
            keeps_plus: bare_user.starts_with('+'),
        })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host in lower case when it has no wildcard: such a pattern can only match URIs of that host.
    pub fn literal_host(&self) -> Option<&str> {
        self.literal_host.as_deref()
    }

    /// The user when it has no wildcard: such a pattern can only match that user (or it with a `+` in front).
    pub fn literal_user(&self) -> Option<&str> {
        self.literal_user.as_deref()
    }

    /// What every user that this pattern covers begins with (after a `+` that the pattern does not ask for):
    /// the key of an index over many number ranges. May be empty.
    pub fn user_prefix(&self) -> &str {
        let (user, has_host) = match self.text.rsplit_once('@') {
            Some((user, _)) => (user, true),
            None => (&*self.text, false),
        };
        let bare = strip_scheme(user);
        if has_host && bare.len() == user.len() {
            // The scheme itself has a wildcard, or is none of ours.
            return "";
        }
        &bare[..bare.find(['*', '?', '[']).unwrap_or(bare.len())]
    }

    /// Rank where the called or calling number matters most: dial rules, routes, policies.
    pub fn rank_user_first(&self) -> Rank {
        Rank(self.user_rank, self.host_rank)
    }

    /// Rank where the host names the peer: orig and term patterns of connections.
    pub fn rank_host_first(&self) -> Rank {
        Rank(self.host_rank, self.user_rank)
    }

    /// Whether the pattern covers the subject.
    pub fn matches(&self, subject: &Subject) -> bool {
        let user_at = subject.user_at as usize;
        let user_end = subject.user_end as usize;
        let drop_plus = subject.plus && !self.keeps_plus;
        let end = match self.scope {
            Scope::Everything => return true,
            Scope::UserOnly => {
                let from = user_at + usize::from(drop_plus);
                return glob(&self.tokens, &subject.text.as_bytes()[from..user_end]);
            }
            Scope::Uri => subject.port_at as usize,
            Scope::UriWithPort => subject.text.len(),
        };
        let text = &subject.text.as_bytes()[..end];
        if !drop_plus {
            return glob(&self.tokens, text);
        }
        // Rare enough (a number with `+`) that a short copy beats a second code path.
        let mut without = Vec::with_capacity(text.len());
        without.extend_from_slice(&text[..user_at]);
        without.extend_from_slice(&text[user_at + 1..]);
        glob(&self.tokens, &without)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The user part without a leading `sip:`, `sips:` or `sip`, which does not count as specific.
fn strip_scheme(user: &str) -> &str {
    for prefix in ["sips:", "sip:", "sips", "sip"] {
        if let Some(head) = user.get(..prefix.len())
            && head.eq_ignore_ascii_case(prefix)
        {
            // `sip` without its colon is a scheme only before a wildcard: `sipline` is a user.
            let rest = &user[prefix.len()..];
            if prefix.ends_with(':') || rest.is_empty() || rest.starts_with(['*', '?', '[']) {
                return rest;
            }
        }
    }
    user
}

fn split_port(host: &str) -> (&str, bool) {
    match host.rsplit_once(':') {
        Some((name, port))
            if !port.is_empty()
                && port.bytes().all(|b| b.is_ascii_digit())
                && (name.ends_with(']') || !name.contains(':')) =>
        {
            (name, true)
        }
        _ => (host, false),
    }
}

fn compile(text: &str, tokens: &mut Vec<Token>) -> Result<(), PatternError> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'*' => {
                if tokens.last() != Some(&Token::AnyRun) {
                    tokens.push(Token::AnyRun);
                }
            }
            b'?' => tokens.push(Token::AnyOne),
            b'[' => {
                let close = bytes[at..]
                    .iter()
                    .position(|b| *b == b']')
                    .ok_or(PatternError::UnclosedSet)?;
                let inside = &bytes[at + 1..at + close];
                if inside.contains(&b':') && inside.len() > 2 {
                    // An IPv6 address in brackets is a host, not a set.
                    tokens.extend(bytes[at..=at + close].iter().map(|b| Token::Byte(*b)));
                } else {
                    tokens.push(set(inside)?);
                }
                at += close;
            }
            byte => tokens.push(Token::Byte(byte)),
        }
        at += 1;
    }
    Ok(())
}

fn set(inside: &[u8]) -> Result<Token, PatternError> {
    match inside {
        [] => return Err(PatternError::EmptySet),
        [one] => return Ok(Token::Byte(*one)),
        _ => {}
    }
    let mut bits = Box::new([0u8; 32]);
    let mut add = |byte: u8| bits[usize::from(byte >> 3)] |= 1 << (byte & 7);
    let mut at = 0;
    while at < inside.len() {
        if at + 2 < inside.len() && inside[at + 1] == b'-' {
            let (low, high) = (
                inside[at].min(inside[at + 2]),
                inside[at].max(inside[at + 2]),
            );
            (low..=high).for_each(&mut add);
            at += 3;
        } else {
            add(inside[at]);
            at += 1;
        }
    }
    Ok(Token::OneOf(bits))
}

fn literal(tokens: &[Token]) -> String {
    let bytes = tokens.iter().filter_map(|token| match token {
        Token::Byte(byte) => Some(*byte),
        _ => None,
    });
    String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
}

fn rank(tokens: &[Token]) -> PartRank {
    let mut rank = PartRank {
        length: tokens.len() as u16,
        ..PartRank::default()
    };
    for token in tokens {
        match token {
            Token::Byte(_) => rank.literals += 1,
            Token::AnyRun => rank.runs.0 += 1,
            Token::AnyOne | Token::OneOf(_) => rank.ones += 1,
        }
    }
    rank.exact = rank.runs.0 == 0 && rank.ones == 0;
    rank
}

/// Matches with one remembered `*`: linear but for the last star, and never recursive.
fn glob(tokens: &[Token], text: &[u8]) -> bool {
    let (mut t, mut s) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match tokens.get(t) {
            None => s == text.len(),
            Some(Token::AnyRun) => {
                retry = Some((t + 1, s));
                t += 1;
                continue;
            }
            Some(token) => match text.get(s) {
                Some(byte) if token.covers(*byte) => {
                    t += 1;
                    s += 1;
                    continue;
                }
                _ => false,
            },
        };
        if step {
            return true;
        }
        match &mut retry {
            Some((after, from)) if *from < text.len() => {
                *from += 1;
                t = *after;
                s = *from;
            }
            _ => return false,
        }
    }
}

impl Token {
    fn covers(&self, byte: u8) -> bool {
        match self {
            Self::Byte(own) => *own == byte,
            Self::AnyOne => true,
            Self::AnyRun => false,
            Self::OneOf(bits) => bits[usize::from(byte >> 3)] & (1 << (byte & 7)) != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(uri: &str) -> Subject {
        let (scheme, rest) = uri.split_once(':').unwrap();
        let (user, host) = match rest.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, rest),
        };
        let (host, port) = match split_port(host) {
            (name, true) => (name, host[name.len() + 1..].parse().ok()),
            (name, false) => (name, None),
        };
        Subject::new(scheme, user, host, port)
    }

    fn check(pattern: &str, uri: &str, expected: bool) {
        let got = Pattern::parse(pattern).unwrap().matches(&subject(uri));
        assert_eq!(got, expected, "{pattern} against {uri}");
    }

    #[test]
    fn wildcards_and_sets() {
        check("*", "sip:anyone@anywhere", true);
        check("sip:1??????????@*", "sip:13105550100@d1", true);
        check("sip:1??????????@*", "sip:1310555010@d1", false);
        check(
            "sip*@bypass.g1-*.proxy.example",
            "sips:a@bypass.g1-7.proxy.example",
            true,
        );
        check("sip:*@host", "sips:a@host", false);
        check("sip*@host", "sips:a@host", true);
        check("sip:[*]67[2-9]*@*", "sip:*672125550100@d", true);
        check("sip:[*]67[2-9]*@*", "sip:*671125550100@d", false);
        check("sip:[135]@d", "sip:2@d", false);
        check("sip:[135]@d", "sip:3@d", true);
        check("sip:*a*b*c@d", "sip:xxaxxbxxc@d", true);
        check("sip:*a*b*c@d", "sip:xxaxxcxxb@d", false);
    }

    #[test]
    fn case_counts_in_the_user_only() {
        check("sip:Bob@Example.COM", "sip:Bob@example.com", true);
        check("sip:Bob@example.com", "sip:bob@example.com", false);
        check("SIP:bob@example.com", "sip:bob@EXAMPLE.com", true);
    }

    #[test]
    fn a_pattern_without_host_sees_the_user() {
        check("611", "sip:611@d1", true);
        check("5551234*", "sip:55512345@d1", true);
        check("5551234*", "sip:x5551234@d1", false);
    }

    #[test]
    fn the_port_counts_where_the_pattern_has_one() {
        check("sip:*@10.0.0.1", "sip:a@10.0.0.1:5070", true);
        check("sip:*@10.0.0.1:5070", "sip:a@10.0.0.1:5070", true);
        check("sip:*@10.0.0.1:5070", "sip:a@10.0.0.1", false);
        check("sip:*@[2001:db8::1]", "sip:a@[2001:db8::1]:5060", true);
        check("sip:*@[2001:db8::1]:5060", "sip:a@[2001:db8::1]:5060", true);
    }

    #[test]
    fn plus_is_dropped_from_numbers() {
        check("sip:1??????????@*", "sip:+13105551234@d1", true);
        check("sip:+1*@*", "sip:+13105551234@d1", true);
        check("sip:+1*@*", "sip:13105551234@d1", false);
        check("sip:1*@*", "sip:+1a@d1", false);
        check("1310*", "sip:+13105551234@d1", true);
    }

    #[test]
    fn bad_patterns_are_named() {
        assert_eq!(Pattern::parse(""), Err(PatternError::Empty));
        assert_eq!(Pattern::parse("sip:[12@x"), Err(PatternError::UnclosedSet));
        assert_eq!(Pattern::parse("sip:[]@x"), Err(PatternError::EmptySet));
        assert_eq!(Pattern::parse(&"a".repeat(600)), Err(PatternError::TooLong));
    }

    #[test]
    fn the_documented_order_of_specificity() {
        let order = [
            "sip:13105551234@*",
            "sip:1310*@*",
            "sip:1??????????@*",
            "sip:*@d1",
            "*",
        ];
        let ranks: Vec<_> = order
            .iter()
            .map(|p| Pattern::parse(p).unwrap().rank_user_first())
            .collect();
        assert!(ranks.windows(2).all(|w| w[0] > w[1]), "{ranks:?}");
        let host = Pattern::parse("sip*@acme-pbx").unwrap().rank_host_first();
        assert!(host > Pattern::parse("sip:1310*@*").unwrap().rank_host_first());
    }

    #[test]
    fn many_stars_stay_fast() {
        let pattern = Pattern::parse(&format!("sip:{}b@*", "*a".repeat(100))).unwrap();
        assert!(!pattern.matches(&subject(&format!("sip:{}@host", "a".repeat(400)))));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(pattern in ".{0,40}", user in "[ -~]{0,20}", host in "[ -~]{0,20}") {
            if let Ok(pattern) = Pattern::parse(&pattern) {
                pattern.matches(&Subject::new("sip", Some(&user), &host, None));
            }
        }

        #[test]
        fn literals_match_themselves(user in "[a-z0-9.]{1,12}", host in "[a-z0-9.]{1,12}") {
            let uri = format!("sip:{user}@{host}");
            proptest::prop_assert!(Pattern::parse(&uri).unwrap().matches(&Subject::new("sip", Some(&user), &host, None)));
        }
    }
}
