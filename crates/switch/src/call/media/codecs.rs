//! Which codecs the two sides of a call see in each other's descriptions.
//!
//! We can convert between G.711, G.722 and Opus. That costs time, quality and a little delay, so it is done only where
//! the offers force it:
//!
//! - An offer is passed on with the codecs it has. Whoever finds one of them usable is never converted.
//! - Where it is known that the other side has none of them, those that we can convert to are added behind the offerer's
//!   own ([`Reach::Widened`]): the other side refused the offer for its codecs (488), said in this call that it speaks
//!   others, or is to be told an offer that cannot be repeated.
//! - The answer that comes back names codecs of the offerer alone. If it takes up none, it becomes an answer with the
//!   first one of the offerer that we speak, and the relay converts.
//!
//! `connection-pcmu-only-enabled` is the same with a list of one: a side that has it sees PCMU and nothing else.

use super::policy::Policy;
use ::media::codec::Format;
use ::media::g711;
use ::media::sdp::{Codec, MediaLine, Session, Transport};

/// How we receive Opus: at the rate of the codec on the other side, which is 16 kHz at most, and with means against
/// losses (RFC 7587 §6.1).
const OPUS_PARAMETERS: &str = "maxplaybackrate=16000;useinbandfec=1";

/// Which codecs an offer may have on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Media do not pass us: what one side says the other must understand.
    Direct,
    /// They do, and those of the offerer will do, as far as we know.
    Own,
    /// Those that we can convert to as well.
    Widened,
}

/// What becomes of an offer of a side with policy `from` for one with policy `to`. `reach` tells, by slot, how far a line
/// may go.
pub(super) fn offer_for_other(
    mut offer: Session,
    from: Policy,
    to: Policy,
    reach: impl Fn(usize, &MediaLine) -> Reach,
) -> Result<Session, String> {
    for (slot, line) in audio_lines(&mut offer) {
        if from.pcmu_only {
            if !line.has_format(g711::PCMU) {
                return Err(
                    "Offer without PCMU from a connection that uses nothing else".to_owned(),
                );
            }
            line.retain_formats(|codec| codec.payload_type == g711::PCMU || is_event(codec));
        }
        match reach(slot, line) {
            reach if to.pcmu_only => leave_pcmu(line, reach)?,
            Reach::Direct => {}
            Reach::Widened => widen(line),
            // The record took it from the offer, so nobody asked the offerer.
            Reach::Own if from.pcmu_only => line.insert_format(1, &Codec::PCMA),
            Reach::Own => {}
        }
    }
    Ok(offer)
}

/// How far a line may go when no more audio may be converted: from law to law of G.711, which costs nothing.
pub(super) fn without_transcoding(line: &MediaLine) -> Reach {
    match line.has_format(g711::PCMU) || line.has_format(g711::PCMA) {
        true => Reach::Own,
        false => Reach::Direct,
    }
}

/// Whether widening would make a difference to an offer.
pub(super) fn can_be_widened(offer: &Session) -> bool {
    let mut offer = offer.clone();
    audio_lines(&mut offer).any(|(_, line)| {
        let before = line.formats.len();
        widen(line);
        line.formats.len() > before
    })
}

/// Whether one of the codecs of an offer is among those that the other side last said it speaks. Without anything said
/// it is taken to be so.
pub(super) fn may_have_one_of(said: Option<&MediaLine>, offered: &MediaLine) -> bool {
    let Some(said) = said.filter(|said| is_audio(said)) else {
        return true;
    };
    let mut offered = offered.codecs().filter(Codec::is_media);
    offered.any(|codec| said.codecs().any(|known| known.same_encoding(&codec)))
}

/// What becomes of an answer of a side with policy `from` for the side whose offer it answers.
pub(super) fn answer_for_offerer(
    mut answer: Session,
    from: Policy,
    to: Policy,
    offer: &Session,
    relayed: bool,
) -> Result<Session, String> {
    let narrow = from.pcmu_only || to.pcmu_only;
    if !relayed && !narrow {
        return Ok(answer);
    }
    for (slot, line) in audio_lines(&mut answer) {
        if from.pcmu_only && !line.has_format(g711::PCMU) {
            return Err("Answer without PCMU".to_owned());
        }
        let Some(offered) = offer.media.get(slot) else {
            continue;
        };
        let wants = |codec: &Codec| !to.pcmu_only || codec.payload_type == g711::PCMU;
        let says = |codec: &Codec| !from.pcmu_only || codec.payload_type == g711::PCMU;
        let shares = |codec: &Codec| {
            let mut offered = offered.codecs().filter(wants);
            codec.is_media() && says(codec) && offered.any(|one| one.same_encoding(codec))
        };
        let shared = line.codecs().any(|codec| shares(&codec));
        let convertible = line.codecs().any(|codec| Format::of(&codec).is_some());
        if shared {
            // The others were ours to offer, or are against what a record asks.
            line.retain_formats(|codec| match is_event(codec) {
                true => offered.codecs().any(|one| one.same_encoding(codec)),
                false => shares(codec) || !narrow && Format::of(codec).is_none(),
            });
        } else if relayed && convertible {
            let chosen = offered
                .codecs()
                .filter(wants)
                .find(|codec| Format::of(codec).is_some());
            match chosen {
                Some(chosen) => speak(line, offered, chosen),
                None => return Err("Answer with codecs that the offer does not have".to_owned()),
            }
        } else if narrow {
            return Err("Answer without PCMU".to_owned());
        }
    }
    Ok(answer)
}

/// What a side can be sent that offered `offered` and was told `given`: formats under its own numbers.
pub(super) fn agreed(offered: &MediaLine, given: &MediaLine) -> MediaLine {
    let mut agreed = offered.clone();
    agreed.retain_formats(|codec| given.codecs().any(|given| given.same_encoding(codec)));
    agreed
}

/// What a side can be sent that answered `said` to `offered`. An answer may name more than was offered (RFC 3264 §6.1),
/// and we may have had our reasons; one that names nothing else is taken at its word.
pub(super) fn taken_up(said: &MediaLine, offered: &MediaLine) -> MediaLine {
    let agreed = agreed(said, offered);
    let speaks = agreed.codecs().any(|codec| codec.is_media());
    if speaks { agreed } else { said.clone() }
}

/// The codec that a line names first: what is spoken, in the record.
pub(super) fn spoken(line: &MediaLine) -> Option<String> {
    let mut codecs = line.codecs();
    let codec = codecs.find(Codec::is_media)?;
    let name = if codec.name.is_empty() {
        codec.payload_type.to_string()
    } else {
        codec.name.into_owned()
    };
    line.is_active()
        .then(|| format!("{name}/{}", codec.clock_rate_hz))
}

/// Leaves PCMU alone, which is put in where it can be made of something else.
fn leave_pcmu(line: &mut MediaLine, reach: Reach) -> Result<(), String> {
    let convertible = line.codecs().any(|codec| Format::of(&codec).is_some());
    if !line.has_format(g711::PCMU) && (reach == Reach::Direct || !convertible) {
        return Err(
            "Nothing offered can become PCMU, which the called connection asks for".to_owned(),
        );
    }
    let had_events = line.codecs().any(|codec| is_event(&codec));
    line.insert_format(0, &Codec::PCMU);
    line.retain_formats(|codec| {
        codec.payload_type == g711::PCMU
            || is_event(codec) && codec.clock_rate_hz == g711::SAMPLE_RATE_HZ
    });
    if had_events {
        line.append_format(&Codec::telephone_event());
    }
    Ok(())
}

/// Adds what we can convert to.
fn widen(line: &mut MediaLine) {
    let own: Vec<Format> = line
        .codecs()
        .filter_map(|codec| Format::of(&codec))
        .collect();
    if own.is_empty() {
        return;
    }
    // Who speaks in high fidelity should stay with it if there is a way.
    let wide = own
        .iter()
        .any(|format| matches!(format, Format::G722 | Format::Opus));
    let order = match wide {
        true => [Format::G722, Format::Opus, Format::Pcmu, Format::Pcma],
        false => [Format::Pcmu, Format::Pcma, Format::G722, Format::Opus],
    };
    let had_events = line.codecs().any(|codec| is_event(&codec));
    for format in order {
        line.append_format(&described(format));
    }
    if had_events {
        // Key presses of Opus may be on a clock that nobody else has.
        line.append_format(&Codec::telephone_event());
    }
}

/// Makes an accepted line speak one codec of the offer, and its key presses if they were taken up.
fn speak(line: &mut MediaLine, offered: &MediaLine, chosen: Codec) {
    let events = line.codecs().any(|codec| is_event(&codec));
    line.retain_formats(|_| false);
    let format = Format::of(&chosen);
    let parameters = format.and_then(|format| described(format).parameters);
    let clock = chosen.clock_rate_hz;
    line.append_format(&Codec {
        parameters,
        ..chosen
    });
    if events {
        let mut known: Vec<Codec> = offered.codecs().filter(is_event).collect();
        // On the clock of the audio, if there is such a one (RFC 4733 §2.1).
        known.sort_by_key(|event| event.clock_rate_hz != clock);
        let event = known.into_iter().next();
        if let Some(event) = event {
            line.append_format(&event);
        }
    }
}

fn described(format: Format) -> Codec {
    let codec = format.described();
    match format {
        Format::Opus => Codec {
            parameters: Some(OPUS_PARAMETERS.to_owned()),
            ..codec
        },
        _ => codec,
    }
}

fn audio_lines(session: &mut Session) -> impl Iterator<Item = (usize, &mut MediaLine)> {
    let lines = session.media.iter_mut().enumerate();
    lines.filter(|(_, line)| is_audio(line))
}

pub(super) fn is_audio(line: &MediaLine) -> bool {
    line.is_active()
        && line.media.eq_ignore_ascii_case("audio")
        && line.transport() == Transport::Rtp
}

fn is_event(codec: &Codec) -> bool {
    codec.is_telephone_event()
}
