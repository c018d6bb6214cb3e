//! A message body, and the session description that we look for in it.

use super::MAX_LINES;
use ::media::sdp::Session;
use bytes::Bytes;
use sip::message::{ByteStr, Message};

/// A message body and what it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) content_type: Option<ByteStr>,
    pub(crate) bytes: Bytes,
}

keep::keep!(struct Body { content_type, bytes });

impl Body {
    /// The body of a message. Of several parts (RFC 2046) only a session description is used: the others
    /// would describe a session that we rewrite.
    pub(crate) fn of(message: &Message) -> Self {
        let bytes = message.body().clone();
        if bytes.is_empty() {
            return Self::default();
        }
        let content_type = message.content_type().unwrap_or(SDP);
        if let Some(part) = sdp_part(content_type, &bytes) {
            return Self::of_sdp(bytes.slice_ref(part));
        }
        Self {
            content_type: Some(ByteStr::copy(content_type)),
            bytes,
        }
    }

    pub(super) fn of_sdp(bytes: impl Into<Bytes>) -> Self {
        Self {
            content_type: Some(ByteStr::from(SDP)),
            bytes: bytes.into(),
        }
    }

    /// The session description, when there is one.
    pub(crate) fn sdp(&self) -> Option<&Bytes> {
        let essence = self.content_type.as_deref()?.split(';').next()?.trim();
        (essence.eq_ignore_ascii_case(SDP) && !self.bytes.is_empty()).then_some(&self.bytes)
    }
}

const SDP: &str = "application/sdp";

/// A description that can be used, or why not.
pub(super) fn parse(bytes: &Bytes) -> Result<Session, String> {
    match Session::parse_bytes(bytes) {
        Ok(session) if session.media.len() <= MAX_LINES => Ok(session),
        Ok(_) => Err(format!("more than {MAX_LINES} media lines")),
        Err(error) => Err(format!("session description: {error}")),
    }
}

/// The session description within a multipart body.
fn sdp_part<'a>(content_type: &str, body: &'a [u8]) -> Option<&'a [u8]> {
    let (essence, params) = content_type.split_once(';')?;
    if !essence.trim().get(..10)?.eq_ignore_ascii_case("multipart/") {
        return None;
    }
    let boundary = params.split(';').find_map(|param| {
        let (name, value) = param.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("boundary")
            .then(|| value.trim().trim_matches('"'))
    })?;
    let mark = format!("--{boundary}");
    let mut rest = &body[find(body, mark.as_bytes())? + mark.len()..];
    while !rest.starts_with(b"--") {
        let head_end = find(rest, b"\r\n\r\n")?;
        let content = &rest[head_end + 4..];
        let end = find(content, format!("\r\n{mark}").as_bytes())?;
        let head = String::from_utf8_lossy(&rest[..head_end]).to_ascii_lowercase();
        if head.contains(SDP) {
            return Some(&content[..end]);
        }
        rest = &content[end + 2 + mark.len()..];
    }
    None
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_found_among_other_parts() {
        let body = b"preamble\r\n--x1\r\nContent-Type: application/isup\r\n\r\n\x01\x02\r\n--x1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\ns=-\r\n--x1--\r\n";
        let part = sdp_part("multipart/mixed; boundary=\"x1\"", body).unwrap();
        assert_eq!(part, b"v=0\r\ns=-");
        assert_eq!(sdp_part("multipart/mixed; boundary=zz", body), None);
        assert_eq!(sdp_part("application/sdp", body), None);
        assert_eq!(
            sdp_part("multipart/mixed; boundary=x1", b"--x1\r\n\r\nno end"),
            None
        );
    }
}
