//! A call as a ladder: three lifelines, an arrow per message, drawn while it happens.

use std::time::Duration;

use crate::terminal::Paint;

/// Where the arrows end, from the left edge; the whole is 98 columns wide.
const LIFELINES: [usize; 3] = [14, 54, 94];
/// The drawing's width, for what is printed around it.
pub(crate) const WIDTH: usize = 98;

/// Who stands at a lifeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    Caller = 0,
    Switch = 1,
    Called = 2,
}

/// How an arrow looks: what a message does to the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Request,
    Progress,
    Success,
    Refusal,
}

/// One SIP message, as far as a ladder tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arrow {
    pub(crate) from: Actor,
    pub(crate) to: Actor,
    pub(crate) label: String,
    pub(crate) mood: Mood,
}

impl Arrow {
    /// Reads what the ladder needs from a message; anything that does not begin like SIP is shown as it is.
    pub(crate) fn of_message(from: Actor, to: Actor, bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let first = head.lines().next().unwrap_or_default();
        let (mut label, mood) = match first.strip_prefix("SIP/2.0 ") {
            Some(status) => {
                let mood = match status.as_bytes().first() {
                    Some(b'1') => Mood::Progress,
                    Some(b'2') => Mood::Success,
                    _ => Mood::Refusal,
                };
                (status.to_owned(), mood)
            }
            None => {
                let mut words = first.split(' ');
                let (method, uri) = (
                    words.next().unwrap_or_default(),
                    words.next().unwrap_or_default(),
                );
                (
                    [method, &callee(uri)].join(" ").trim_end().to_owned(),
                    Mood::Request,
                )
            }
        };
        if body.starts_with("v=0") {
            label.push_str(" · SDP");
        }
        Self {
            from,
            to,
            label,
            mood,
        }
    }
}

/// `user@host` of a request's URI. One without a user is the address of a phone, which a ladder shows by its lifeline.
fn callee(uri: &str) -> String {
    let uri = uri.split([';', '?']).next().unwrap_or_default();
    let uri = uri.split_once(':').map_or(uri, |(_scheme, rest)| rest);
    match uri.split_once('@') {
        // The port says nothing that the lifeline does not.
        Some((user, host)) => format!(
            "{user}@{}",
            host.rsplit_once(':').map_or(host, |(host, _)| host)
        ),
        None => String::new(),
    }
}

/// Draws lines; keeps nothing but how they should look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ladder {
    pub(crate) paint: Paint,
}

impl Ladder {
    /// The names above the lifelines.
    pub(crate) fn head(self, names: [&str; 3]) -> String {
        let mut line = String::new();
        for (name, column) in names.iter().zip(LIFELINES) {
            let start = (column.saturating_sub(name.chars().count() / 2))
                .min(WIDTH.saturating_sub(name.chars().count()));
            let gap = start.saturating_sub(line.chars().count());
            line.push_str(&" ".repeat(gap));
            line.push_str(name);
        }
        self.paint.bold(&line)
    }

    /// One message.
    pub(crate) fn arrow(self, at: Duration, arrow: &Arrow) -> String {
        let (left, right) = (arrow.from as usize, arrow.to as usize);
        let rightward = left < right;
        let (left, right) = (left.min(right), left.max(right));
        let room = LIFELINES[right] - LIFELINES[left] - 1;
        let label: String = arrow.label.chars().take(room.saturating_sub(6)).collect();
        let dashes = room.saturating_sub(label.chars().count() + 3);
        let (before, after) = (dashes / 2, dashes - dashes / 2);
        let drawn = match rightward {
            true => format!("{} {label} {}▶", "─".repeat(before), "─".repeat(after)),
            false => format!("◀{} {label} {}", "─".repeat(before), "─".repeat(after)),
        };
        let drawn = match arrow.mood {
            Mood::Request => self.paint.cyan(&drawn),
            Mood::Progress => self.paint.yellow(&drawn),
            Mood::Success => self.paint.green(&drawn),
            Mood::Refusal => self.paint.red(&drawn),
        };
        self.line(&time(at), left, &drawn)
    }

    /// Audio along the whole way, with what is heard.
    pub(crate) fn media(self, at: Duration, label: &str) -> String {
        let stretch = |label: &str| {
            let room = LIFELINES[1] - LIFELINES[0] - 1;
            let dashes = room.saturating_sub(label.chars().count() + 4);
            let (before, after) = (dashes / 2, dashes - dashes / 2);
            self.paint.magenta(&format!(
                "◀{} {label} {}▶",
                "═".repeat(before),
                "═".repeat(after)
            ))
        };
        let [bar, stretch] = [self.paint.dim("│"), stretch(label)];
        format!(
            "{}{}{bar}{stretch}{bar}{stretch}{bar}",
            self.paint.dim(&time(at)),
            gap(LIFELINES[0])
        )
    }

    /// Nothing but time passing.
    pub(crate) fn rung(self) -> String {
        self.line("", LIFELINES.len(), "")
    }

    /// The lifelines, with `drawn` between number `left` and the next one.
    fn line(self, time: &str, left: usize, drawn: &str) -> String {
        let mut line = self.paint.dim(&format!("{time:8}"));
        line.push_str(&gap(LIFELINES[0]));
        for (index, column) in LIFELINES.iter().enumerate() {
            line.push_str(&self.paint.dim("│"));
            match LIFELINES.get(index + 1) {
                Some(_) if index == left => line.push_str(drawn),
                Some(next) => line.push_str(&" ".repeat(next - column - 1)),
                None => {}
            }
        }
        line
    }
}

/// Between the time, eight columns wide, and the first lifeline.
fn gap(column: usize) -> String {
    " ".repeat(column - 8)
}

fn time(at: Duration) -> String {
    format!("{:>6.3} s", at.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LADDER: Ladder = Ladder {
        paint: Paint::plain(),
    };

    #[test]
    fn messages_become_labels() {
        let arrow = Arrow::of_message(
            Actor::Caller,
            Actor::Switch,
            b"INVITE sip:2000@acme:5060;user=phone SIP/2.0\r\nVia: x\r\n\r\nv=0\r\n",
        );
        assert_eq!(
            (arrow.label.as_str(), arrow.mood),
            ("INVITE 2000@acme · SDP", Mood::Request)
        );
        let arrow = Arrow::of_message(Actor::Switch, Actor::Caller, b"SIP/2.0 180 Ringing\r\n\r\n");
        assert_eq!(
            (arrow.label.as_str(), arrow.mood),
            ("180 Ringing", Mood::Progress)
        );
        assert_eq!(
            Arrow::of_message(
                Actor::Switch,
                Actor::Caller,
                b"SIP/2.0 486 Busy Here\r\n\r\n"
            )
            .mood,
            Mood::Refusal
        );
        assert_eq!(
            Arrow::of_message(Actor::Switch, Actor::Caller, b"\xff").label,
            "\u{fffd}"
        );
        assert_eq!(
            Arrow::of_message(
                Actor::Caller,
                Actor::Switch,
                b"BYE sip:192.0.2.1:5060 SIP/2.0\r\n\r\n"
            )
            .label,
            "BYE"
        );
    }

    #[test]
    fn every_line_keeps_the_lifelines() {
        let arrows = [
            (Actor::Caller, Actor::Switch),
            (Actor::Switch, Actor::Caller),
            (Actor::Switch, Actor::Called),
            (Actor::Called, Actor::Switch),
        ];
        let mut lines: Vec<String> = arrows
            .map(|(from, to)| Arrow {
                from,
                to,
                label: "200 OK and a label much longer than any arrow has room for".into(),
                mood: Mood::Success,
            })
            .iter()
            .map(|arrow| LADDER.arrow(Duration::from_millis(1_234), arrow))
            .collect();
        lines.push(LADDER.media(Duration::ZERO, "RTP"));
        lines.push(LADDER.rung());
        for line in lines {
            let symbols: Vec<char> = line.chars().collect();
            assert!(symbols.len() <= WIDTH, "{line}");
            for column in LIFELINES {
                assert_eq!(symbols.get(column), Some(&'│'), "{line}");
            }
        }
    }
}
