//! Handshake messages in fragments (RFC 6347 §4.2): put together on their way in, cut on their way out.

use super::{Reader, u16, u24};

/// Bytes of a fragment's header: type, length, number, where the fragment begins, how long it is.
pub(crate) const HEADER_BYTES: usize = 12;

/// Bytes of the longest message that is put together: a chain of certificates, and then some.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// Messages that are kept ahead of the one that is missing: a whole flight.
const AHEAD_MAX: u16 = 8;

/// Bytes of all messages that are not complete, or not in turn.
const WAITING_BYTES_MAX: usize = 32 * 1024;

/// A whole message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Message {
    pub(crate) kind: u8,
    pub(crate) number: u16,
    /// Whether it came under the keys of the handshake.
    pub(crate) sealed: bool,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// As it counts for the digest of the handshake, whether it came in fragments or not.
    pub(crate) fn write_whole(&self, out: &mut Vec<u8>) {
        self.write_fragment(out, 0, self.body.len());
    }

    /// The fragment from `start` of at most `length` bytes.
    pub(crate) fn write_fragment(&self, out: &mut Vec<u8>, start: usize, length: usize) {
        let fragment = self.body.get(start..).unwrap_or_default();
        let fragment = &fragment[..length.min(fragment.len())];
        out.push(self.kind);
        u24(out, self.body.len());
        u16(out, self.number);
        u24(out, start);
        u24(out, fragment.len());
        out.extend_from_slice(fragment);
    }
}

/// Puts messages together and hands them out in turn.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    /// Number of the message that is handed out next.
    next: u16,
    waiting: Vec<Partial>,
}

#[derive(Debug)]
struct Partial {
    message: Message,
    /// What has arrived, as ranges that neither touch nor overlap.
    arrived: Vec<(usize, usize)>,
}

impl Assembly {
    /// Takes the fragments of one record. `true` when a message was among them that had been handed out before: the far
    /// end says it again.
    pub(crate) fn take(&mut self, record: &[u8], sealed: bool) -> bool {
        let mut reader = Reader::new(record);
        let mut again = false;
        while !reader.is_empty() {
            match self.take_fragment(&mut reader, sealed) {
                Some(repeated) => again |= repeated,
                None => break,
            }
        }
        again
    }

    /// The next message, once it is whole.
    pub(crate) fn next(&mut self) -> Option<Message> {
        let at = self
            .waiting
            .iter()
            .position(|partial| partial.message.number == self.next && partial.is_whole())?;
        self.next = self.next.checked_add(1)?;
        Some(self.waiting.swap_remove(at).message)
    }

    fn take_fragment(&mut self, reader: &mut Reader<'_>, sealed: bool) -> Option<bool> {
        let kind = reader.u8()?;
        let length = reader.u24()?;
        let number = reader.u16()?;
        let start = reader.u24()?;
        let fragment = reader.vec24()?;
        let end = start + fragment.len();
        if end > length || length > MESSAGE_BYTES_MAX {
            return None;
        }
        if number < self.next {
            return Some(true);
        }
        if number - self.next >= AHEAD_MAX {
            return Some(false);
        }
        let known = self
            .waiting
            .iter_mut()
            .find(|partial| partial.message.number == number);
        let partial = match known {
            Some(partial) => partial,
            None => {
                let waiting = self
                    .waiting
                    .iter()
                    .map(|partial| partial.message.body.len());
                if waiting.sum::<usize>() + length > WAITING_BYTES_MAX {
                    return Some(false);
                }
                let body = vec![0; length];
                let message = Message {
                    kind,
                    number,
                    sealed,
                    body,
                };
                let arrived = Vec::new();
                self.waiting.push(Partial { message, arrived });
                self.waiting.last_mut()?
            }
        };
        let message = &mut partial.message;
        if (message.kind, message.body.len(), message.sealed) == (kind, length, sealed) {
            message.body[start..end].copy_from_slice(fragment);
            partial.note(start, end);
        }
        Some(false)
    }
}

impl Partial {
    fn is_whole(&self) -> bool {
        self.message.body.is_empty() || self.arrived == [(0, self.message.body.len())]
    }

    fn note(&mut self, mut start: usize, mut end: usize) {
        self.arrived.retain(|(from, to)| {
            let apart = *to < start || end < *from;
            if !apart {
                (start, end) = (start.min(*from), end.max(*to));
            }
            apart
        });
        self.arrived.push((start, end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u16, length: usize) -> Message {
        Message {
            kind: 11,
            number,
            sealed: false,
            body: (0..length).map(|at| at as u8).collect(),
        }
    }

    fn fragment(message: &Message, start: usize, length: usize) -> Vec<u8> {
        let mut out = Vec::new();
        message.write_fragment(&mut out, start, length);
        out
    }

    #[test]
    fn fragments_in_any_order_make_the_message() {
        let whole = message(0, 100);
        for starts in [[0, 40, 80], [80, 0, 40], [40, 80, 0]] {
            let mut assembly = Assembly::default();
            for start in starts {
                assert_eq!(assembly.next(), None);
                assert!(!assembly.take(&fragment(&whole, start, 45), false));
            }
            assert_eq!(assembly.next().as_ref(), Some(&whole));
            assert_eq!(assembly.next(), None);
            assert!(assembly.take(&fragment(&whole, 0, 45), false), "said again");
        }
    }

    #[test]
    fn messages_are_handed_out_in_turn() {
        let mut assembly = Assembly::default();
        let [first, second] = [message(0, 3), message(1, 0)];
        let both = [fragment(&second, 0, 0), fragment(&first, 0, 3)].concat();
        assembly.take(&both, false);
        assert_eq!(assembly.next(), Some(first));
        assert_eq!(assembly.next(), Some(second));
    }

    #[test]
    fn what_makes_no_sense_is_not_kept() {
        let mut assembly = Assembly::default();
        let mut beyond = fragment(&message(0, 10), 5, 5);
        beyond[8] = 6;
        assembly.take(&beyond, false);
        assembly.take(&fragment(&message(AHEAD_MAX, 1), 0, 1), false);
        let mut huge = fragment(&message(0, 1), 0, 1);
        huge[1] = 0xff;
        assembly.take(&huge, false);
        assert!(assembly.waiting.is_empty());

        // A fragment of another message under the same number changes nothing.
        let whole = message(0, 10);
        assembly.take(&fragment(&whole, 0, 5), false);
        assembly.take(&fragment(&message(0, 11), 5, 6), false);
        assembly.take(&fragment(&whole, 5, 5), true);
        assert_eq!(assembly.next(), None);
        assembly.take(&fragment(&whole, 5, 5), false);
        assert_eq!(assembly.next(), Some(whole));
    }

    #[test]
    fn memory_is_bounded() {
        let mut assembly = Assembly::default();
        for number in 0..AHEAD_MAX {
            assembly.take(&fragment(&message(number, MESSAGE_BYTES_MAX), 0, 1), false);
        }
        assert_eq!(
            assembly.waiting.len(),
            WAITING_BYTES_MAX / MESSAGE_BYTES_MAX
        );
    }
}
