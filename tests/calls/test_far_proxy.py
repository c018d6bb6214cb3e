"""A carrier whose edge is Kamailio: everything inside the dialog has to follow its Record-Route."""

import pytest

from lib import sdp
from lib.kamailio import proxy as kamailio_proxy


@pytest.fixture
def behind_kamailio(carriers, tmp_path):
    two = carriers()
    proxy = kamailio_proxy(tmp_path, two.bob.hostport).start()
    two.tenant.change("b", connection_address=proxy.address)
    yield two, proxy
    proxy.stop()


def test_call_hold_and_hangup_of_the_caller(behind_kamailio):
    two, proxy = behind_kamailio
    call = two.call(body=sdp.audio("127.0.0.1", 4000))
    leg = two.bob.incoming()
    assert leg.invite.source == (proxy.host, proxy.port) and leg.invite.get("Record-Route")
    leg.reply(leg.invite, 180)
    call.expect(180)
    leg.reply(leg.invite, 200, sdp.audio("127.0.0.1", 5000))
    assert call.expect(200).get("Record-Route") is None, "the carrier's proxy is not the caller's business"
    call.ack()
    assert leg.expect("ACK").source == (proxy.host, proxy.port)
    call.reinvite(sdp.audio("127.0.0.1", 4000, version=2, direction="sendonly"))
    again = leg.expect("INVITE")
    assert again.source == (proxy.host, proxy.port)
    leg.reply(again, 200, sdp.audio("127.0.0.1", 5000, version=2, direction="recvonly"))
    call.expect(200)
    call.ack()
    leg.expect("ACK")
    bye = call.request("BYE")
    assert leg.expect_bye().source == (proxy.host, proxy.port)
    assert two.alice.response_to(bye).status == 200


def test_hangup_of_the_callee(behind_kamailio):
    two, _ = behind_kamailio
    call, leg = two.established(sdp.audio("127.0.0.1", 4000), sdp.audio("127.0.0.1", 5000))
    bye = leg.request("BYE")
    call.expect_bye()
    assert two.bob.response_to(bye).status == 200


def test_cancel(behind_kamailio):
    two, _ = behind_kamailio
    call = two.call()
    leg = two.bob.incoming()
    leg.reply(leg.invite, 180)
    call.expect(180)
    assert call.cancel().status == 200
    call.expect(487)
    leg.reply(leg.expect("CANCEL"), 200)
    leg.reply(leg.invite, 487)
    leg.expect("ACK")


def test_a_proxy_on_the_callers_side_is_kept_in_the_path(carriers, ua):
    """Record-Route in the INVITE: our BYE goes to that address, with a Route."""
    two = carriers()
    proxy = ua(user="proxy")
    call = two.call(headers=[("Record-Route", f"<sip:{proxy.hostport};lr>")])
    leg = two.bob.incoming()
    leg.reply(leg.invite, 200)
    assert proxy.hostport in call.expect(200).get("Record-Route", "")
    call.routes = []  # alice's own requests go straight to the switch here
    call.ack()
    leg.expect("ACK")
    bye = leg.request("BYE")
    got = proxy.receive("the BYE", lambda m: m.is_request and m.method == "BYE")
    assert proxy.hostport in got.get("Route", "")
    assert got.uri == call.ua.contact.strip("<>")
    call.ua = proxy
    call.reply(got, 200)
    assert two.bob.response_to(bye).status == 200
