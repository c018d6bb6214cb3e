"""Requests that a careful SIP element refuses, and how."""

import shutil
import subprocess

import pytest


def test_options_is_answered_with_what_we_can(carriers):
    two = carriers()
    response = two.alice.ask(two.door, "OPTIONS", f"sip:{two.door[0]}:{two.door[1]}")
    assert response.status == 200
    assert {"INVITE", "ACK", "CANCEL", "BYE", "UPDATE", "PRACK"} <= set(response.tokens("Allow"))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_sipsak_finds_us_alive(switch, transport):
    assert shutil.which("sipsak"), "sipsak is missing: scripts/install-test-peers.sh installs it"
    host, port = switch.sip_address()
    result = subprocess.run(
        ["sipsak", "-v", "-E", transport, "-s", f"sip:ping@{host}:{port}"], capture_output=True, text=True, timeout=20
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "200" in result.stdout


def test_no_hops_left_is_too_many_hops(carriers):
    two = carriers()
    two.call(max_forwards=0).expect(483)
    two.bob.no_call(0.2)


def test_an_unknown_method_is_not_allowed(carriers):
    two = carriers()
    response = two.alice.ask(two.door, "DANCE", two.called(), from_uri=two.from_uri)
    assert response.status in (405, 501)
    assert "INVITE" in response.tokens("Allow")


def test_an_unknown_extension_is_named(carriers):
    two = carriers()
    response = two.call(headers=[("Require", "teleportation")]).expect(420)
    assert response.tokens("Unsupported") == ["teleportation"]
    two.bob.no_call(0.2)


def test_the_same_request_over_two_paths_is_merged(carriers):
    """RFC 3261 section 8.2.2.2: same tag, Call-ID and CSeq on another branch is the request we already have."""
    two = carriers()
    first = two.call(call_id="merged", tag="one")
    leg = two.bob.incoming()
    second = two.call(call_id="merged", tag="one")
    second.expect(482)
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    two.alice.inbox = [m for m in two.alice.inbox if m.branch == first.invite.branch]
    first.expect(486)


def test_a_request_in_a_dialog_that_is_not_there(carriers):
    two = carriers()
    request = two.alice.build("BYE", two.called(), from_uri=two.from_uri)
    request.headers = [(n, v + ";tag=gone" if n == "To" else v) for n, v in request.headers]
    two.alice.send(request, two.door)
    assert two.alice.response_to(request).status == 481


def test_an_invite_sent_twice_rings_once(carriers):
    two = carriers()
    call = two.call()
    two.alice.send(call.invite, two.door)
    leg = two.bob.incoming()
    two.alice.send(call.invite, two.door)
    two.bob.no_call(0.4)
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)


def test_trying_comes_at_once(carriers):
    two = carriers()
    call = two.call()
    assert two.alice.receive("100", lambda m: m.status == 100)
    leg = two.bob.incoming()
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)


def test_an_unknown_scheme_is_unsupported(carriers):
    two = carriers()
    call = two.alice.invite(two.door, "mailto:ann@example.net", from_uri=two.from_uri)
    call.expect(416)


@pytest.mark.parametrize("missing", ["From", "To", "Call-ID", "CSeq"])
def test_an_invite_without_a_mandatory_header_rings_nobody(carriers, missing):
    two = carriers()
    request = two.alice.build("INVITE", two.called(), from_uri=two.from_uri)
    request.headers = [(n, v) for n, v in request.headers if n != missing]
    two.alice.send(request, two.door)
    two.bob.no_call(0.3)
    assert all(m.status in (100, 400) for m in two.alice.inbox)


@pytest.mark.parametrize(
    "junk", [b"\x00" * 200, b"GET / HTTP/1.1\r\n\r\n", b"INVITE", b"SIP/2.0 200 OK\r\n\r\n", b"\xff" * 1400]
)
def test_junk_does_no_harm(carriers, junk):
    two = carriers()
    two.alice.send_bytes(junk, two.door)
    assert two.alice.ask(two.door, "OPTIONS", f"sip:{two.door[0]}:{two.door[1]}").status == 200


def test_a_header_cannot_be_injected_through_a_display_name(carriers):
    two = carriers()
    call = two.call(name="Eve\\\r\n\tX-Injected: yes")
    leg = two.bob.incoming()
    assert leg.invite.get("X-Injected") is None
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)
