//! Syntax of the texts that fields hold. Each check ends a sentence "`field`: `value` …" when it refuses.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use jiff::tz::TimeZone;
use model::pattern::Pattern;

/// Longest host name, RFC 1035 section 2.3.4.
const MAX_HOST_CHARS: usize = 253;
/// Most entries in an address list of an API key.
pub const MAX_ADDRESS_LIST: usize = 64;

/// A pattern of the switch's pattern language.
pub fn match_pattern(text: &str) -> Result<(), String> {
    Pattern::parse(text)
        .map(|_| ())
        .map_err(|error| format!("is not a pattern: {error}"))
}

/// A pattern, or nothing.
pub fn optional_match_pattern(text: &str) -> Result<(), String> {
    if text.is_empty() {
        Ok(())
    } else {
        match_pattern(text)
    }
}

/// A domain name, or `*` alone.
pub fn domain_or_star(text: &str) -> Result<(), String> {
    if text == "*" {
        Ok(())
    } else {
        domain_name(text)
    }
}

/// A domain name of the contract's alphabet.
pub fn domain_name(text: &str) -> Result<(), String> {
    let ok = !text.is_empty()
        && text.len() <= 64
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if !ok {
        return Err(
            "must have 1 to 64 characters of A-Z, a-z, 0-9, dot, underscore and hyphen".into(),
        );
    }
    // `.` and `..` vanish from URLs, and `count` is another operation's path.
    if matches!(text, "." | ".." | "count") {
        return Err("is reserved; choose another name".into());
    }
    Ok(())
}

/// Where a peer is: `host`, `host:port`, `[v6]:port`, or a SIP URI around one of them. Empty is allowed.
pub fn peer_address(text: &str) -> Result<(), String> {
    let refuse = || Err("must be a host, host:port, [IPv6]:port, or a SIP URI".to_owned());
    if text.is_empty() {
        return Ok(());
    }
    let lower = text.to_ascii_lowercase();
    let after_scheme = lower
        .strip_prefix("sip:")
        .or_else(|| lower.strip_prefix("sips:"));
    let rest = match after_scheme {
        Some(rest) => {
            let rest = rest.split(['?', ';']).next().unwrap_or_default();
            rest.rsplit_once('@').map_or(rest, |(_, host)| host)
        }
        None => lower.as_str(),
    };
    // An IPv6 address written without brackets has no port.
    if rest.parse::<Ipv6Addr>().is_ok() {
        return Ok(());
    }
    let (host, port) = if let Some(inside) = rest.strip_prefix('[') {
        let Some((host, after)) = inside.split_once(']') else {
            return refuse();
        };
        if host.parse::<Ipv6Addr>().is_err() {
            return refuse();
        }
        match after.strip_prefix(':') {
            Some(port) => (None, Some(port)),
            None if after.is_empty() => (None, None),
            None => return refuse(),
        }
    } else {
        match rest.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(rest), None),
        }
    };
    let port_ok = port.is_none_or(|port| {
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if port_ok && host.is_none_or(host_name) {
        Ok(())
    } else {
        refuse()
    }
}

/// A host name or IPv4 address. Underscores occur in real networks.
fn host_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // Digits and dots alone must be a real address, or a typing mistake would be asked of the DNS for ever.
    let numeric = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    name.len() <= MAX_HOST_CHARS
        && name.split('.').all(label)
        && (!numeric || !name.contains('.') || name.parse::<std::net::Ipv4Addr>().is_ok())
}

/// A moment as `YYYY-MM-DD HH:MM:SS`, or nothing.
pub fn optional_datetime(text: &str) -> Result<(), String> {
    if text.is_empty() || model::datetime::parse_utc(text).is_some() {
        return Ok(());
    }
    Err("must be a moment in UTC as YYYY-MM-DD HH:MM:SS".into())
}

/// A zone of the IANA data base, or nothing.
pub fn optional_time_zone(text: &str) -> Result<(), String> {
    if text.is_empty() || TimeZone::get(text).is_ok() {
        return Ok(());
    }
    Err("must be a time zone name such as US/Pacific or Europe/Berlin".into())
}

/// Hours from UTC as `-7`, `5.5` or `+05:30`, or nothing.
pub fn optional_utc_offset(text: &str) -> Result<(), String> {
    let refuse = || Err("must be the hours from UTC, -12 to 14, such as -7 or 5.5".to_owned());
    if text.is_empty() {
        return Ok(());
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return refuse();
    }
    let hours = match digits.split_once(':') {
        Some((hours, minutes)) if minutes.len() == 2 => hours
            .parse::<f64>()
            .ok()
            .zip(minutes.parse::<u8>().ok().filter(|m| *m < 60))
            .map(|(h, m)| h + f64::from(m) / 60.0),
        Some(_) => None,
        None => digits.parse::<f64>().ok(),
    };
    match hours {
        Some(hours) if (-12.0..=14.0).contains(&(sign * hours)) => Ok(()),
        _ => refuse(),
    }
}

/// A list of IP addresses and networks, comma separated; empty means every address.
pub fn address_list(text: &str) -> Result<(), String> {
    let entries = networks(text);
    if entries.len() > MAX_ADDRESS_LIST {
        return Err(format!("has more than {MAX_ADDRESS_LIST} entries"));
    }
    match entries.into_iter().find_map(Result::err) {
        None => Ok(()),
        Some(entry) => Err(format!(
            "holds {entry:?}, which is neither an IP address nor a network such as 192.0.2.0/24"
        )),
    }
}

/// The entries of an address list, each as a network or, when it is none, as its text.
pub fn networks(text: &str) -> Vec<Result<IpNet, String>> {
    text.split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty() && *entry != "*")
        .map(|entry| {
            IpAddr::from_str(entry)
                .map(IpNet::from)
                .or_else(|_| IpNet::from_str(entry))
                .map_err(|_| entry.to_owned())
        })
        .collect()
}

/// `*`, one digit 0 to 6, or a set such as `[1-5]`.
pub fn day_of_week(text: &str) -> Result<(), String> {
    let refuse = || Err("must be *, a day 0 (Sunday) to 6, or a set such as [1-5]".to_owned());
    let day = |c: char| ('0'..='6').contains(&c);
    if text == "*" {
        return Ok(());
    }
    let mut characters = text.chars();
    if let (Some(only), None) = (characters.next(), characters.next()) {
        return if day(only) { Ok(()) } else { refuse() };
    }
    let Some(set) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) else {
        return refuse();
    };
    let set: Vec<char> = set.chars().filter(|c| *c != ',').collect();
    let mut at = 0;
    while at < set.len() {
        if !day(set[at]) {
            return refuse();
        }
        if set.get(at + 1) == Some(&'-') {
            match set.get(at + 2) {
                Some(end) if day(*end) && *end >= set[at] => at += 3,
                _ => return refuse(),
            }
        } else {
            at += 1;
        }
    }
    if set.is_empty() { refuse() } else { Ok(()) }
}

/// `*` or `YYYY-MM-DD`.
pub fn date(text: &str) -> Result<(), String> {
    if text == "*" || model::datetime::parse_utc(&format!("{text} 00:00:00")).is_some() {
        return Ok(());
    }
    Err("must be * or a date as YYYY-MM-DD".into())
}

/// `*` or `HH:MM`.
pub fn time_of_day(text: &str) -> Result<(), String> {
    if text == "*"
        || (text.len() == 5
            && model::datetime::parse_utc(&format!("2000-01-01 {text}:00")).is_some())
    {
        return Ok(());
    }
    Err("must be * or a time as HH:MM, 00:00 to 23:59".into())
}

/// `Name: value` with a name the switch does not write itself.
pub fn header_line(text: &str) -> Result<(), String> {
    model::header_line::parse(text)
        .map(|_| ())
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_peers() {
        let good = [
            "",
            "a.carrier.example",
            "192.0.2.20",
            "192.0.2.20:5080",
            "[2001:db8::1]:5061",
            "[2001:db8::1]",
            "2001:db8::1",
            "sip:2485551212@aj",
            "sips:a.example:5061;transport=tls",
            "trunk_1",
            "a.example.",
        ];
        for text in good {
            assert_eq!(peer_address(text), Ok(()), "{text}");
        }
        let bad = [
            "a b",
            "host:",
            "host:0",
            "host:65536",
            "host:+5060",
            "[2001:db8::1",
            "[x]:5060",
            "1.2.3",
            "1.2.3.4.5",
            "300.1.1.1",
            "-a.example",
            "a..b",
            "http://a.example",
            "a/b",
            "sip:",
            "sip:@",
            "<sip:a@b>",
            "a\"b",
        ];
        for text in bad {
            assert!(peer_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn days_dates_times() {
        for text in ["*", "0", "6", "[1-5]", "[135]", "[0-26]", "[1,3]"] {
            assert_eq!(day_of_week(text), Ok(()), "{text}");
        }
        for text in ["", "7", "[]", "[5-1]", "[1-", "[1-7]", "1-5", "mon", "[-3]"] {
            assert!(day_of_week(text).is_err(), "{text}");
        }
        assert!(
            date("2024-02-29").is_ok() && date("2023-02-29").is_err() && date("2024-2-9").is_err()
        );
        assert!(
            time_of_day("23:59").is_ok()
                && time_of_day("24:00").is_err()
                && time_of_day("9:00").is_err()
        );
        assert!(
            optional_datetime("2025-05-19 02:41:11").is_ok()
                && optional_datetime("2025-05-19 02:41:1").is_err()
        );
    }

    #[test]
    fn zones_and_offsets() {
        assert!(
            optional_time_zone("US/Pacific").is_ok() && optional_time_zone("Mars/Olympus").is_err()
        );
        for text in ["", "-7", "5.5", "+05:30", "0", "14", "-12"] {
            assert_eq!(optional_utc_offset(text), Ok(()), "{text}");
        }
        for text in [
            "15", "-13", "x", "5:3", "5:60", "inf", "nan", "1e1x", "--7", "+-7",
        ] {
            assert!(optional_utc_offset(text).is_err(), "{text}");
        }
    }

    #[test]
    fn header_lines() {
        assert!(header_line("X-Account: <OwnDomain>").is_ok());
        for text in [
            "X-Account",
            ": x",
            "Via: x",
            "f: x",
            "Content-Type: x",
            "CSEQ: 1",
            "A B: c",
            "X:",
        ] {
            assert!(header_line(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_of_domains() {
        assert!(domain_name("Example_1.com").is_ok() && domain_or_star("*").is_ok());
        for text in ["", "*", "~", "a b", "count", "..", "é", &"a".repeat(65)] {
            assert!(domain_name(text).is_err(), "{text}");
        }
    }
}
