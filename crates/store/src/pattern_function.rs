//! `pattern_matches(pattern, uri)` in SQL, so that a list can be narrowed by what a pattern means.
//!
//! It is the same code that routes calls: a list never disagrees with them. (GLOB of SQLite looks alike,
//! but compares hosts with case, knows no `+`, and takes exponential time on hostile patterns.)

use model::pattern::{Pattern, Subject};
use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

/// Longest text that is held against patterns, in bytes; a longer one matches nothing.
const MAX_URI_BYTES: usize = 512;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Makes the function known to a connection.
pub(crate) fn register(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_scalar_function("pattern_matches", 2, flags, |context| {
        // The URI is the same for every row of a statement: read once, kept by SQLite.
        let subject = context.get_or_create_aux(1, |uri| -> Result<Option<Subject>, Failure> {
            Ok(subject(uri.as_str()?))
        })?;
        let Some(subject) = &*subject else {
            return Ok(false);
        };
        let pattern = Pattern::parse(context.get_raw(0).as_str()?);
        Ok(pattern.is_ok_and(|pattern| pattern.matches(subject)))
    })
}

/// Reads a URI as people write it into a query: the scheme may be missing, parameters are left out.
fn subject(uri: &str) -> Option<Subject> {
    if uri.len() > MAX_URI_BYTES {
        return None;
    }
    let (scheme, rest) = match uri.split_once(':') {
        Some((scheme, rest))
            if !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphabetic()) =>
        {
            (scheme, rest)
        }
        _ => ("sip", uri),
    };
    let (user, host) = match rest.rsplit_once('@') {
        Some((user, host)) => (Some(user.split(':').next().unwrap_or(user)), host),
        None => (None, rest),
    };
    let host = host.split([';', '?', '>']).next().unwrap_or(host);
    let (host, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port.parse().ok()?)),
        _ => (host, None),
    };
    match user {
        Some(user) => Some(Subject::new(scheme, Some(user), host, port)),
        // A bare number is a user; anything else without `@` is a host.
        None if host.bytes().all(|b| b.is_ascii_digit() || b == b'+') => {
            Some(Subject::new(scheme, Some(host), "", port))
        }
        None => Some(Subject::new(scheme, None, host, port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, uri: &str) -> bool {
        let connection = Connection::open_in_memory().unwrap();
        register(&connection).unwrap();
        connection
            .query_row("SELECT pattern_matches(?, ?)", [pattern, uri], |row| {
                row.get(0)
            })
            .unwrap()
    }

    #[test]
    fn as_calls_are_matched() {
        assert!(check("sip*@acme-pbx", "sip:1000@ACME-PBX;user=phone"));
        assert!(check("sip:1??????????@*", "sip:+13105550100@x:5070"));
        assert!(check("5551234*", "5551234567"));
        assert!(check("*", "anything"));
        assert!(!check("sip:*@d1", "sip:a@d2"));
        assert!(!check("sip[*@d1", "sip:a@d1"));
        assert!(!check("*", &"x".repeat(MAX_URI_BYTES + 1)));
    }

    #[test]
    fn odd_texts_are_safe() {
        for uri in [
            "",
            ":",
            "@",
            "sip:",
            "sip:@",
            "sip:a@b:x",
            "a:b@c:1:2",
            "é@ü",
            "[",
            "]:",
        ] {
            check("sip*@*", uri);
        }
    }

    #[test]
    fn hostile_patterns_take_no_time() {
        let pattern = format!("sip:{}b@*", "*a".repeat(200));
        assert!(!check(&pattern, &format!("sip:{}@x", "a".repeat(500))));
    }
}
