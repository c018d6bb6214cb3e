//! Who sends and who listens (RFC 3264 §5.1, §6.1).

use std::fmt;

/// The direction of a stream, as seen by the end that describes it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Hash)]
pub enum Direction {
    /// It sends and listens.
    #[default]
    SendRecv,
    /// It sends and does not listen: the other end is on hold.
    SendOnly,
    /// It listens and does not send.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// From the two halves.
    pub fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// The direction an attribute name means.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "sendrecv" => Self::SendRecv,
            "sendonly" => Self::SendOnly,
            "recvonly" => Self::RecvOnly,
            "inactive" => Self::Inactive,
            _ => return None,
        })
    }

    /// The attribute's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// Whether the describing end sends.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the describing end listens.
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The same stream seen from the other end.
    pub fn reversed(self) -> Self {
        Self::new(self.receives(), self.sends())
    }

    /// What both allow.
    pub fn and(self, other: Self) -> Self {
        Self::new(
            self.sends() && other.sends(),
            self.receives() && other.receives(),
        )
    }

    /// Whether `answer` asks for no more than this offer grants (RFC 3264 §6.1).
    pub fn allows(self, answer: Self) -> bool {
        answer.and(self.reversed()) == answer
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Direction::{self, Inactive, RecvOnly, SendOnly, SendRecv};

    const ALL: [Direction; 4] = [SendRecv, SendOnly, RecvOnly, Inactive];

    #[test]
    fn the_table_of_allowed_answers() {
        let allowed = |offer: Direction| {
            ALL.into_iter()
                .filter(|answer| offer.allows(*answer))
                .collect::<Vec<_>>()
        };
        assert_eq!(allowed(SendRecv), ALL);
        assert_eq!(allowed(SendOnly), [RecvOnly, Inactive]);
        assert_eq!(allowed(RecvOnly), [SendOnly, Inactive]);
        assert_eq!(allowed(Inactive), [Inactive]);
    }

    #[test]
    fn names_read_back() {
        for direction in ALL {
            assert_eq!(Direction::from_name(direction.name()), Some(direction));
        }
    }
}
