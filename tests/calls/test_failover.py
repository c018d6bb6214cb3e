"""A carrier known by a name with several addresses: when one fails, the next is tried (RFC 3263 section 4.3).

The only name that every machine resolves without a network is `localhost`, with an IPv4 and an IPv6 address.
"""

import socket

import pytest

from lib.sip_ua import Ua, is_new_invite
from lib.waiting import wait_until

BOTH = {info[4][0] for info in socket.getaddrinfo("localhost", 5060)} >= {"127.0.0.1", "::1"}
needs_both = pytest.mark.skipif(not BOTH, reason="localhost has not both an IPv4 and an IPv6 address here")


def called_first(one, other):
    """Both, the one whom the call has reached first; which family that is, the machine's resolver decides."""
    rings = lambda: [ua for ua in (one, other) if ua.has(is_new_invite)]  # noqa: E731
    (first,) = wait_until("the call reaches one of them", rings, every=0.005)
    return (one, other) if first is one else (other, one)


def refuse(leg):
    leg.reply(leg.invite, 486)
    leg.expect("ACK")


def test_a_name_is_resolved(carriers):
    two = carriers()
    two.tenant.change("b", connection_address=f"localhost:{two.bob.port}")
    call = two.call()
    refuse(two.bob.incoming())
    call.expect(486)


@needs_both
def test_a_target_that_is_overloaded_is_passed_over(carriers):
    two = carriers()
    six = Ua("::1", port=two.bob.port, user="bob-over-ipv6")
    two.tenant.change("b", connection_address=f"localhost:{two.bob.port}")
    call = two.call()
    first, second = called_first(six, two.bob)
    first = first.incoming()
    first.reply(first.invite, 503)
    first.expect("ACK")
    refuse(second.incoming())
    call.expect(486)
    six.close()


@needs_both
def test_a_target_that_says_nothing_is_passed_over_in_seconds(carriers):
    two = carriers()
    six = Ua("::1", port=two.bob.port, user="bob-over-ipv6")
    two.tenant.change("b", connection_address=f"localhost:{two.bob.port}")
    call = two.call()
    first, second = called_first(six, two.bob)
    first.incoming(trying=False)
    refuse(second.incoming())
    call.expect(486)
    six.close()


def test_a_refusal_that_is_not_an_overload_is_final(carriers):
    two = carriers()
    two.tenant.change("b", connection_address=f"localhost:{two.bob.port}")
    call = two.call()
    refuse(two.bob.incoming())
    two.bob.no_call(0.3)
    call.expect(486)
