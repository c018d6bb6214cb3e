//! Our branches, tags and Call-IDs: they say which shard made them and what they lead to.
//!
//! A token is `s`, four hexadecimal digits of owner, six of slot, six of generation and eight random
//! characters. The owner lets any shard pass a packet on without a table; slot and generation lead
//! straight to the transaction or session; the random rest keeps strangers from guessing it. Whoever
//! follows a token still compares the whole text with what is stored there.

use crate::arena::Key;
use crate::message::ByteStr;
use crate::random::Random;
use crate::transaction::key::MAGIC_COOKIE;

const MARK: u8 = b's';
const OWNER: std::ops::Range<usize> = 1..5;
const SLOT: std::ops::Range<usize> = 5..11;
const GENERATION: std::ops::Range<usize> = 11..17;
const RANDOM_CHARACTERS: usize = 8;
const LENGTH: usize = GENERATION.end + RANDOM_CHARACTERS;
/// Slots and generations are cut to this many values in a token.
const SLOTS: u32 = 1 << 24;
/// The most transactions or sessions that tokens can tell apart.
pub(crate) const MAX_SLOTS: usize = SLOTS as usize - 1;
/// What stands in the slot of a token that leads nowhere.
const NOWHERE: Key = Key {
    index: SLOTS - 1,
    generation: 0,
};
/// How far into a datagram `owner_of` looks for the field it needs.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// A new token that leads to `key`.
fn write(out: &mut String, owner: u16, key: Key, random: &mut Random) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let mut text = [MARK; LENGTH];
    let mut put = |range: std::ops::Range<usize>, mut value: u32| {
        for place in text[range].iter_mut().rev() {
            *place = HEX[(value & 15) as usize];
            value >>= 4;
        }
    };
    put(OWNER, u32::from(owner));
    put(SLOT, key.index % SLOTS);
    put(GENERATION, key.generation % SLOTS);
    let mut bits = random.next_u64();
    for place in &mut text[GENERATION.end..] {
        *place = ALPHABET[(bits & 31) as usize];
        bits >>= 5;
    }
    out.extend(text.iter().map(|&byte| char::from(byte)));
}

/// A tag for the dialogs of a session.
pub(crate) fn tag(owner: u16, key: Key, random: &mut Random) -> ByteStr {
    let mut text = String::with_capacity(LENGTH);
    write(&mut text, owner, key, random);
    text.into()
}

/// A tag or Call-ID that leads to no session.
pub(crate) fn anonymous(owner: u16, random: &mut Random) -> String {
    let mut text = String::with_capacity(LENGTH);
    write(&mut text, owner, NOWHERE, random);
    text
}

/// A branch for a client transaction.
pub(crate) fn branch(owner: u16, key: Key, random: &mut Random) -> ByteStr {
    let mut text = String::with_capacity(MAGIC_COOKIE.len() + LENGTH);
    text.push_str(MAGIC_COOKIE);
    write(&mut text, owner, key, random);
    text.into()
}

/// The slot and the lower bits of the generation in a token.
pub(crate) fn lead(token: &str) -> Option<(u16, Key)> {
    let token = token.as_bytes();
    if token.len() != LENGTH || token[0] != MARK {
        return None;
    }
    let owner = hexadecimal(&token[OWNER])? as u16;
    let key = Key {
        index: hexadecimal(&token[SLOT])?,
        generation: hexadecimal(&token[GENERATION])?,
    };
    Some((owner, key))
}

/// The slot in a branch of ours.
pub(crate) fn lead_of_branch(branch: &str) -> Option<(u16, Key)> {
    lead(branch.strip_prefix(MAGIC_COOKIE)?)
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    let mut value = 0;
    for digit in digits {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        value = value << 4 | u32::from(digit);
    }
    Some(value)
}

/// Which shard a message belongs to, read from our To tag (requests) or our branch in the topmost Via
/// (responses) without parsing the message. `None` when it continues nothing of ours: a first request,
/// or something broken.
pub fn owner_of(bytes: &[u8]) -> Option<u16> {
    let head = &bytes[..bytes.len().min(MAX_HEAD_BYTES)];
    if head.starts_with(b"SIP/2.0") {
        let via = field(head, b"via", b'v')?;
        // Only the topmost element counts; others of a comma-separated list belong to other hops.
        let via = &via[..memchr::memchr(b',', via).unwrap_or(via.len())];
        let branch = parameter(via, b"branch=")?;
        lead_of_branch(std::str::from_utf8(branch).ok()?).map(|(owner, _)| owner)
    } else {
        let to = field(head, b"to", b't')?;
        // Behind the angle bracket, so that a parameter of the URI is not taken for the tag.
        let to = &to[memchr::memrchr(b'>', to).map_or(0, |at| at + 1)..];
        let tag = parameter(to, b"tag=")?;
        lead(std::str::from_utf8(tag).ok()?).map(|(owner, _)| owner)
    }
}

/// The value of the first header line called `long` or, in compact form, `short`.
fn field<'a>(head: &'a [u8], long: &[u8], short: u8) -> Option<&'a [u8]> {
    let mut rest = head;
    loop {
        let end = memchr::memchr(b'\n', rest)?;
        rest = &rest[end + 1..];
        if rest.is_empty() || rest[0] == b'\r' || rest[0] == b'\n' {
            return None;
        }
        let named = if rest.len() > long.len() && rest[..long.len()].eq_ignore_ascii_case(long) {
            long.len()
        } else if rest[0].eq_ignore_ascii_case(&short) {
            1
        } else {
            continue;
        };
        let after = rest[named..].trim_ascii_start();
        if after.first() == Some(&b':') {
            let end = memchr::memchr(b'\n', after).unwrap_or(after.len());
            return Some(&after[1..end]);
        }
    }
}

/// The value of the parameter whose name and equals sign are `name`.
fn parameter<'a>(value: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    for semicolon in memchr::memchr_iter(b';', value) {
        let after = value[semicolon + 1..].trim_ascii_start();
        if after.len() > name.len() && after[..name.len()].eq_ignore_ascii_case(name) {
            let text = &after[name.len()..];
            let end = text
                .iter()
                .position(|byte| matches!(byte, b';' | b',' | b' ' | b'\t' | b'\r' | b'\n' | b'>'))
                .unwrap_or(text.len());
            return Some(&text[..end]);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_back() {
        let mut random = Random::new(1);
        let key = Key {
            index: 0xabcde,
            generation: 0x12345,
        };
        let text = tag(0xbeef, key, &mut random);
        assert_eq!(lead(&text), Some((0xbeef, key)));
        let text = branch(7, key, &mut random);
        assert_eq!(lead_of_branch(&text), Some((7, key)));
        assert_eq!(lead("s00000000000000000000000"), None);
        assert_eq!(lead(""), None);
        assert_eq!(lead(&"s".repeat(LENGTH)), None);
    }

    #[test]
    fn the_owner_is_read_from_tags_and_branches() {
        let mut random = Random::new(2);
        let key = Key {
            index: 1,
            generation: 2,
        };
        let tag = tag(0x0102, key, &mut random);
        let branch = branch(0x0304, key, &mut random);
        let request = |to: &str| {
            format!("BYE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKq\r\n{to}\r\n\r\n")
        };
        for to in [
            format!("To: <sip:a;tag=no@h>;tag={tag}"),
            format!("t:\"x;y\" <sip:a@h> ; x=1;tag={tag};z"),
            format!("TO : sip:a@h;tag={tag}"),
        ] {
            assert_eq!(owner_of(request(&to).as_bytes()), Some(0x0102), "{to}");
        }
        for to in ["To: <sip:a@h>", "To: <sip:a@h>;tag=abc", "Tag: <sip:a@h>"] {
            assert_eq!(owner_of(request(to).as_bytes()), None, "{to}");
        }
        let response = format!(
            "SIP/2.0 200 OK\r\nv: SIP/2.0/UDP h;rport;branch={branch};received=1.2.3.4\r\n\r\n"
        );
        assert_eq!(owner_of(response.as_bytes()), Some(0x0304));
        let others = format!(
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa, SIP/2.0/UDP i;branch={branch}\r\n\r\n"
        );
        assert_eq!(owner_of(others.as_bytes()), None);
        assert_eq!(owner_of(b""), None);
        assert_eq!(owner_of(b"SIP/2.0 200 OK\r\nVia"), None);
    }
}
