//! Any body of a message as a session description: read, asked, printed, anchored, answered.

use media::relay::{Payloads, Traffic};
use media::sdp::anchor::{LocalMedia, OriginState, anchored, passthrough};
use media::sdp::negotiate::make_answer;
use media::sdp::offer_answer::{answer_directions, answer_shape};
use media::sdp::{Codec, Session};

pub fn run(bytes: &[u8]) {
    let Ok(session) = Session::parse(bytes) else {
        return;
    };
    assert_eq!(
        Session::parse(&session.to_bytes()),
        Ok(session.clone()),
        "printing loses nothing"
    );

    for (index, media) in session.media.iter().enumerate() {
        let _ = (
            session.rtp_address(index),
            session.rtcp_address(index),
            session.is_held(index),
        );
        let _ = (
            Payloads::of(media),
            Traffic::of(media),
            media.packet_time_ms(),
        );
    }

    let address = [198, 51, 100, 1].into();
    let local = LocalMedia::new(address, 30_000);
    let mut origin = OriginState::new(1, address);
    let ours = vec![Some(local); session.media.len()];
    let through_us = anchored(&session, &ours, &mut origin);
    let through_us = Session::parse(&through_us).expect("what we print can be read");
    for (index, media) in through_us.media.iter().enumerate() {
        assert!(
            !media.is_active() || through_us.rtp_address(index) == Some((address, 30_000).into())
        );
    }
    passthrough(&session, &mut origin);

    let codecs = [Codec::PCMU, Codec::PCMA, Codec::telephone_event()];
    if let Ok(answer) = make_answer(&session, local, &codecs, &mut origin) {
        let answer = Session::parse(&answer).expect("what we print can be read");
        assert_eq!(answer_shape(&session, &answer), Ok(()));
        assert_eq!(answer_directions(&session, &answer), Ok(()));
    }
}
