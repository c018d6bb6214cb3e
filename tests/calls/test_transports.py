"""UDP and TCP, IPv4 and IPv6, in every combination, from the INVITE to the BYE."""

import itertools

import pytest

from lib import sdp

V4, V6 = "127.0.0.1", "::1"
ENDS = [(V4, "UDP"), (V4, "TCP"), (V6, "UDP"), (V6, "TCP")]


@pytest.mark.parametrize("alice, bob", itertools.product(ENDS, ENDS), ids=lambda end: f"{end[1]}-{end[0]}")
def test_call(carriers, alice, bob):
    two = carriers(alice=alice, bob=bob)
    call = two.call(body=sdp.audio(alice[0], 4000))
    leg = two.bob.incoming()
    assert leg.invite.get("Via").startswith(f"SIP/2.0/{bob[1]} ")
    assert sdp.Sdp(leg.invite.body).host == bob[0], "each leg has a relay address of its own family"
    leg.reply(leg.invite, 180)
    call.expect(180)
    leg.reply(leg.invite, 200, sdp.audio(bob[0], 5000))
    assert sdp.Sdp(call.expect(200).body).host == alice[0]
    call.ack()
    leg.expect("ACK")
    bye = leg.request("BYE")
    call.expect_bye()
    assert two.bob.response_to(bye).status == 200


def test_messages_that_share_a_segment_and_messages_in_pieces(carriers):
    """TCP has no message borders; a switch that believes in them loses calls."""
    two = carriers(alice=(V4, "TCP"))
    uri = f"sip:{two.door[0]}:{two.door[1]}"
    first, second = (two.alice.build("OPTIONS", uri, from_uri=two.from_uri) for _ in range(2))
    data = first.to_bytes() + b"\r\n\r\n" + second.to_bytes()
    for start, end in ((0, 40), (40, len(data) - 30), (len(data) - 30, len(data))):
        two.alice.send_bytes(data[start:end], two.door)
        two.alice._collect(0.05)
    assert two.alice.response_to(first).status == 200
    assert two.alice.response_to(second).status == 200


def test_a_keep_alive_is_answered(carriers):
    """RFC 5626 section 4.4.1: double CRLF is answered by a single one."""
    two = carriers(alice=(V4, "TCP"))
    stream = two.alice.stream_to(two.door)
    two.alice.selector.unregister(stream.sock)
    stream.sock.settimeout(3)
    stream.sock.sendall(b"\r\n\r\n")
    assert stream.sock.recv(10) == b"\r\n"
    two.alice.selector.register(stream.sock, 1, stream)


def test_a_caller_behind_nat_gets_its_answers(carriers):
    """rport (RFC 3581): the Via names an address that is not reachable, the answers follow the packet's source."""
    two = carriers()
    request = two.alice.build("INVITE", two.called(), from_uri=two.from_uri)
    request.headers[0] = ("Via", request.headers[0][1].replace(two.alice.hostport, "192.0.2.77:5060"))
    two.alice.send(request, two.door)
    leg = two.bob.incoming()
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    response = two.alice.response_to(request)
    assert response.status == 486
    assert "received=127.0.0.1" in response.get("Via")
    assert f"rport={two.alice.port}" in response.get("Via")
