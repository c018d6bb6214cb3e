//! Header field names.

use std::fmt;

macro_rules! names {
    ($($(#[$doc:meta])* $variant:ident $text:literal,)*) => {
        /// A header field name that this crate knows, or `Other`. Compact forms (RFC 3261 §7.3.3)
        /// are the same name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Name {
            $(#[doc = concat!("`", $text, "`")] $(#[$doc])* $variant,)*
            /// Any name not listed here; the text stands in the message.
            Other,
        }

        impl Name {
            /// Every known name.
            pub const KNOWN: &[Self] = &[$(Self::$variant,)*];

            /// The long form as it is customarily written; empty for `Other`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other => "",
                }
            }
        }
    };
}

names! {
    Accept "Accept",
    AcceptEncoding "Accept-Encoding",
    AcceptLanguage "Accept-Language",
    AlertInfo "Alert-Info",
    Allow "Allow",
    AllowEvents "Allow-Events",
    AuthenticationInfo "Authentication-Info",
    Authorization "Authorization",
    CallId "Call-ID",
    CallInfo "Call-Info",
    Contact "Contact",
    ContentDisposition "Content-Disposition",
    ContentEncoding "Content-Encoding",
    ContentLanguage "Content-Language",
    ContentLength "Content-Length",
    ContentType "Content-Type",
    CSeq "CSeq",
    Date "Date",
    Diversion "Diversion",
    ErrorInfo "Error-Info",
    Event "Event",
    Expires "Expires",
    From "From",
    HistoryInfo "History-Info",
    Identity "Identity",
    InReplyTo "In-Reply-To",
    Join "Join",
    MaxForwards "Max-Forwards",
    MimeVersion "MIME-Version",
    MinExpires "Min-Expires",
    MinSe "Min-SE",
    Organization "Organization",
    PAssertedIdentity "P-Asserted-Identity",
    PPreferredIdentity "P-Preferred-Identity",
    Path "Path",
    Priority "Priority",
    Privacy "Privacy",
    ProxyAuthenticate "Proxy-Authenticate",
    ProxyAuthorization "Proxy-Authorization",
    ProxyRequire "Proxy-Require",
    RAck "RAck",
    Reason "Reason",
    RecordRoute "Record-Route",
    ReferSub "Refer-Sub",
    ReferTo "Refer-To",
    ReferredBy "Referred-By",
    RemotePartyId "Remote-Party-ID",
    Replaces "Replaces",
    ReplyTo "Reply-To",
    Require "Require",
    RetryAfter "Retry-After",
    Route "Route",
    RSeq "RSeq",
    Server "Server",
    ServiceRoute "Service-Route",
    SessionExpires "Session-Expires",
    SipEtag "SIP-ETag",
    SipIfMatch "SIP-If-Match",
    Subject "Subject",
    SubscriptionState "Subscription-State",
    Supported "Supported",
    Timestamp "Timestamp",
    To "To",
    Unsupported "Unsupported",
    UserAgent "User-Agent",
    Via "Via",
    Warning "Warning",
    WwwAuthenticate "WWW-Authenticate",
}

impl Name {
    /// The name that `text` stands for, in long or compact form and any case.
    pub fn parse(text: &str) -> Self {
        Self::of_bytes(text.as_bytes())
    }

    pub(crate) fn of_bytes(text: &[u8]) -> Self {
        match text {
            [] => Self::Other,
            [letter] => Self::compact(*letter),
            _ => {
                let candidate = BY_HASH[hash(text)];
                let known = candidate.as_str().as_bytes();
                // Nearly all senders write names as we do, and comparing them so is much faster.
                if known == text || known.eq_ignore_ascii_case(text) {
                    candidate
                } else {
                    Self::Other
                }
            }
        }
    }

    /// Compact forms: RFC 3261 §20 and the IANA registry of header field names.
    fn compact(letter: u8) -> Self {
        match letter.to_ascii_lowercase() {
            b'b' => Self::ReferredBy,
            b'c' => Self::ContentType,
            b'e' => Self::ContentEncoding,
            b'f' => Self::From,
            b'i' => Self::CallId,
            b'k' => Self::Supported,
            b'l' => Self::ContentLength,
            b'm' => Self::Contact,
            b'o' => Self::Event,
            b'r' => Self::ReferTo,
            b's' => Self::Subject,
            b't' => Self::To,
            b'u' => Self::AllowEvents,
            b'v' => Self::Via,
            b'x' => Self::SessionExpires,
            b'y' => Self::Identity,
            _ => Self::Other,
        }
    }
}

/// Known names by their [`hash`]; `Other` where there is none.
static BY_HASH: [Name; HASHES] = by_hash();

/// How many places [`BY_HASH`] has. Chosen, with the factors of [`hash`], so that no two names
/// share one; a new name that does stops the compilation, and asks for other factors.
const HASHES: usize = 512;

impl keep::Keep for Name {
    fn keep(&self, out: &mut keep::Writer) {
        out.text(self.as_str());
    }

    fn kept(input: &mut keep::Reader<'_>) -> Result<Self, keep::Damaged> {
        input.text().map(Self::parse)
    }
}

/// A number for a name of at least two letters that its case does not change.
const fn hash(text: &[u8]) -> usize {
    let last = text.len() - 1;
    let first = (text[0] | 0x20) as usize;
    let middle = (text[last / 2] | 0x20) as usize;
    let last_letter = (text[last] | 0x20) as usize;
    (text.len() * LENGTH_FACTOR + first * FIRST_FACTOR + middle * MIDDLE_FACTOR + last_letter)
        % HASHES
}

const LENGTH_FACTOR: usize = 59;
const FIRST_FACTOR: usize = 122;
const MIDDLE_FACTOR: usize = 38;

const fn by_hash() -> [Name; HASHES] {
    let mut table = [Name::Other; HASHES];
    let mut index = 0;
    while index < Name::KNOWN.len() {
        let name = Name::KNOWN[index];
        let place = hash(name.as_str().as_bytes());
        assert!(
            matches!(table[place], Name::Other),
            "two names share a hash"
        );
        table[place] = name;
        index += 1;
    }
    table
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case() {
        for &name in Name::KNOWN {
            assert_eq!(Name::parse(name.as_str()), name);
            assert_eq!(Name::parse(&name.as_str().to_uppercase()), name);
            assert_eq!(Name::parse(&name.as_str().to_lowercase()), name);
        }
        for other in ["", "Z", "Vias", "Content-Lengthy", "X-Custom"] {
            assert_eq!(Name::parse(other), Name::Other, "{other}");
        }
    }

    #[test]
    fn compact_forms_are_the_same_name() {
        for (compact, name) in [
            ("v", Name::Via),
            ("F", Name::From),
            ("t", Name::To),
            ("i", Name::CallId),
            ("M", Name::Contact),
            ("l", Name::ContentLength),
            ("x", Name::SessionExpires),
        ] {
            assert_eq!(Name::parse(compact), name);
        }
    }
}
