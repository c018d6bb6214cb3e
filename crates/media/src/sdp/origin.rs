//! The `o=` line: who describes, which session, which version (RFC 8866 §5.2).

use std::fmt;

/// A parsed `o=` line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin<'a> {
    /// Login name, or `-`.
    pub username: &'a str,
    /// Unique together with the other fields but the version. Kept as text: the grammar allows
    /// any number of digits, and senders use them.
    pub session_id: &'a str,
    /// Grows with each change of the description.
    pub version: &'a str,
    /// `IP4` or `IP6`.
    pub address_type: &'a str,
    /// Host of the describing end point; informational.
    pub address: &'a str,
}

impl<'a> Origin<'a> {
    /// Reads the five words from the end, so that a user name with spaces in it does no harm.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut words = text.trim().rsplitn(6, [' ', '\t']);
        let [
            address,
            address_type,
            _network,
            version,
            session_id,
            username,
        ] = std::array::from_fn(|_| words.next());
        let origin = Self {
            username: username?,
            session_id: session_id?,
            version: version?,
            address_type: address_type?,
            address: address?,
        };
        Some(origin)
    }
}

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            username,
            session_id,
            version,
            address_type,
            address,
        } = self;
        write!(
            f,
            "{username} {session_id} {version} IN {address_type} {address}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_reads_back() {
        let text = "My Phone 2890844526 18446744073709551616 IN IP6 2001:db8::1";
        let origin = Origin::parse(text).expect("six words and a space");
        assert_eq!(
            (origin.username, origin.session_id),
            ("My Phone", "2890844526")
        );
        assert_eq!(origin.to_string(), text);
        assert_eq!(Origin::parse("- 1 1 IN IP4"), None);
    }
}
