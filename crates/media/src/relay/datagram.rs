//! A packet in its buffer.

/// A packet that may be rewritten in place, and grow into the rest of its buffer.
#[derive(Debug)]
pub struct Datagram<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> Datagram<'a> {
    /// The first `length` bytes of `buffer`, the rest being room to grow.
    pub fn new(buffer: &'a mut [u8], length: usize) -> Self {
        let length = length.min(buffer.len());
        Self { buffer, length }
    }

    /// A packet that fills its buffer: it cannot grow.
    pub fn whole(buffer: &'a mut [u8]) -> Self {
        let length = buffer.len();
        Self { buffer, length }
    }

    /// The packet.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }

    /// The packet, to be rewritten.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.length]
    }

    /// Bytes in the packet.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The packet and `room` bytes behind it; `None` when the buffer has not so many.
    pub fn with_room(&mut self, room: usize) -> Option<&mut [u8]> {
        self.buffer.get_mut(..self.length + room)
    }

    /// Puts another packet in its place; false when the buffer is too small for it.
    pub(super) fn replace(&mut self, packet: &[u8]) -> bool {
        let Some(buffer) = self.buffer.get_mut(..packet.len()) else {
            return false;
        };
        buffer.copy_from_slice(packet);
        self.length = packet.len();
        true
    }

    /// Sets the length, at most to the end of the buffer.
    pub fn set_length(&mut self, length: usize) {
        self.length = length.min(self.buffer.len());
    }
}
