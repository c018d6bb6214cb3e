"""The pool of RTP ports: what happens when it is empty, and that it fills again."""

from lib import sdp
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

    wait_until("the ports are free again", lambda: relayed_again(two), 6, every=0.5)
    two.close()


def relayed_again(two):
    call = two.call(body=sdp.audio("127.0.0.1", 4000))
    try:
        leg = two.bob.incoming(seconds=0.5)
    except AssertionError:
        return False
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)
    return True
