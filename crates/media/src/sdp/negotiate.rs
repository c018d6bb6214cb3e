//! Offers and answers of end points of our own: one audio stream over plain RTP.

use super::anchor::{LocalMedia, OriginState, insert_connection};
use super::offer_answer::NegotiationError;
use super::{Codec, Direction, Line, MediaLine, Security, Session, Transport};

/// An offer of one audio line with `codecs` in order of preference.
pub fn make_offer(
    local: LocalMedia,
    codecs: &[Codec],
    direction: Direction,
    origin: &mut OriginState,
) -> Vec<u8> {
    let media = vec![audio_line(local, codecs, direction)];
    origin.print(&describe(local, media))
}

/// An answer that accepts the first audio line it can and refuses all others.
///
/// Codecs keep the offer's order and numbers; key presses are accepted only beside a codec. The
/// direction grants whatever the offer asks for.
pub fn make_answer(
    offer: &Session,
    local: LocalMedia,
    codecs: &[Codec],
    origin: &mut OriginState,
) -> Result<Vec<u8>, NegotiationError> {
    let usable = offer.media.iter().map(|media| usable_codecs(media, codecs));
    let chosen = usable
        .enumerate()
        .find(|(_, codecs)| codecs.iter().any(Codec::is_media));
    let (accepted, codecs) = chosen.ok_or(NegotiationError::Unusable)?;

    let media = offer.media.iter().enumerate().map(|(index, media)| {
        if index == accepted {
            let direction = offer.effective_direction(index).reversed();
            // The profile is the offer's choice, with or without feedback.
            MediaLine {
                proto: media.proto.clone(),
                ..audio_line(local, &codecs, direction)
            }
        } else {
            MediaLine {
                port: 0,
                port_count: None,
                lines: Vec::new(),
                ..media.clone()
            }
        }
    });
    let media = media.collect();
    Ok(origin.print(&describe(local, media)))
}

/// The codec the describing end prefers on its first accepted audio line: what to send to it.
pub fn preferred_codec(sdp: &Session) -> Option<Codec> {
    let audio = sdp
        .media
        .iter()
        .find(|media| media.is_active() && media.media == "audio")?;
    audio.codecs().find(Codec::is_media)
}

/// What of an offered line we can speak, under the offered numbers.
fn usable_codecs(media: &MediaLine, ours: &[Codec]) -> Vec<Codec> {
    let speaks = media.is_active()
        && media.media == "audio"
        && media.transport() == Transport::Rtp
        && media.security() == Security::None;
    if !speaks {
        return Vec::new();
    }
    media
        .codecs()
        .filter_map(|offered| {
            let ours = ours.iter().find(|ours| ours.same_encoding(&offered))?;
            Some(Codec {
                payload_type: offered.payload_type,
                ..ours.clone()
            })
        })
        .collect()
}

fn audio_line(local: LocalMedia, codecs: &[Codec], direction: Direction) -> MediaLine {
    let mut lines = Vec::new();
    for codec in codecs {
        lines.push(Line::attribute("rtpmap", Some(&codec.mapping())));
        if let Some(parameters) = &codec.parameters {
            lines.push(Line::attribute(
                "fmtp",
                Some(&format!("{} {parameters}", codec.payload_type)),
            ));
        }
    }
    lines.push(Line::attribute("ptime", Some("20")));
    lines.push(Line::attribute(direction.name(), None));
    MediaLine {
        media: "audio".to_owned(),
        port: local.rtp_port,
        port_count: None,
        proto: "RTP/AVP".to_owned(),
        formats: codecs
            .iter()
            .map(|codec| codec.payload_type.to_string())
            .collect(),
        lines,
    }
}

fn describe(local: LocalMedia, media: Vec<MediaLine>) -> Session {
    let mut lines = vec![
        Line::new(b'v', "0"),
        Line::new(b's', "-"),
        Line::new(b't', "0 0"),
    ];
    insert_connection(&mut lines, local.address);
    Session { lines, media }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::offer_answer::{answer_directions, answer_shape};

    fn local(rtp_port: u16) -> LocalMedia {
        LocalMedia::new("192.0.2.1".parse().expect("literal"), rtp_port)
    }

    fn state() -> OriginState {
        OriginState::new(5, local(0).address)
    }

    fn codecs() -> [Codec; 3] {
        [Codec::PCMU, Codec::PCMA, Codec::telephone_event()]
    }

    fn parse(bytes: &[u8]) -> Session {
        Session::parse(bytes).expect("our own description")
    }

    #[test]
    fn an_offer_and_its_answer_agree() {
        for direction in [
            Direction::SendRecv,
            Direction::SendOnly,
            Direction::RecvOnly,
            Direction::Inactive,
        ] {
            let offer = parse(&make_offer(
                local(4_000),
                &codecs(),
                direction,
                &mut state(),
            ));
            assert_eq!(offer.rtp_address(0), "192.0.2.1:4000".parse().ok());
            let answer = make_answer(&offer, local(5_000), &codecs()[1..], &mut state())
                .expect("common codec");
            let answer = parse(&answer);
            assert_eq!(answer_shape(&offer, &answer), Ok(()));
            assert_eq!(answer_directions(&offer, &answer), Ok(()));
            assert_eq!(answer.direction(0), direction.reversed());
            assert_eq!(preferred_codec(&answer), Some(Codec::PCMA));
        }
    }

    #[test]
    fn numbers_are_the_offers_and_other_streams_are_refused() {
        let offer = parse(
            b"v=0\no=- 1 1 IN IP4 192.0.2.2\ns=-\nc=IN IP4 192.0.2.2\nt=0 0\nm=video 6 RTP/AVP 31\n\
              m=audio 4 RTP/AVPF 9 96 8\na=rtpmap:96 telephone-event/8000\n",
        );
        let answer =
            make_answer(&offer, local(5_000), &codecs(), &mut state()).expect("common codec");
        let text = String::from_utf8(answer).expect("text");
        assert!(
            text.contains("m=video 0 RTP/AVP 31\r\nm=audio 5000 RTP/AVPF 96 8\r\n"),
            "{text}"
        );
        assert!(
            text.contains("a=rtpmap:96 telephone-event/8000\r\na=fmtp:96 0-15\r\n"),
            "{text}"
        );
    }

    #[test]
    fn key_presses_alone_are_no_call() {
        let offer = make_offer(
            local(4_000),
            &[Codec::telephone_event()],
            Direction::SendRecv,
            &mut state(),
        );
        let answer = make_answer(&parse(&offer), local(5_000), &codecs(), &mut state());
        assert_eq!(answer, Err(NegotiationError::Unusable));
    }
}
