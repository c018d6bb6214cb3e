//! Texts of settings into values. Each error is the end of a sentence that begins with the setting's name.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use driver::{DIGEST_ALGORITHMS, DigestAlgorithm, PortRange};
use media::ringing_tones::RingingTone;

/// Addresses SIP can listen on.
const SIP_ADDRESSES_MAX: usize = driver::MAX_ADDRESSES;

pub(super) fn one(texts: &[String]) -> Result<&str, String> {
    match texts {
        [text] => Ok(text.trim()),
        _ => Err(format!("takes one value, not {}", texts.len())),
    }
}

/// Algorithms of digest challenges: at least one, none twice.
pub(super) fn digest_algorithms(texts: &[String]) -> Result<Vec<DigestAlgorithm>, String> {
    let mut algorithms = Vec::new();
    for text in texts {
        let algorithm = DIGEST_ALGORITHMS
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(text.trim()))
            .ok_or_else(|| format!("is {text:?}; MD5 and SHA-256 are known"))?;
        if algorithms.contains(&algorithm) {
            return Err(format!("names {} twice", algorithm.as_str()));
        }
        algorithms.push(algorithm);
    }
    if algorithms.is_empty() {
        return Err("is empty; name MD5, SHA-256 or both".into());
    }
    Ok(algorithms)
}

/// Addresses to listen on, between `least` and what the driver can carry.
pub(super) fn addresses(
    texts: &[String],
    least: usize,
    port: u16,
) -> Result<Vec<SocketAddr>, String> {
    // An empty variable or file entry means the same as none.
    let texts: Vec<&str> = texts
        .iter()
        .map(|text| text.trim())
        .filter(|text| least > 0 || !text.is_empty())
        .collect();
    if texts.len() < least || texts.len() > SIP_ADDRESSES_MAX {
        return Err(format!(
            "needs between {least} and {SIP_ADDRESSES_MAX} addresses, not {}",
            texts.len()
        ));
    }
    texts
        .into_iter()
        .map(|text| socket_address(text, Some(port)))
        .collect()
}

/// An address that peers can be told; empty is none.
pub(super) fn reachable(text: &str) -> Result<Option<IpAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let address = text
        .trim_matches(['[', ']'])
        .parse::<IpAddr>()
        .map_err(|_| format!("is \"{text}\", which is not an IP address"))?;
    if address.is_unspecified() {
        return Err(format!("is {address}, an address that nobody can reach"));
    }
    Ok(Some(address))
}

/// A country's ringing tone; off is none.
pub(super) fn ringback(country: &str) -> Result<Option<&'static RingingTone>, String> {
    if country.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    RingingTone::of_country(country)
        .map(Some)
        .map_err(|error| format!("is {error}, and off"))
}

pub(super) fn files(texts: &[String]) -> Vec<PathBuf> {
    texts.iter().filter_map(|text| file(text.trim())).collect()
}

pub(super) fn file(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

pub(super) fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        other => Err(format!("is \"{other}\"; it can be \"yes\" or \"no\"")),
    }
}

pub(super) fn number(text: &str, allowed: &[RangeInclusive<u64>]) -> Result<u64, String> {
    let number = text.parse().ok();
    if let Some(number) = number.filter(|number| allowed.iter().any(|range| range.contains(number)))
    {
        return Ok(number);
    }
    let ranges: Vec<String> = allowed
        .iter()
        .map(|range| match (range.start(), range.end()) {
            (least, most) if least == most => least.to_string(),
            (least, most) => format!("a whole number from {least} to {most}"),
        })
        .collect();
    Err(format!("is \"{text}\"; it can be {}", ranges.join(", or ")))
}

pub(super) fn socket_address(text: &str, default_port: Option<u16>) -> Result<SocketAddr, String> {
    let text = text.trim();
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    if let (Some(port), Ok(ip)) = (
        default_port,
        text.trim_matches(['[', ']']).parse::<IpAddr>(),
    ) {
        return Ok(SocketAddr::new(ip, port));
    }
    let host_hint = if text.starts_with("localhost") {
        " (write 127.0.0.1 for localhost)"
    } else {
        ""
    };
    Err(format!(
        "is \"{text}\", which is not an address and port such as 127.0.0.1:8080 or [::1]:8080{host_hint}"
    ))
}

pub(super) fn port_range(text: &str) -> Result<PortRange, String> {
    let ends = text
        .split_once('-')
        .and_then(|(first, last)| Some((first.trim().parse().ok()?, last.trim().parse().ok()?)));
    match ends {
        Some((first, last)) if first >= 1024 && PortRange { first, last }.pairs() >= 2 => {
            Ok(PortRange { first, last })
        }
        Some((first, last)) if first >= 1024 && first <= last => Err(format!(
            "is {first}-{last}, too few ports for one relayed call; it needs four"
        )),
        _ => Err(format!(
            "is \"{text}\", which is not a range of ports above 1023 such as 20000-29999"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_ranges() {
        assert_eq!(
            port_range("20000-29999"),
            Ok(PortRange {
                first: 20_000,
                last: 29_999
            })
        );
        assert_eq!(
            PortRange {
                first: 20_001,
                last: 20_004
            }
            .pairs(),
            1
        );
        for wrong in [
            "",
            "20000",
            "29999-20000",
            "80-90",
            "20000-20002",
            "20000-70000",
            "a-b",
        ] {
            assert!(port_range(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_sip_address_may_leave_the_port_out() {
        assert_eq!(
            socket_address("192.0.2.1", Some(5060)),
            Ok(SocketAddr::from(([192, 0, 2, 1], 5060)))
        );
        assert_eq!(
            socket_address("[::1]", Some(5060)).map(|address| address.port()),
            Ok(5060)
        );
        assert!(
            socket_address("localhost:8080", None).is_err_and(|error| error.contains("127.0.0.1"))
        );
    }
}
