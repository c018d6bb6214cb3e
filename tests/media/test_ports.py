"""The pool of RTP ports: what happens when it is empty, and that it fills again."""

from lib import sdp
from lib.sip_ua import is_new_invite
from lib.tenant import Carriers, Tenant
from lib.waiting import wait_until


def test_an_empty_pool_refuses_the_call_and_fills_again(own_switch):
    # Room for one relayed call: two pairs, one for each side.
    switch = own_switch("--port-quiet-seconds", 1, "--shards", 1, rtp_ports=4)
    two = Carriers(Tenant(switch))
    call, leg = two.established(sdp.audio("127.0.0.1", 4000), sdp.audio("127.0.0.1", 5000))
    refused = two.call(body=sdp.audio("127.0.0.1", 4000))
    response = two.alice.response_to(refused.invite)
    assert response.status in (500, 503)
    two.alice.send(refused.ack_for_failure(response), two.door)
    bye = call.request("BYE")
    leg.expect_bye()
    two.alice.response_to(bye)

    wait_until("the ports are free again", lambda: relayed_again(two), every=0.5)
    two.close()


def relayed_again(two):
    """Calls once; whether the call reached bob and was not refused for want of ports."""
    call = two.call(body=sdp.audio("127.0.0.1", 4000))
    refusal = lambda m: not m.is_request and m.call_id == call.call_id and m.status >= 300  # noqa: E731
    wait_until("bob is called, or the call is refused", lambda: two.bob.has(is_new_invite) or two.alice.has(refusal))
    if not two.bob.has(is_new_invite):
        two.alice.send(call.ack_for_failure(two.alice.response_to(call.invite)), two.door)
        return False
    leg = two.bob.incoming()
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)
    return True
