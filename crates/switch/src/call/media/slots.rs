//! Media lines of a call, which the two sides need not have in common.
//!
//! A side's description may lack lines that the other's has: video that a connection does not want is left out of
//! offers to it. Yet towards each side the lines keep their number and order for the life of the leg (RFC 3264 §8),
//! and an answer has exactly the lines of its offer. So the call has *slots*, one for every line that either side
//! ever offered, and each side an order of slots. Within the call a description has its lines by slot.

use ::media::relay::Side;
use ::media::sdp::{MediaLine, Session};
use std::sync::Arc;

/// The lines of a call.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// By slot: the line, refused, for a side whose description says nothing of it.
    refused: Vec<MediaLine>,
    /// By side: its slots in the order of its descriptions.
    orders: [Vec<usize>; 2],
    /// How much of all that was agreed before the offer on the table.
    agreed: [usize; 3],
    /// Video is wanted by both sides.
    pub(super) video: bool,
}

keep::keep!(struct Slots { refused, orders, agreed, video });

impl Slots {
    pub(super) fn new(video: bool) -> Self {
        Self {
            video,
            ..Self::default()
        }
    }

    /// A description of `side` by slot. An offer may bring new lines, an answer may not.
    pub(super) fn by_slot(&mut self, side: Side, mut session: Session, offers: bool) -> Session {
        let order = &mut self.orders[index(side)];
        if !offers {
            session.media.truncate(order.len());
        }
        let mut lines: Vec<Option<MediaLine>> = vec![None; self.refused.len()];
        for (at, line) in session.media.drain(..).enumerate() {
            let line = if self.video || !is_video(&line) {
                line
            } else {
                line.refused()
            };
            match order.get(at) {
                Some(slot) => {
                    if !is_refusal_of(&self.refused[*slot], &line) {
                        self.refused[*slot] = line.refused();
                    }
                    lines[*slot] = Some(line);
                }
                None => {
                    order.push(self.refused.len());
                    self.refused.push(line.refused());
                    lines.push(Some(line));
                }
            }
        }
        let lines = lines.into_iter().zip(&self.refused);
        session.media = lines
            .map(|(line, refused)| line.unwrap_or_else(|| refused.clone()))
            .collect();
        session
    }

    /// A description by slot as `side` gets it.
    pub(super) fn for_side(
        &mut self,
        side: Side,
        session: Arc<Session>,
        offers: bool,
    ) -> (Arc<Session>, &[usize]) {
        let order = &mut self.orders[index(side)];
        if offers {
            for (slot, line) in session.media.iter().enumerate() {
                if !order.contains(&slot) && (self.video || !is_video(line)) {
                    order.push(slot);
                }
            }
        }
        if order.iter().copied().eq(0..session.media.len()) {
            return (session, order);
        }
        let lines = order.iter().filter_map(|slot| session.media.get(*slot));
        let session = Session {
            lines: session.lines.clone(),
            media: lines.cloned().collect(),
        };
        (Arc::new(session), order)
    }

    /// Whether the parts fit together, which those of a call that lived always do.
    pub(super) fn is_sound(&self) -> bool {
        let slots = self.refused.len();
        let known = |order: &Vec<usize>| order.iter().all(|slot| *slot < slots);
        slots <= super::MAX_LINES && self.orders.iter().all(known)
    }

    /// Slots in use.
    pub(super) fn len(&self) -> usize {
        self.refused.len()
    }

    /// The offer on the table was answered.
    pub(super) fn agree(&mut self) {
        self.agreed = [
            self.orders[0].len(),
            self.orders[1].len(),
            self.refused.len(),
        ];
    }

    /// The offer on the table was refused: its new lines never were.
    pub(super) fn disagree(&mut self) {
        self.orders[0].truncate(self.agreed[0]);
        self.orders[1].truncate(self.agreed[1]);
        self.refused.truncate(self.agreed[2]);
    }
}

fn index(side: Side) -> usize {
    match side {
        Side::A => 0,
        Side::B => 1,
    }
}

/// Whether one line is the other, refused.
fn is_refusal_of(refused: &MediaLine, line: &MediaLine) -> bool {
    (&refused.media, &refused.proto, &refused.formats) == (&line.media, &line.proto, &line.formats)
}

fn is_video(line: &MediaLine) -> bool {
    line.media.eq_ignore_ascii_case("video")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(lines: &[&str]) -> Session {
        let mut text = "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\n".to_owned();
        for line in lines {
            text.push_str(&format!("m={line}\n"));
        }
        Session::parse(text.as_bytes()).expect("a description in order")
    }

    fn lines(session: &Session) -> Vec<(String, u16)> {
        let lines = session.media.iter();
        lines.map(|line| (line.media.clone(), line.port)).collect()
    }

    const AUDIO: &str = "audio 4000 RTP/AVP 0";
    const VIDEO: &str = "video 4002 RTP/AVP 31";
    const FAX: &str = "image 4004 udptl t38";

    #[test]
    fn video_that_is_not_wanted_is_left_out_and_refused() {
        let mut slots = Slots::new(false);
        let offer = slots.by_slot(Side::A, session(&[VIDEO, AUDIO]), true);
        let (given, order) = slots.for_side(Side::B, Arc::new(offer), true);
        assert_eq!(lines(&given), [("audio".to_owned(), 4000)]);
        assert_eq!(order, [1]);
        let answer = slots.by_slot(Side::B, session(&[AUDIO]), false);
        let (given, order) = slots.for_side(Side::A, Arc::new(answer), false);
        assert_eq!(
            lines(&given),
            [("video".to_owned(), 0), ("audio".to_owned(), 4000)]
        );
        assert_eq!(order, [0, 1]);
        slots.agree();

        // The called side offers again, with fax: the caller's lines keep their places.
        let offer = slots.by_slot(Side::B, session(&[AUDIO, FAX]), true);
        let (given, _) = slots.for_side(Side::A, Arc::new(offer), true);
        let expected = [("video", 0), ("audio", 4000), ("image", 4004)];
        assert_eq!(
            lines(&given),
            expected.map(|(name, port)| (name.to_owned(), port))
        );
        slots.disagree();
        assert_eq!(slots.len(), 2);
    }

    #[test]
    fn an_answer_brings_no_lines() {
        let mut slots = Slots::new(true);
        let offer = slots.by_slot(Side::A, session(&[AUDIO]), true);
        slots.for_side(Side::B, Arc::new(offer), true);
        let answer = slots.by_slot(Side::B, session(&[AUDIO, VIDEO]), false);
        assert_eq!(answer.media.len(), 1);
    }
}
