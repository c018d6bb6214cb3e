//! What the media fields of a connection make of session descriptions, seen on the far wire.

use crate::records::{fair_world, phone, put_tenant, rule, trunk};
use media::sdp::Session;
use model::{AudioRelay, Connection, EncryptedAudio, SystemSwitch};
use simulator::phone::WhenCalled;
use simulator::world::{Action, SWITCH, Sent, World};
use sip::message::Method;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const PBX: &str = "198.51.100.1:5060";
const CARRIER: &str = "198.51.100.2:5060";
const EVENTS: &str = "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n";

/// One call from a PBX to a carrier, with media lines of the test's own.
struct Call {
    world: World,
    caller: usize,
    status: Option<u16>,
}

impl Call {
    fn new(
        offer: &str,
        answer: &str,
        change: impl FnOnce(&mut Connection, &mut Connection),
    ) -> Self {
        let mut world = fair_world(11, 100);
        let (mut pbx, mut carrier) = (trunk("d1", "pbx", PBX), trunk("d1", "carrier", CARRIER));
        change(&mut pbx, &mut carrier);
        let rules = vec![rule("*", "carrier")];
        put_tenant(&mut world, vec![pbx, carrier], rules, |_| Arc::default());
        let answers = WhenCalled::Answer(Duration::from_secs(1));
        let called = world.add(phone(CARRIER.parse().unwrap(), "carrier", 40_002, answers));
        let caller = world.add(phone(
            PBX.parse().unwrap(),
            "pbx",
            40_000,
            WhenCalled::RingForever,
        ));
        world.describe_as(caller, offer);
        world.describe_as(called, answer);
        let to = format!("sip:2000@{SWITCH}");
        world.plan(Duration::from_secs(1), caller, Action::Call(to));
        world.plan(Duration::from_secs(10), caller, Action::HangUp);
        Self {
            world,
            caller,
            status: None,
        }
    }

    fn run(mut self) -> Self {
        assert!(self.world.run(Duration::from_secs(600)), "comes to rest");
        let status = {
            let mut responses = self.to(PBX).filter_map(|sent| sent.message()?.status());
            responses.find(|status| *status >= 200)
        };
        self.status = status;
        self
    }

    fn to<'a>(&'a self, address: &str) -> impl Iterator<Item = &'a Sent> + use<'a> {
        let address: SocketAddr = address.parse().unwrap();
        let messages = self.world.messages().iter();
        messages.filter(move |sent| sent.to == address)
    }

    /// The description in the first INVITE or 2xx to an address that has one.
    #[track_caller]
    fn description(&self, address: &str) -> Session {
        let mut bodies = self.to(address).filter_map(|sent| {
            let message = sent.message()?;
            let invites = message.method() == Some(&Method::Invite);
            let answers = message.status() == Some(200);
            (invites || answers).then(|| message.body().clone())
        });
        let body = bodies.find(|body| !body.is_empty());
        Session::parse(&body.expect("a description")).expect("in order")
    }

    /// Its `m=` lines: medium, formats, and whether the port is not zero.
    #[track_caller]
    fn lines(&self, address: &str) -> Vec<String> {
        let session = self.description(address);
        let lines = session.media.iter().map(|line| {
            let state = if line.is_active() { "" } else { " refused" };
            format!("{} {}{state}", line.media, line.formats.join(" "))
        });
        lines.collect()
    }
}

fn audio(formats: &str) -> String {
    format!("m=audio {{port}} RTP/AVP {formats}\r\n{EVENTS}")
}

fn with_video(formats: &str) -> String {
    format!("{}m=video 40100 RTP/AVP 31\r\n", audio(formats))
}

#[test]
fn video_passes_where_nobody_blocks_it() {
    let call = Call::new(&with_video("0 101"), &with_video("0 101"), |_, _| {}).run();
    assert_eq!(call.lines(CARRIER), ["audio 0 101", "video 31"]);
    assert_eq!(call.lines(PBX), ["audio 0 101", "video 31"]);
}

#[test]
fn blocked_video_is_left_out_of_offers_and_refused_in_answers() {
    for blocks_caller in [true, false] {
        let call = Call::new(&with_video("0 101"), &audio("0 101"), |pbx, carrier| {
            let blocking = if blocks_caller { pbx } else { carrier };
            blocking.connection_block_video_in_sdp_enabled = true;
        });
        let call = call.run();
        assert_eq!(call.lines(CARRIER), ["audio 0 101"]);
        assert_eq!(call.lines(PBX), ["audio 0 101", "video 31 refused"]);
    }
}

#[test]
fn video_blocked_in_front_of_the_audio_keeps_its_place() {
    let offer = format!("m=video 40100 RTP/AVP 31\r\n{}", audio("0 101"));
    let call = Call::new(&offer, &audio("0 101"), |_, carrier| {
        carrier.connection_block_video_in_sdp_enabled = true;
    });
    let call = call.run();
    assert_eq!(call.lines(CARRIER), ["audio 0 101"]);
    assert_eq!(call.lines(PBX), ["video 31 refused", "audio 0 101"]);
}

#[test]
fn blocked_video_is_blocked_without_a_relay_too() {
    let call = Call::new(&with_video("0 101"), &audio("0 101"), |pbx, carrier| {
        pbx.connection_audio_relay_enabled = AudioRelay::Never;
        carrier.connection_block_video_in_sdp_enabled = true;
    });
    let call = call.run();
    assert_eq!(call.lines(CARRIER), ["audio 0 101"]);
    assert_eq!(call.lines(PBX), ["audio 0 101", "video 31 refused"]);
}

#[test]
fn pcmu_only_narrows_what_the_called_side_is_offered() {
    let call = Call::new(&audio("8 0 18 101"), &audio("0 101"), |_, carrier| {
        carrier.connection_pcmu_only_enabled = true;
    });
    let call = call.run();
    assert_eq!(call.lines(CARRIER), ["audio 0 101"]);
    assert_eq!(call.lines(PBX), ["audio 0 101"]);
}

#[test]
fn pcmu_only_recodes_for_a_caller_without_it() {
    let call = Call::new(&audio("8 101"), &audio("0 101"), |_, carrier| {
        carrier.connection_pcmu_only_enabled = true;
    });
    let call = call.run();
    assert_eq!(call.lines(CARRIER), ["audio 0 101"]);
    assert_eq!(call.lines(PBX), ["audio 8 101"]);
}

#[test]
fn pcmu_only_recodes_for_a_called_side_without_it() {
    let call = Call::new(&audio("0 9 101"), &audio("8 101"), |pbx, _| {
        pbx.connection_pcmu_only_enabled = true;
    });
    let call = call.run();
    assert_eq!(call.lines(CARRIER), ["audio 0 8 101"]);
    assert_eq!(call.lines(PBX), ["audio 0 101"]);
}

#[test]
fn pcmu_only_refuses_an_offer_without_it() {
    let call = Call::new(&audio("8 101"), &audio("8 101"), |pbx, _| {
        pbx.connection_pcmu_only_enabled = true;
    });
    let call = call.run();
    assert_eq!(call.status, Some(488));
    assert_eq!(call.to(CARRIER).count(), 0, "the carrier is left in peace");
    assert!(call.world.is_idle(call.caller));
}

#[test]
fn pcmu_only_cannot_make_pcmu_of_everything() {
    // G.729 cannot be recoded, and nothing can where the media do not pass us.
    let call = Call::new(&audio("18 101"), &audio("0 101"), |_, carrier| {
        carrier.connection_pcmu_only_enabled = true;
    });
    assert_eq!(call.run().status, Some(488));
    let call = Call::new(&audio("8 101"), &audio("0 101"), |pbx, carrier| {
        pbx.connection_audio_relay_enabled = AudioRelay::Never;
        carrier.connection_pcmu_only_enabled = true;
    });
    assert_eq!(call.run().status, Some(488));
}

#[test]
fn comfort_noise_changes_no_description() {
    let call = Call::new(&audio("0 13 101"), &audio("0 13 101"), |pbx, carrier| {
        pbx.connection_relay_comfort_noise_enabled = SystemSwitch::Yes;
        carrier.connection_relay_comfort_noise_enabled = SystemSwitch::Yes;
    });
    let call = call.run();
    assert_eq!(call.lines(CARRIER), ["audio 0 13 101"]);
    assert_eq!(call.status, Some(200));
}

/// Whose address the called side and the caller see in their descriptions.
fn seen(pbx_relay: AudioRelay, carrier_relay: AudioRelay, offer_ip: &str) -> [bool; 2] {
    let offer = format!("m=audio {{port}} RTP/AVP 0 101\r\nc=IN IP4 {offer_ip}\r\n{EVENTS}");
    let call = Call::new(&offer, &audio("0 101"), |pbx, carrier| {
        pbx.connection_audio_relay_enabled = pbx_relay;
        carrier.connection_audio_relay_enabled = carrier_relay;
    });
    let call = call.run();
    [CARRIER, PBX].map(|address| {
        let session = call.description(address);
        session.rtp_address(0).map(|rtp| rtp.ip()) == Some(SWITCH.ip())
    })
}

#[test]
fn the_relay_takes_part_as_the_two_connections_say() {
    use AudioRelay::{Automatic, Never, None};
    const PUBLIC: &str = "198.51.100.1";
    for (pbx, carrier, relayed) in [
        (Automatic, Automatic, true),
        (Automatic, None, true),
        (None, Automatic, true),
        (None, None, false),
        (Never, Automatic, false),
        (Automatic, Never, false),
        (None, Never, false),
    ] {
        assert_eq!(
            seen(pbx, carrier, PUBLIC),
            [relayed; 2],
            "{pbx:?} {carrier:?}"
        );
    }
    // A caller behind a NAT cannot be reached at the address it writes.
    assert_eq!(seen(None, None, "192.168.7.7"), [true; 2]);
    assert_eq!(seen(Never, None, "192.168.7.7"), [false; 2]);
}

#[test]
fn an_offer_that_may_need_recoding_needs_the_relay() {
    let call = Call::new(&audio("8 101"), &audio("0 101"), |pbx, carrier| {
        pbx.connection_audio_relay_enabled = AudioRelay::None;
        carrier.connection_audio_relay_enabled = AudioRelay::None;
        carrier.connection_pcmu_only_enabled = true;
    });
    let call = call.run();
    let rtp = call.description(CARRIER).rtp_address(0);
    assert_eq!(rtp.map(|rtp| rtp.ip()), Some(SWITCH.ip()));
}

/// The example of RFC 4568, and another key of the same length.
const THEIR_KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
const ANSWERED_KEY: &str = "PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR";

fn sealed(profile: &str, tag: u32, key: &str) -> String {
    format!(
        "m=audio {{port}} {profile} 0 101\r\n{EVENTS}a=crypto:{tag} AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n"
    )
}

/// Profile and keys of the audio line a side was sent.
#[track_caller]
fn protection(call: &Call, address: &str) -> (String, Option<media::sdp::Crypto>) {
    let session = call.description(address);
    let line = &session.media[0];
    (line.proto.clone(), line.crypto())
}

#[track_caller]
fn key_text(call: &Call, address: &str) -> String {
    let session = call.description(address);
    let crypto = session.media[0].attribute("crypto");
    crypto
        .and_then(|crypto| crypto.value)
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn srtp_ends_at_the_relay_and_rtp_begins() {
    let call = Call::new(
        &sealed("RTP/SAVP", 5, THEIR_KEY),
        &audio("0 101"),
        |_, _| {},
    )
    .run();
    assert_eq!(protection(&call, CARRIER), ("RTP/AVP".to_owned(), None));
    let (profile, crypto) = protection(&call, PBX);
    let crypto = crypto.expect("a key of ours");
    assert_eq!((profile.as_str(), crypto.tag), ("RTP/SAVP", 5));
    assert!(!key_text(&call, PBX).contains(THEIR_KEY), "not its own key");
}

#[test]
fn demanded_encryption_is_offered_and_the_answer_must_have_it() {
    let demand = |_: &mut Connection, carrier: &mut Connection| {
        carrier.connection_require_encrypted_audio_enabled = EncryptedAudio::Yes;
    };
    let call = Call::new(
        &audio("0 101"),
        &sealed("RTP/SAVP", 1, ANSWERED_KEY),
        demand,
    )
    .run();
    let (profile, crypto) = protection(&call, CARRIER);
    assert_eq!(profile, "RTP/SAVP");
    assert!(crypto.is_some());
    assert_eq!(protection(&call, PBX), ("RTP/AVP".to_owned(), None));
    assert_eq!(call.status, Some(200));

    let call = Call::new(&audio("0 101"), &audio("0 101"), demand).run();
    assert_eq!(call.status, Some(488));
}

#[test]
fn demanded_encryption_refuses_a_caller_in_the_clear() {
    for (relay, offer, status) in [
        (AudioRelay::Automatic, audio("0 101"), 488),
        (AudioRelay::Never, audio("0 101"), 488),
        (AudioRelay::None, sealed("RTP/SAVP", 1, THEIR_KEY), 200),
    ] {
        let call = Call::new(&offer, &audio("0 101"), |pbx, carrier| {
            pbx.connection_require_encrypted_audio_enabled = EncryptedAudio::Yes;
            pbx.connection_audio_relay_enabled = relay;
            carrier.connection_audio_relay_enabled = relay;
        });
        assert_eq!(call.run().status, Some(status), "{relay:?} {offer}");
    }
}

#[test]
fn optional_encryption_is_offered_beside_rtp() {
    let offer_it = |_: &mut Connection, carrier: &mut Connection| {
        carrier.connection_require_encrypted_audio_enabled = EncryptedAudio::Optional;
    };
    for answer in [audio("0 101"), sealed("RTP/AVP", 1, ANSWERED_KEY)] {
        let call = Call::new(&audio("0 101"), &answer, offer_it).run();
        let (profile, crypto) = protection(&call, CARRIER);
        assert_eq!(profile, "RTP/AVP");
        assert!(crypto.is_some());
        assert_eq!(protection(&call, PBX), ("RTP/AVP".to_owned(), None));
        assert_eq!(call.status, Some(200));
    }
}

#[test]
fn encryption_beside_rtp_is_taken_up_where_the_record_says_so() {
    for (encryption, taken) in [
        (EncryptedAudio::No, false),
        (EncryptedAudio::Optional, true),
    ] {
        let offer = sealed("RTP/AVP", 3, THEIR_KEY);
        let call = Call::new(&offer, &audio("0 101"), |pbx, _| {
            pbx.connection_require_encrypted_audio_enabled = encryption;
        });
        let (profile, crypto) = protection(&call.run(), PBX);
        assert_eq!((profile.as_str(), crypto.is_some()), ("RTP/AVP", taken));
    }
}

#[test]
fn each_leg_and_each_call_has_keys_of_its_own() {
    let both = |pbx: &mut Connection, carrier: &mut Connection| {
        for connection in [pbx, carrier] {
            connection.connection_require_encrypted_audio_enabled = EncryptedAudio::Yes;
        }
    };
    let offer = sealed("RTP/SAVP", 1, THEIR_KEY);
    let call = Call::new(&offer, &sealed("RTP/SAVP", 1, ANSWERED_KEY), both).run();
    let (to_carrier, to_pbx) = (key_text(&call, CARRIER), key_text(&call, PBX));
    assert_ne!(to_carrier, to_pbx);
    for text in [to_carrier, to_pbx] {
        assert!(!text.contains(THEIR_KEY) && !text.contains(ANSWERED_KEY));
    }
}

#[test]
fn srtp_without_a_key_we_can_use_is_refused() {
    let offer = sealed("RTP/SAVP", 1, "c2hvcnQ=");
    let call = Call::new(&offer, &audio("0 101"), |_, _| {}).run();
    assert_eq!(call.status, Some(488));
    assert_eq!(call.to(CARRIER).count(), 0);
}
