//! URIs: `sip:` and `sips:` in detail (RFC 3261 §19.1), any other scheme as a whole.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use memchr::memchr;

use super::ByteStr;
use super::headers::push_decimal;
use super::scan::{self, Params};

/// A URI and the positions of its parts.
///
/// Equality (`==`) compares the text; [`Uri::equivalent`] compares the meaning.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Uri {
    text: ByteStr,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Sip(Parts),
    /// The scheme in lower case.
    Other(ByteStr),
}

/// Offsets into the text. `user..password..host` are byte ranges, empty where a part is absent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Parts {
    secure: bool,
    has_user: bool,
    user: (u32, u32),
    host: (u32, u32),
    port: Option<u16>,
    params: (u32, u32),
    headers: u32,
}

impl keep::Keep for Uri {
    fn keep(&self, out: &mut keep::Writer) {
        self.text.keep(out);
    }

    fn kept(input: &mut keep::Reader<'_>) -> Result<Self, keep::Damaged> {
        Self::parse(&ByteStr::kept(input)?).map_err(|_| keep::Damaged::Value("URI"))
    }
}

/// Why text is not a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UriError {
    /// No `scheme:` at the start.
    Scheme,
    /// White space, a control character, a bracket or a quote inside of it.
    Character,
    /// A user part with a character that has to be escaped, or an empty one before `@`.
    User,
    /// No host, or one that is neither a name nor an address.
    Host,
    /// A port that is not a number from 0 to 65535.
    Port,
    /// Longer than [`URI_BYTES_MAX`].
    TooLong,
}

/// The longest URI that is accepted, in bytes.
pub const URI_BYTES_MAX: usize = 8 * 1024;

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "URI without a scheme",
            Self::Character => "URI with a character that may not appear in one",
            Self::User => "URI with a malformed user part",
            Self::Host => "URI with a malformed host",
            Self::Port => "URI with a malformed port",
            Self::TooLong => "URI longer than the limit",
        })
    }
}

impl std::error::Error for UriError {}

impl Uri {
    /// Reads a URI that fills `text`; no white space or brackets around it.
    pub fn parse(text: &ByteStr) -> Result<Self, UriError> {
        Self::parse_in(text, text)
    }

    /// The same for a part of `whole`.
    pub(crate) fn parse_in(whole: &ByteStr, text: &str) -> Result<Self, UriError> {
        let (scheme, at) = scheme_of(text)?;
        if text.len() > URI_BYTES_MAX {
            return Err(UriError::TooLong);
        }
        let secure = scheme.eq_ignore_ascii_case("sips");
        let kind = if scheme == "sip" || secure || scheme.eq_ignore_ascii_case("sip") {
            Kind::Sip(Parts::parse(text, at, secure)?)
        } else {
            if !scan::all_in_uri(text.as_bytes()) || text.len() == at {
                return Err(UriError::Character);
            }
            Kind::Other(lower(whole.slice_of(scheme)))
        };
        Ok(Self {
            text: whole.slice_of(text),
            kind,
        })
    }

    /// Composes a `sip:` or `sips:` URI. Characters of the user part that need it are escaped, a
    /// bare IPv6 address is bracketed, and characters that no host may contain are dropped, so
    /// the result is always a well-formed URI and cannot smuggle parameters or lines.
    ///
    /// A `scheme` other than `sips` gives `sip`; a host with nothing legal in it gives `invalid`
    /// (RFC 2606), which resolves nowhere.
    pub fn build(scheme: &str, user: Option<&str>, host: &str, port: Option<u16>) -> Self {
        // As much as the scheme, the signs between the parts and a port take.
        let mut text = String::with_capacity(16 + user.map_or(0, str::len) + host.len());
        text.push_str(if scheme.eq_ignore_ascii_case("sips") {
            "sips:"
        } else {
            "sip:"
        });
        if let Some(user) = user.filter(|user| !user.is_empty()) {
            escape_into(&mut text, user, |byte| {
                scan::is_user(byte) && byte != b':' && byte != b'%'
            });
            text.push('@');
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<Ipv6Addr>() {
            text.push_str(&format!("[{address}]"));
        } else {
            let before = text.len();
            text.extend(
                host.chars()
                    .filter(|&c| c.is_ascii() && scan::host(c.encode_utf8(&mut [0; 4]))),
            );
            if text.len() == before {
                text.push_str("invalid");
            }
        }
        if let Some(port) = port {
            text.push(':');
            push_decimal(&mut text, port.into());
        }
        Self::known(text)
    }

    /// The same URI with one more parameter, its name and value escaped. A parameter of that name
    /// that is already there is replaced. URIs of other schemes are returned unchanged.
    pub fn with_param(&self, name: &str, value: Option<&str>) -> Self {
        let Kind::Sip(parts) = &self.kind else {
            return self.clone();
        };
        let mut text = String::from(&self.text[..parts.params.0 as usize]);
        for (other, old) in Params::new(self.params()) {
            if !other.eq_ignore_ascii_case(name) && !other.is_empty() {
                push_param(&mut text, other, old);
            }
        }
        text.push(';');
        escape_into(&mut text, name, is_param);
        if let Some(value) = value {
            text.push('=');
            escape_into(&mut text, value, is_param);
        }
        text.push_str(&self.text[parts.params.1 as usize..]);
        Self::known(text)
    }

    /// The same URI without parameter `name`.
    pub fn without_param(&self, name: &str) -> Self {
        let Kind::Sip(parts) = &self.kind else {
            return self.clone();
        };
        let mut text = String::from(&self.text[..parts.params.0 as usize]);
        for (other, value) in Params::new(self.params()) {
            if !other.eq_ignore_ascii_case(name) && !other.is_empty() {
                push_param(&mut text, other, value);
            }
        }
        text.push_str(&self.text[parts.params.1 as usize..]);
        Self::known(text)
    }

    /// Text that this module composed. It parses by construction; should it not (a URI grown over
    /// its limit), the result names a host that does not exist, rather than half a URI.
    fn known(text: String) -> Self {
        Self::parse(&ByteStr::from(text)).unwrap_or_else(|_| Self {
            text: ByteStr::literal("sip:invalid"),
            kind: Kind::Sip(Parts {
                secure: false,
                has_user: false,
                user: (4, 4),
                host: (4, 11),
                port: None,
                params: (11, 11),
                headers: 11,
            }),
        })
    }

    /// The same in an allocation of its own: what is kept for long must not hold the whole message it came with.
    pub(crate) fn detached(&self) -> Self {
        Self {
            text: ByteStr::copy(&self.text),
            kind: match &self.kind {
                Kind::Sip(parts) => Kind::Sip(parts.clone()),
                Kind::Other(scheme) => Kind::Other(ByteStr::copy(scheme)),
            },
        }
    }

    /// The whole URI as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The scheme in lower case.
    pub fn scheme(&self) -> &str {
        match &self.kind {
            Kind::Sip(Parts { secure: true, .. }) => "sips",
            Kind::Sip(_) => "sip",
            Kind::Other(scheme) => scheme,
        }
    }

    /// Whether it is a `sip:` or `sips:` URI.
    pub fn is_sip(&self) -> bool {
        matches!(self.kind, Kind::Sip(_))
    }

    /// Whether it is a `sips:` URI.
    pub fn is_sips(&self) -> bool {
        matches!(self.kind, Kind::Sip(Parts { secure: true, .. }))
    }

    /// The user part without password, escapes kept. For `tel:` the number without parameters.
    pub fn user(&self) -> Option<&str> {
        match &self.kind {
            Kind::Sip(parts) if parts.has_user => {
                let user = self.range(parts.user);
                Some(user.split(':').next().unwrap_or(user))
            }
            Kind::Sip(_) => None,
            Kind::Other(scheme) if scheme == "tel" => {
                let number = &self.text[scheme.len() + 1..];
                Some(number.split(';').next().unwrap_or(number))
            }
            Kind::Other(_) => None,
        }
    }

    /// The user part with its escapes resolved.
    pub fn user_unescaped(&self) -> Option<String> {
        self.user().map(unescape)
    }

    /// Host name or address; an IPv6 address keeps its brackets. Empty for other schemes.
    pub fn host(&self) -> &str {
        self.parts().map_or("", |parts| self.range(parts.host))
    }

    /// The host, when it is an address.
    pub fn host_ip(&self) -> Option<IpAddr> {
        host_ip(self.host())
    }

    /// The port, when one is written.
    pub fn port(&self) -> Option<u16> {
        self.parts().and_then(|parts| parts.port)
    }

    /// A URI parameter by its name in any case: outer `None` when absent, inner `None` when it has
    /// no value.
    pub fn param(&self, name: &str) -> Option<Option<&str>> {
        Params::get(self.params(), name)
    }

    /// The parameters from their first semicolon on; empty when there are none.
    pub fn params(&self) -> &str {
        self.parts().map_or("", |parts| self.range(parts.params))
    }

    /// The headers behind `?`, raw; empty when there are none.
    pub fn headers(&self) -> &str {
        self.parts()
            .map_or("", |parts| &self.text[parts.headers as usize..])
    }

    /// Whether `lr` marks the host as a loose router (RFC 3261 §19.1.1).
    pub fn is_loose(&self) -> bool {
        self.param("lr").is_some()
    }

    /// Whether both name the same resource by the rules of RFC 3261 §19.1.4.
    ///
    /// A parameter that only one has does not matter unless it is `user`, `ttl`, `method`,
    /// `maddr` or `transport`; an omitted port is not the default port.
    pub fn equivalent(&self, other: &Self) -> bool {
        let (Some(mine), Some(theirs)) = (self.parts(), other.parts()) else {
            return self.scheme() == other.scheme()
                && self.text[self.scheme().len()..]
                    .eq_ignore_ascii_case(&other.text[other.scheme().len()..]);
        };
        mine.secure == theirs.secure
            && mine.has_user == theirs.has_user
            && unescape(self.range(mine.user)) == unescape(other.range(theirs.user))
            && same_host(self.host(), other.host())
            && mine.port == theirs.port
            && self.params_agree(other)
            && other.params_agree(self)
            && self.headers_agree(other)
    }

    fn params_agree(&self, other: &Self) -> bool {
        const ALWAYS_COMPARED: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];
        Params::new(self.params()).all(|(name, value)| {
            let name = unescape(name);
            let found = Params::new(other.params())
                .find(|(candidate, _)| unescape(candidate).eq_ignore_ascii_case(&name));
            match found {
                Some((_, theirs)) => unescape(value.unwrap_or(""))
                    .eq_ignore_ascii_case(&unescape(theirs.unwrap_or(""))),
                None => !ALWAYS_COMPARED
                    .iter()
                    .any(|fixed| fixed.eq_ignore_ascii_case(&name)),
            }
        })
    }

    fn headers_agree(&self, other: &Self) -> bool {
        let sorted = |uri: &Self| {
            let mut headers: Vec<_> = uri
                .headers()
                .split('&')
                .map(|header| match header.split_once('=') {
                    Some((name, value)) => (unescape(name).to_ascii_lowercase(), unescape(value)),
                    None => (unescape(header).to_ascii_lowercase(), String::new()),
                })
                .collect();
            headers.sort();
            headers
        };
        self.headers() == other.headers() || sorted(self) == sorted(other)
    }

    fn parts(&self) -> Option<&Parts> {
        match &self.kind {
            Kind::Sip(parts) => Some(parts),
            Kind::Other(_) => None,
        }
    }

    fn range(&self, (start, end): (u32, u32)) -> &str {
        &self.text[start as usize..end as usize]
    }
}

impl Parts {
    fn parse(text: &str, start: usize, secure: bool) -> Result<Self, UriError> {
        let bytes = text.as_bytes();
        let (has_user, user, host_start) = match memchr(b'@', &bytes[start..]) {
            Some(length) => (true, (start, start + length), start + length + 1),
            None => (false, (start, start), start),
        };
        if has_user
            && (user.0 == user.1
                || !bytes[user.0..user.1]
                    .iter()
                    .all(|&byte| scan::is_user(byte)))
        {
            return Err(UriError::User);
        }
        let host_end = host_end(text, host_start).ok_or(UriError::Host)?;
        let mut at = host_end;
        let mut port = None;
        if bytes.get(at) == Some(&b':') {
            let digits = bytes[at + 1..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            let number = text[at + 1..at + 1 + digits]
                .parse()
                .map_err(|_| UriError::Port)?;
            port = Some(number);
            at += 1 + digits;
        }
        let params_start = at;
        let params_end = memchr(b'?', &bytes[at..]).map_or(text.len(), |length| at + length);
        match bytes.get(at) {
            None | Some(b';' | b'?') => {}
            Some(_) if port.is_some() => return Err(UriError::Port),
            Some(_) => return Err(UriError::Host),
        }
        if !scan::all_in_uri(&bytes[at..]) {
            return Err(UriError::Character);
        }
        let headers = (params_end + 1).min(text.len());
        // The caller bounds the length, so no offset is cut.
        let narrow = |offset: usize| offset as u32;
        Ok(Self {
            secure,
            has_user,
            user: (narrow(user.0), narrow(user.1)),
            host: (narrow(host_start), narrow(host_end)),
            port,
            params: (narrow(params_start), narrow(params_end)),
            headers: narrow(headers),
        })
    }
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        Self::parse(&ByteStr::copy(text))
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// The address that a host of a URI or a Via spells, brackets optional for IPv6.
pub fn host_ip(host: &str) -> Option<IpAddr> {
    let first = host.bytes().next()?;
    if first == b'[' {
        let inner = host.strip_prefix('[')?.strip_suffix(']')?;
        return inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    if first.is_ascii_digit()
        && let Ok(address) = host.parse::<Ipv4Addr>()
    {
        return Some(IpAddr::V4(address));
    }
    host.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

/// Where the host that begins at `start` ends. Shared with Via's sent-by.
pub(crate) fn host_end(text: &str, start: usize) -> Option<usize> {
    let rest = text.get(start..)?;
    if rest.starts_with('[') {
        let length = rest.find(']')? + 1;
        host_ip(&rest[..length])?;
        return Some(start + length);
    }
    let length = scan::host_length(rest);
    let ended = matches!(
        rest.as_bytes().get(length),
        None | Some(b':' | b';' | b'?' | b' ' | b'\t')
    );
    (length > 0 && ended).then_some(start + length)
}

/// Resolves `%41` escapes. A percent sign that begins none stays, bytes that are not UTF-8 become
/// the replacement character.
pub fn unescape(text: &str) -> String {
    let Some(first) = memchr(b'%', text.as_bytes()) else {
        return text.to_owned();
    };
    let mut plain = Vec::with_capacity(text.len());
    plain.extend_from_slice(&text.as_bytes()[..first]);
    let mut rest = &text.as_bytes()[first..];
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte == b'%'
            && let [high, low, after @ ..] = tail
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            plain.push(high << 4 | low);
            rest = after;
        } else {
            plain.push(*byte);
        }
    }
    String::from_utf8(plain)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

fn escape_into(text: &mut String, raw: &str, plain: impl Fn(u8) -> bool) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in raw.bytes() {
        if plain(byte) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

/// `paramchar` of RFC 3261 §25.1 without the escape sign.
fn is_param(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.!~*'()[]/:&+$".contains(&byte)
}

fn push_param(text: &mut String, name: &str, value: Option<&str>) {
    text.push(';');
    text.push_str(name);
    if let Some(value) = value {
        text.push('=');
        text.push_str(value);
    }
}

fn scheme_of(text: &str) -> Result<(&str, usize), UriError> {
    if text.starts_with("sip:") {
        return Ok(("sip", 4));
    }
    let colon = memchr(b':', text.as_bytes()).ok_or(UriError::Scheme)?;
    let scheme = &text[..colon];
    let legal = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if legal {
        Ok((scheme, colon + 1))
    } else {
        Err(UriError::Scheme)
    }
}

fn lower(text: ByteStr) -> ByteStr {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        ByteStr::from(text.to_ascii_lowercase())
    } else {
        text
    }
}

fn same_host(one: &str, other: &str) -> bool {
    match (host_ip(one), host_ip(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one.eq_ignore_ascii_case(other),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn parts_are_found() {
        let full = uri("SIPS:al%69ce:secret@[2001:DB8::1]:5071;transport=tcp;lr?Subject=x&a=b");
        assert_eq!(full.scheme(), "sips");
        assert_eq!(full.user(), Some("al%69ce"));
        assert_eq!(full.user_unescaped().as_deref(), Some("alice"));
        assert_eq!(full.host(), "[2001:DB8::1]");
        assert_eq!(full.host_ip(), "2001:db8::1".parse().ok());
        assert_eq!(full.port(), Some(5071));
        assert_eq!(full.params(), ";transport=tcp;lr");
        assert_eq!(full.param("TRANSPORT"), Some(Some("tcp")));
        assert!(full.is_loose());
        assert_eq!(full.headers(), "Subject=x&a=b");

        let short = uri("sip:example.com");
        assert_eq!(
            (short.user(), short.port(), short.params(), short.headers()),
            (None, None, "", "")
        );
        assert_eq!(uri("sip:a@b?x=1").headers(), "x=1");
        assert_eq!(
            uri("sip:user;par=u%40example.net@example.com").user(),
            Some("user;par=u%40example.net")
        );
    }

    #[test]
    fn other_schemes_stay_whole() {
        let tel = uri("TEL:+1-202-555-0123;phone-context=x");
        assert_eq!(
            (tel.scheme(), tel.user(), tel.host()),
            ("tel", Some("+1-202-555-0123"), "")
        );
        assert_eq!(
            uri("nobodyKnowsThisScheme:opaque").scheme(),
            "nobodyknowsthisscheme"
        );
        assert_eq!(
            uri("soap.beep://192.0.2.103:3002").as_str(),
            "soap.beep://192.0.2.103:3002"
        );
    }

    #[test]
    fn malformed_ones_are_refused() {
        for (text, error) in [
            ("", UriError::Scheme),
            ("example.com", UriError::Scheme),
            ("1sip:x", UriError::Scheme),
            ("sip:", UriError::Host),
            ("sip:@host", UriError::User),
            ("sip:a b@host", UriError::User),
            ("sip:a@", UriError::Host),
            ("sip:a@host:", UriError::Port),
            ("sip:a@host:70000", UriError::Port),
            ("sip:a@host:50x", UriError::Port),
            ("sip:a@[::1", UriError::Host),
            ("sip:a@[fe80::zz]", UriError::Host),
            ("sip:a@::1", UriError::Host),
            ("sip:a@host;p=\"x\"", UriError::Character),
            ("sip:a@host;p\r\nInjected: 1", UriError::Character),
            ("sip:a@ho<st", UriError::Host),
            ("tel:12 34", UriError::Character),
            ("tel:", UriError::Character),
        ] {
            assert_eq!(text.parse::<Uri>(), Err(error), "{text}");
        }
        let long = format!("sip:{}@h", "a".repeat(URI_BYTES_MAX));
        assert_eq!(long.parse::<Uri>(), Err(UriError::TooLong));
    }

    #[test]
    fn building_escapes_and_cannot_inject() {
        assert_eq!(
            Uri::build("sip", Some("+1202"), "example.com", Some(5080)).as_str(),
            "sip:+1202@example.com:5080"
        );
        assert_eq!(Uri::build("sips", None, "::1", None).as_str(), "sips:[::1]");
        assert_eq!(
            Uri::build("sip", Some("a@b:c%d e\r\n"), "x", None).as_str(),
            "sip:a%40b%3Ac%25d%20e%0D%0A@x"
        );
        assert_eq!(
            Uri::build("sip", Some("a"), "h>\r\nEvil: 1", None).as_str(),
            "sip:a@hEvil1"
        );
        assert_eq!(
            Uri::build("bad", Some("a"), "\r\n", None).as_str(),
            "sip:a@invalid"
        );
        let with = uri("sip:a@b;x=1?h=1")
            .with_param("transport", Some("t;c p"))
            .with_param("X", None);
        assert_eq!(with.as_str(), "sip:a@b;transport=t%3Bc%20p;X?h=1");
        assert_eq!(
            with.without_param("x").as_str(),
            "sip:a@b;transport=t%3Bc%20p?h=1"
        );
    }

    /// The examples of RFC 3261 §19.1.4.
    #[test]
    fn equivalence_follows_the_rfc() {
        for (one, other) in [
            (
                "sip:%61lice@atlanta.com;transport=TCP",
                "sip:alice@AtlanTa.CoM;Transport=tcp",
            ),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            (
                "sip:carol@chicago.com;security=on",
                "sip:carol@chicago.com;newparam=5",
            ),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
            ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0:0::1]"),
        ] {
            assert!(uri(one).equivalent(&uri(other)), "{one} {other}");
            assert!(uri(other).equivalent(&uri(one)), "{other} {one}");
        }
        for (one, other) in [
            (
                "SIP:ALICE@AtLanTa.CoM;Transport=udp",
                "sip:alice@AtlanTa.CoM;Transport=UDP",
            ),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            (
                "sip:bob@biloxi.com",
                "sip:bob@biloxi.com:6000;transport=tcp",
            ),
            (
                "sip:carol@chicago.com",
                "sip:carol@chicago.com?Subject=next%20meeting",
            ),
            (
                "sip:carol@chicago.com;security=on",
                "sip:carol@chicago.com;security=off",
            ),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:a@b", "sips:a@b"),
            ("sip:a@b", "tel:1"),
        ] {
            assert!(!uri(one).equivalent(&uri(other)), "{one} {other}");
            assert!(!uri(other).equivalent(&uri(one)), "{other} {one}");
        }
    }

    #[test]
    fn escapes_that_are_none_stay() {
        assert_eq!(unescape("%Z%45%4"), "%ZE%4");
        assert_eq!(unescape("%FF"), "\u{fffd}");
    }
}
