//! Frames a stream in one piece and in small ones. The first byte says how small.

use sip::framing::{Frame, FrameError, Framer};
use sip::message::Message;

pub fn run(data: &[u8]) {
    let Some((&size, stream)) = data.split_first() else {
        return;
    };
    let whole = frames(stream, stream.len().max(1));
    assert_eq!(whole, frames(stream, usize::from(size).max(1)));
    for frame in whole.into_iter().flatten() {
        if let Frame::Message(bytes) = frame
            && let Ok(message) = Message::parse(bytes.clone())
        {
            assert!(bytes.ends_with(message.body()));
        }
    }
}

fn frames(stream: &[u8], size: usize) -> Vec<Result<Frame, FrameError>> {
    let mut framer = Framer::new(8192);
    let mut frames = Vec::new();
    for piece in stream.chunks(size) {
        framer.push(piece);
        while let Some(frame) = framer.next() {
            let failed = frame.is_err();
            frames.push(frame);
            if failed {
                return frames;
            }
        }
    }
    frames
}
