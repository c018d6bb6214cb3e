"""SIPp with media: captures that it plays are heard as tones and keys, and what it echoes comes back."""

import os

import pytest

from lib import audio, pcap, sdp
from lib.ports import free_port
from lib.sdp import Sdp
from lib.sip_ua import Ua
from lib.tone_port import TonePort
from lib.waiting import wait_until

ITS_HZ, EARLY_HZ, OUR_HZ = 1000, 620, 440


@pytest.fixture
def bob(tenant):
    """Whoever is at the other end, with a port that listens and plays."""
    one, port = Ua(user="bob"), TonePort(OUR_HZ)
    tenant.connection("bob", one.hostport)
    yield one, port
    one.close()
    port.close()


def needs_raw_sockets():
    if os.geteuid() != 0:
        pytest.skip("SIPp plays captures through raw sockets, which only root may open")


@pytest.mark.parametrize("payload_type", [0, 8], ids=["PCMU", "PCMA"])
def test_a_capture_that_the_caller_plays(sipp, bob, tmp_path, payload_type):
    needs_raw_sockets()
    ua, port = bob
    port.payload_type = payload_type
    pcap.write_tone(tmp_path / "tone.pcap", ITS_HZ, 2, payload_type)
    sipp.tenant.rule("*", sipp.tenant.host("bob"))
    caller = sipp.caller("caller_with_pcap", media_port=free_port(), keys={"payload": payload_type})
    leg = ua.incoming()
    leg.answer(sdp.audio("127.0.0.1", port.port, payloads=(payload_type, 101)))
    leg.expect_bye(20)
    caller.finish()
    port.assert_heard(ITS_HZ, 1.98)
    assert port.keys() == "15#"


def test_captures_that_the_callee_plays_before_and_after_its_answer(sipp, bob, tmp_path):
    needs_raw_sockets()
    ua, port = bob
    pcap.write_tone(tmp_path / "early.pcap", EARLY_HZ, 1)
    pcap.write_tone(tmp_path / "tone.pcap", ITS_HZ, 2, ssrc=0x70636171)
    callee = sipp.callee("callee_with_pcap", media_port=free_port())
    call = calls(sipp, ua, port)
    call.expect(183)
    call.expect(200)
    port.assert_heard(EARLY_HZ, 0.98)
    port.forget()
    call.ack()
    wait_until("the tone", lambda: port.heard_seconds(ITS_HZ, 1.98), 20, every=0.2)
    port.assert_heard(ITS_HZ, 1.98)
    call.bye()
    callee.finish()


def test_what_sipp_echoes_comes_back(sipp, bob):
    ua, port = bob
    callee = sipp.callee("callee", media_port=free_port(), options=("-rtp_echo",))
    call = calls(sipp, ua, port)
    port.play(Sdp(call.expect(200).body).rtp)
    call.ack()
    wait_until("the echo", lambda: port.heard_seconds(OUR_HZ, 2), 20, every=0.2)
    audio.assert_tone(port.samples(), OUR_HZ, 2, slips=audio.PEER_SLIPS)
    call.bye()
    callee.finish()


def calls(sipp, ua, port):
    """bob's INVITE through the switch to SIPp."""
    host, door = sipp.switch.sip_address()
    return ua.invite((host, door), f"sip:13105550100@{host}:{door}", f"sip:2@{sipp.tenant.host('bob')}",
                     sdp.audio("127.0.0.1", port.port, payloads=(0, 101)))  # fmt: skip
