"""Foreign peers at both ends and nothing of ours but the switch: each hears the other's tone."""

import pytest

from lib import audio
from lib.asterisk import Asterisk
from lib.baresip import Baresip
from lib.office import ENCRYPTED, Office
from lib.pjsua2 import Pjsua2
from lib.waiting import wait_until

ONE_HZ, OTHER_HZ = 1000, 620
SECONDS = 6
SLIPS = 2 * audio.PEER_SLIPS  # of two clocks and two jitter buffers


@pytest.fixture
def office(own_switch, tmp_path, request):
    one = Office(own_switch, tmp_path, "--digest-algorithms", "MD5")
    yield one
    one.close(told=not getattr(request.node, "passed", False))


def pbx_of(office, transport, srtp):
    fields = {"connection_translation_request_user": "[*]", **(ENCRYPTED if srtp else {})}
    return office.phone("x", Asterisk, ONE_HZ, transport=transport, srtp=srtp, fields=fields, numbers="1??")


@pytest.mark.long
@pytest.mark.parametrize("srtp", [False, True], ids=["RTP", "SRTP"])
def test_baresip_calls_asterisk_with_srtp_over_tls(office, srtp):
    """The phone's side in the clear over UDP, or SRTP over UDP; the PBX's side SRTP over TLS."""
    pbx = pbx_of(office, "TLS", True)
    phone = office.phone("p", Baresip, OTHER_HZ, media="srtp-mand" if srtp else None, fields=ENCRYPTED if srtp else {})
    phone.dial(office.number("100"))
    phone.await_event("CALL_ESTABLISHED")
    wait_until("a recording", lambda: len(phone.heard()) > (SECONDS + 1) * audio.RATE_HZ, 30, every=0.3)
    phone.say("hangup")
    audio.assert_tone(pbx.heard(), OTHER_HZ, SECONDS - 1, slips=SLIPS)
    audio.assert_tone(phone.heard(), ONE_HZ, SECONDS - 1, slips=SLIPS)


@pytest.mark.long
@pytest.mark.parametrize("codec, name", [("PCMU", "ulaw"), ("G722", "g722")])
def test_pjsip_calls_asterisk_over_tcp(office, codec, name):
    fields = {"connection_translation_request_user": "[*]"}
    pbx = office.phone("x", Asterisk, ONE_HZ, transport="TCP", fields=fields, numbers="1??", codecs=name)
    phone = office.phone("p", Pjsua2, OTHER_HZ, codec=codec, transport="TCP")
    phone.say("call", uri=office.number("100"))
    phone.await_event("state", state="CONFIRMED")
    wait_until("a recording", lambda: pbx.recorded_seconds() > SECONDS + 1, 30, every=0.3)
    phone.say("hang_up")
    phone.await_event("state", state="DISCONNECTED", code=200)
    audio.assert_tone(pbx.heard(), OTHER_HZ, SECONDS - 1, slips=SLIPS)
    phone.stop()
    audio.assert_tone(phone.heard(), ONE_HZ, SECONDS - 1, slips=SLIPS)


@pytest.mark.long
def test_asterisk_calls_pjsip_that_calls_baresip_at_the_same_time(office):
    """Two calls at once through one tenant, each with its own pair of peers."""
    pbx = pbx_of(office, "UDP", False)
    first = office.phone("p", Pjsua2, OTHER_HZ)
    second = office.phone("q", Baresip, 440)
    pbx.call("p")
    first.await_event("state", state="CONFIRMED")
    first.say("call", uri=office.number("q"))
    second.await_event("CALL_ESTABLISHED")
    wait_until("a recording", lambda: len(second.heard()) > SECONDS * audio.RATE_HZ, 30, every=0.3)
    second.say("hangup")
    pbx.hang_up()
    audio.assert_tone(second.heard(), OTHER_HZ, SECONDS - 1, slips=SLIPS)
    audio.assert_tone(pbx.heard(), OTHER_HZ, SECONDS - 1, slips=SLIPS)
