"""`connection-sip-authenticate-as-client-enabled`: a carrier's challenge is answered, once, unseen by the caller."""

import pytest

from lib import digest

OURS = {
    "connection_sip_authenticate_as_client_enabled": "yes",
    "connection_sip_registration_username": "our-user",
    "connection_sip_registration_password": "our-secret",
}
HEADERS = {401: ("WWW-Authenticate", "Authorization"), 407: ("Proxy-Authenticate", "Proxy-Authorization")}


def challenged(two, status=407, **challenge):
    """The first INVITE is challenged; returns alice's call and bob's second INVITE."""
    call = two.call()
    leg = two.bob.incoming()
    leg.reply(leg.invite, status, headers=[(HEADERS[status][0], digest.challenge("carrier.example", **challenge))])
    leg.expect("ACK")
    return call, leg


@pytest.mark.parametrize("status", [401, 407])
@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_the_challenge_is_answered_with_the_connections_credentials(carriers, status, algorithm):
    two = carriers(b=OURS)
    call, first = challenged(two, status, algorithm=algorithm)
    again = two.bob.incoming()
    assert again.invite.call_id == first.call_id
    assert again.invite.cseq == first.invite.cseq + 1
    assert digest.correct(again.invite.get(HEADERS[status][1]), "our-user", "our-secret", "INVITE")
    again.reply(again.invite, 486)
    again.expect("ACK")
    call.expect(486)


def test_a_challenge_without_qop_is_answered_the_old_way(carriers):
    two = carriers(b=OURS)
    call, _ = challenged(two, qop=False)
    again = two.bob.incoming()
    assert digest.correct(again.invite.get("Proxy-Authorization"), "our-user", "our-secret", "INVITE")
    again.reply(again.invite, 486)
    again.expect("ACK")
    call.expect(486)


def test_the_bye_of_an_authenticated_call_is_authenticated_too(carriers):
    """A carrier may challenge the BYE; it has to end the call nevertheless."""
    two = carriers(b=OURS)
    call, _ = challenged(two)
    leg = two.bob.incoming()
    leg.reply(leg.invite, 200)
    call.expect(200)
    call.ack()
    leg.expect("ACK")
    bye = call.request("BYE")
    got = leg.expect("BYE")
    if got.get("Proxy-Authorization") is None:
        leg.reply(got, 407, headers=[("Proxy-Authenticate", digest.challenge("carrier.example"))])
        got = leg.expect("BYE")
    assert digest.correct(got.get("Proxy-Authorization"), "our-user", "our-secret", "BYE")
    leg.reply(got, 200)
    assert two.alice.response_to(bye).status == 200


def test_a_second_refusal_ends_the_attempt(carriers):
    two = carriers(b=OURS)
    call, _ = challenged(two, nonce="same")
    again = two.bob.incoming()
    again.reply(again.invite, 407, headers=[("Proxy-Authenticate", digest.challenge("carrier.example", nonce="same"))])
    again.expect("ACK")
    two.bob.no_call(0.3)
    response = two.alice.response_to(call.invite)
    assert response.status not in (401, 407) and response.status >= 400, "the caller cannot answer that challenge"


def test_a_challenge_to_a_connection_without_credentials_is_a_failure_for_the_caller(carriers):
    two = carriers()
    call, _ = challenged(two)
    two.bob.no_call(0.3)
    response = two.alice.response_to(call.invite)
    assert response.status not in (401, 407) and response.status >= 400


def test_another_realm_than_the_records_is_not_answered(carriers):
    two = carriers(b={**OURS, "connection_sip_registration_realm": "only-here.example"})
    call, _ = challenged(two)
    two.bob.no_call(0.3)
    assert two.alice.response_to(call.invite).status >= 400
