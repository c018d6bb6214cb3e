//! Does an answer fit its offer, and may an offer follow another? (RFC 3264 §6 and §8)

use std::fmt;

use super::{MediaLine, Session, Transport};

/// Why offer and answer do not make a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NegotiationError {
    /// The answer has another number of media lines.
    MediaCount {
        /// In the offer.
        offered: usize,
        /// In the answer.
        answered: usize,
    },
    /// A line of the answer is for another medium (index of the line).
    Media(usize),
    /// A line of the answer has another transport or profile (index of the line).
    Proto(usize),
    /// A line that the offer had refused or ended is accepted (index of the line).
    Revived(usize),
    /// An accepted line has no format in common with the offer (index of the line).
    NoCommonFormat(usize),
    /// The answer takes a direction that the offer did not grant (index of the line).
    Direction(usize),
    /// A later offer has fewer media lines than the session.
    MediaRemoved,
    /// A later offer claims another session.
    OtherSession,
    /// Nothing in the offer is of use to us.
    Unusable,
}

impl fmt::Display for NegotiationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MediaCount { offered, answered } => {
                write!(f, "answer has {answered} media lines, offer has {offered}")
            }
            Self::Media(index) => write!(f, "media line {index} changed its medium"),
            Self::Proto(index) => write!(f, "media line {index} changed its transport"),
            Self::Revived(index) => write!(f, "media line {index} accepted, but was not offered"),
            Self::NoCommonFormat(index) => write!(f, "media line {index} has no offered format"),
            Self::Direction(index) => write!(f, "media line {index} takes a direction not granted"),
            Self::MediaRemoved => f.write_str("offer has fewer media lines than the session"),
            Self::OtherSession => f.write_str("offer belongs to another session"),
            Self::Unusable => f.write_str("no offered stream is of use"),
        }
    }
}

impl std::error::Error for NegotiationError {}

/// Checks what makes an answer usable at all: the same lines in the same order, nothing accepted
/// that was not offered, a common format wherever a stream was accepted (RFC 3264 §6).
///
/// Directions are left to [`answer_directions`]: many phones answer `sendonly` with `sendrecv`,
/// and ending the call over it helps nobody.
pub fn answer_shape(offer: &Session, answer: &Session) -> Result<(), NegotiationError> {
    let (offered, answered) = (offer.media.len(), answer.media.len());
    if offered != answered {
        return Err(NegotiationError::MediaCount { offered, answered });
    }
    for (index, (offered, answered)) in offer.media.iter().zip(&answer.media).enumerate() {
        answer_line(index, offered, answered)?;
    }
    Ok(())
}

/// Checks that no accepted line takes a direction beyond what was offered (RFC 3264 §6.1).
pub fn answer_directions(offer: &Session, answer: &Session) -> Result<(), NegotiationError> {
    let accepted = (0..answer.media.len()).filter(|index| answer.media[*index].is_active());
    for index in accepted {
        let granted = offer.effective_direction(index);
        if !granted.allows(answer.effective_direction(index)) {
            return Err(NegotiationError::Direction(index));
        }
    }
    Ok(())
}

/// Checks that `next` may follow `current`, both from the same end: lines are only added, and it
/// is the same session (RFC 3264 §8). The version is not held against anybody: end points that
/// forget to raise it are common, and the description itself shows what changed.
pub fn next_offer_shape(current: &Session, next: &Session) -> Result<(), NegotiationError> {
    if next.media.len() < current.media.len() {
        return Err(NegotiationError::MediaRemoved);
    }
    let identity = |session: &Session| session.origin().map(|origin| origin.session_id.to_owned());
    if identity(current) != identity(next) {
        return Err(NegotiationError::OtherSession);
    }
    Ok(())
}

fn answer_line(
    index: usize,
    offered: &MediaLine,
    answered: &MediaLine,
) -> Result<(), NegotiationError> {
    if !offered.media.eq_ignore_ascii_case(&answered.media) {
        return Err(NegotiationError::Media(index));
    }
    if !answered.is_active() {
        return Ok(());
    }
    if !offered.is_active() {
        return Err(NegotiationError::Revived(index));
    }
    if !offered.proto.eq_ignore_ascii_case(&answered.proto) {
        return Err(NegotiationError::Proto(index));
    }
    if !have_common_format(offered, answered) {
        return Err(NegotiationError::NoCommonFormat(index));
    }
    Ok(())
}

fn have_common_format(offered: &MediaLine, answered: &MediaLine) -> bool {
    if offered.transport() == Transport::Rtp {
        // Numbers of dynamic types may differ between the two directions (RFC 3264 §6.1).
        answered.codecs().any(|answered| {
            offered
                .codecs()
                .any(|offered| offered.same_encoding(&answered))
        })
    } else {
        answered.formats.iter().any(|answered| {
            offered
                .formats
                .iter()
                .any(|offered| offered.eq_ignore_ascii_case(answered))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(media: &str) -> Session {
        let text =
            format!("v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\n{media}");
        Session::parse(text.as_bytes()).expect("a description in order")
    }

    #[track_caller]
    fn check(offer: &str, answer: &str, expected: Result<(), NegotiationError>) {
        assert_eq!(answer_shape(&session(offer), &session(answer)), expected);
    }

    #[test]
    fn an_answer_fits_line_by_line() {
        let offer = "m=audio 4 RTP/AVP 0 8\nm=video 6 RTP/AVP 31\n";
        check(offer, "m=audio 8 RTP/AVP 8\nm=video 0 RTP/AVP 31\n", Ok(()));
        check(
            offer,
            "m=audio 8 RTP/AVP 8\n",
            Err(NegotiationError::MediaCount {
                offered: 2,
                answered: 1,
            }),
        );
        check(
            offer,
            "m=video 8 RTP/AVP 31\nm=audio 8 RTP/AVP 0\n",
            Err(NegotiationError::Media(0)),
        );
        check(
            offer,
            "m=audio 8 RTP/SAVP 8\nm=video 0 RTP/AVP 31\n",
            Err(NegotiationError::Proto(0)),
        );
        check(
            offer,
            "m=audio 8 RTP/AVP 3\nm=video 0 RTP/AVP 31\n",
            Err(NegotiationError::NoCommonFormat(0)),
        );
        check(
            "m=audio 0 RTP/AVP 0\n",
            "m=audio 8 RTP/AVP 0\n",
            Err(NegotiationError::Revived(0)),
        );
        check("m=image 4 udptl t38\n", "m=image 8 UDPTL T38\n", Ok(()));
    }

    #[test]
    fn dynamic_types_match_by_meaning() {
        check(
            "m=audio 4 RTP/AVP 96\na=rtpmap:96 opus/48000/2\n",
            "m=audio 8 RTP/AVP 111\na=rtpmap:111 OPUS/48000/2\n",
            Ok(()),
        );
        check(
            "m=audio 4 RTP/AVP 96\na=rtpmap:96 opus/48000/2\n",
            "m=audio 8 RTP/AVP 96\na=rtpmap:96 speex/16000\n",
            Err(NegotiationError::NoCommonFormat(0)),
        );
    }

    #[test]
    fn directions_are_a_check_of_their_own() {
        let offer = session("m=audio 4 RTP/AVP 0\na=sendonly\n");
        let eager = session("m=audio 8 RTP/AVP 0\n");
        assert_eq!(answer_shape(&offer, &eager), Ok(()));
        assert_eq!(
            answer_directions(&offer, &eager),
            Err(NegotiationError::Direction(0))
        );
        assert_eq!(
            answer_directions(&offer, &session("m=audio 8 RTP/AVP 0\na=recvonly\n")),
            Ok(())
        );
    }

    #[test]
    fn later_offers_only_add() {
        let one = session("m=audio 4 RTP/AVP 0\n");
        let two = session("m=audio 4 RTP/AVP 0\nm=video 6 RTP/AVP 31\n");
        assert_eq!(next_offer_shape(&one, &two), Ok(()));
        assert_eq!(
            next_offer_shape(&two, &one),
            Err(NegotiationError::MediaRemoved)
        );
        let mut other = one.clone();
        other.lines[1] = crate::sdp::Line::new(b'o', "- 2 1 IN IP4 192.0.2.1");
        assert_eq!(
            next_offer_shape(&one, &other),
            Err(NegotiationError::OtherSession)
        );
    }
}
