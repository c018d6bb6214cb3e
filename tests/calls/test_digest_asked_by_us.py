"""`connection-require-sip-authentication-enabled`: the peer proves its password before anything rings."""

import pytest

from lib import digest
from lib.tenant import Tenant

PROOF = {
    "connection_require_sip_authentication_enabled": "yes",
    "connection_sip_registration_username": "trunk-user",
    "connection_sip_registration_password": "trunk-secret",
}


def passes(two, call):
    leg = two.bob.incoming()
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)
    return leg


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_the_right_password_passes(carriers, algorithm):
    two = carriers(a=PROOF)
    call = two.call()
    asked = call.expect(407)
    two.bob.no_call(0.2)
    call.authenticate(asked, "trunk-user", "trunk-secret", algorithm=algorithm)
    leg = passes(two, call)
    assert leg.invite.get("Proxy-Authorization") is None, "credentials are between two neighbours"


def test_both_algorithms_are_offered_the_widest_known_first(carriers):
    two = carriers(a=PROOF)
    offered = [digest.parse(one) for one in two.call().expect(407).all("Proxy-Authenticate")]
    assert [one.get("algorithm", "MD5").upper() for one in offered] == ["MD5", "SHA-256"]
    assert all(one["qop"] == "auth" for one in offered)
    assert {one["realm"] for one in offered} == {two.tenant.host("a")}


def test_phones_that_choke_on_sha_256_are_offered_md5_alone(own_switch, ua):
    """The setting `digest_algorithms`; libre 1.1, and with it Debian 12's baresip, cannot register without it."""
    tenant, phone = Tenant(own_switch("--digest-algorithms", "MD5")), ua(user="phone")
    tenant.connection("a", phone.hostport, **PROOF)
    host, port = tenant.switch.sip_address()
    call = phone.invite((host, port), f"sip:1@{host}:{port}", f"sip:2@{tenant.host('a')}")
    asked = call.expect(407)
    (only,) = asked.all("Proxy-Authenticate")
    assert digest.parse(only)["algorithm"] == "MD5"
    call.authenticate(asked, "trunk-user", "trunk-secret")
    assert phone.response_to(call.invite).status == 404, "it is inside, where nothing has that number"


def test_the_wrong_password_is_refused_and_nothing_rings(carriers):
    two = carriers(a=PROOF)
    call = two.call()
    asked = call.expect(407)
    for _ in range(3):
        call.authenticate(asked, "trunk-user", "wrong")
        response = two.alice.response_to(call.invite)
        call.ua.send(call.ack_for_failure(response), call.destination)
        if response.status == 403:
            break
        asked = response
    assert response.status == 403
    two.bob.no_call(0.2)


def test_the_wrong_user_is_refused(carriers):
    two = carriers(a=PROOF)
    call = two.call()
    call.authenticate(call.expect(407), "somebody-else", "trunk-secret")
    assert two.alice.response_to(call.invite).status in (403, 407)
    two.bob.no_call(0.2)


def test_the_realm_of_the_record_is_used(carriers):
    two = carriers(a={**PROOF, "connection_sip_registration_realm": "realm.example"})
    asked = two.call().expect(407)
    assert digest.parse(asked.get("Proxy-Authenticate"))["realm"] == "realm.example"


def test_an_answer_used_twice_is_not_an_answer(carriers):
    """The nonce count has to grow: whoever copies an INVITE off the wire gains nothing."""
    two = carriers(a=PROOF)
    call = two.call()
    call.authenticate(call.expect(407), "trunk-user", "trunk-secret")
    value = call.invite.get("Proxy-Authorization")
    passes(two, call)
    copy = two.call(headers=[("Proxy-Authorization", value)])
    response = two.alice.response_to(copy.invite)
    assert response.status in (407, 403), response.text
    two.bob.no_call(0.2)


def test_the_hangup_is_not_challenged(carriers):
    two = carriers(a=PROOF)
    call = two.call()
    call.authenticate(call.expect(407), "trunk-user", "trunk-secret")
    leg = two.bob.incoming()
    leg.reply(leg.invite, 200)
    call.expect(200)
    call.ack()
    leg.expect("ACK")
    two.hang_up(call, leg)
