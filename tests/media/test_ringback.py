"""A ringing tone that the switch itself plays, heard at the caller's own port."""

import pytest

from lib import audio, sdp
from lib.rtp import SAMPLES
from lib.sdp import Sdp
from lib.tenant import Carriers, Tenant
from lib.tone_port import TonePort
from lib.waiting import wait_until

# Malaysia rings with one frequency, twice shortly, so that a round takes three seconds: frames of 20 ms.
COUNTRY, TONE_HZ, ROUND = "my", 425, [True] * 20 + [False] * 10 + [True] * 20 + [False] * 100
VOICE_HZ = 1000
PCMU, PCMA = 0, 8


@pytest.fixture
def ringing(own_switch):
    """A factory of two carriers around a switch that rings as in Malaysia."""
    made = []

    def make(**fields):
        made.append(Carriers(Tenant(own_switch("--ringback-country", COUNTRY)), **fields))
        return made[-1]

    yield make
    for two in made:
        two.close()


@pytest.fixture
def ports():
    """A factory of ports with a voice; they are closed at the end."""
    made = []

    def make(payload_type):
        made.append(TonePort(VOICE_HZ, payload_type=payload_type))
        return made[-1]

    yield make
    for port in made:
        port.close()


@pytest.mark.parametrize("hides", [False, True])
@pytest.mark.parametrize("law", [PCMU, PCMA])
def test_a_caller_that_would_hear_silence_hears_the_tone_of_its_country_and_then_the_answer(ringing, ports, law, hides):
    two = ringing(b={"connection-hide-post-dial-delay-with-ringback-enabled": "yes"} if hides else {})
    caller, called = ports(law), ports(law)
    call = two.call(body=sdp.audio("127.0.0.1", caller.port, payloads=(law,)))
    leg = two.bob.incoming()
    answer = sdp.audio("127.0.0.1", called.port, payloads=(law,))
    if hides:
        call.expect(180)
    leg.reply(leg.invite, 183, answer)
    call.expect(183)
    if not hides:
        leg.reply(leg.invite, 180)
        call.expect(180)

    heard = wait_until("the tone begins its second round", lambda: caller.heard_seconds(TONE_HZ, 1.0), 20)
    assert abs(heard.drift_hz) < 1
    packets = list(caller.received)
    assert len({packet.ssrc for packet in packets}) == 1
    # By the clock of the stream: a switch that is kept waiting leaves frames out, but never delays those that follow.
    for packet in packets:
        frame = (packet.timestamp - packets[0].timestamp) % 2**32 // SAMPLES
        sounds = audio.Heard(audio.LAWS[law].decode(packet.payload), TONE_HZ).seconds > 0
        assert sounds == ROUND[frame % len(ROUND)], f"frame {frame}"

    leg.reply(leg.invite, 200, answer)
    assert Sdp(call.expect(200).body).rtp
    call.ack()
    leg.expect("ACK")
    called.play(Sdp(leg.invite.body).rtp)
    wait_until("the caller hears the answer", lambda: called.ssrc in {packet.ssrc for packet in caller.received}, 10)
    caller.forget()
    wait_until("and hears it for a second", lambda: caller.heard_seconds(VOICE_HZ, 1.0), 20)
    assert {packet.ssrc for packet in caller.received} == {called.ssrc}, "nothing of the tone is left"
    caller.assert_heard(VOICE_HZ, 1.0)
    two.hang_up(call, leg)
