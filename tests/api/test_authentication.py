"""Keys: who is asked, who is let in, who reaches what."""

import binascii
import re

import pytest

from lib.api import Api, new_key


def test_without_a_key_we_are_asked_for_one(switch):
    answer = Api(switch.origin).get("/domains")
    assert answer.status == 401
    assert "Bearer" in answer.headers["WWW-Authenticate"]
    assert answer.json["code"] == 401 and answer.message


# Wrong credentials are counted per address, so these tests have switches of their own.
WRONG = ["", "x", "nss_", "nss_" + "A" * 48 + "00000000", "Bearer", "nss_" + "é" * 10, "9" * 5000]


def test_wrong_keys_are_not_let_in(own_switch):
    switch = own_switch()
    for key in WRONG:
        answer = Api(switch.origin).request("GET", "/domains", headers={"Authorization": f"Bearer {key}".encode()})
        assert answer.status in (401, 431), f"{key[:20]!r}: {answer}"
        if answer.status == 401:
            assert "Bearer" in answer.headers["WWW-Authenticate"]


def test_the_password_scheme_of_browsers_is_not_ours(own_switch):
    switch = own_switch()
    assert Api(switch.origin).request("GET", "/domains", headers={"Authorization": "Basic YTpi"}).status == 401


def test_an_address_that_guesses_is_turned_away(own_switch):
    switch = own_switch()
    answers = [Api(switch.origin, f"nss_{number:048d}00000000").get("/domains") for number in range(100)]
    assert answers[0].status == 401 and answers[-1].status == 429
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert switch.api.get("/domains").status == 200, "who has a key is not locked out by a neighbour who guesses"


@pytest.mark.parametrize("scope, prefix", [("Reseller", "nsr_"), ("Office Manager", "nsd_"), ("Basic User", "nsu_")])
def test_a_new_key_has_prefix_length_and_checksum(tenant, scope, prefix):
    whose = {"Reseller": {"reseller": "tests"}, "Basic User": {"user": "1000"}}.get(scope, {})
    made = new_key(tenant.api, domain="*" if scope == "Reseller" else tenant.domain, scope=scope, **whose)
    key = made["key"]
    assert re.fullmatch(prefix + r"[A-Za-z0-9]{48}[0-9a-f]{8}", key)
    assert f"{binascii.crc32(key[4:52].encode()):08x}" == key[52:]
    assert made["key-id"] == key[:12]


def test_nobody_makes_a_key_of_the_own_scope(switch):
    body = {"description": "made by a test run", "reseller": "*", "domain": "*", "user-scope": "Super User"}
    assert switch.api.post("/apikeys", body).status == 403


def test_the_key_is_shown_once(tenant):
    made = new_key(tenant.api, domain=tenant.domain, scope="Office Manager")
    for path in ("/apikeys", f"/apikeys/{made['key-id']}"):
        answer = tenant.api.get(path)
        assert answer.status == 200 and made["key"] not in answer.body
    assert made["key-id"] in tenant.api.get("/apikeys").body


def test_a_revoked_key_is_out_at_once(tenant):
    made = new_key(tenant.api, domain=tenant.domain, scope="Office Manager")
    theirs = tenant.api.with_key(made["key"])
    assert theirs.get("/apikeys/~").status == 200
    assert tenant.api.delete(f"/apikeys/{made['key-id']}").status == 202
    assert theirs.get("/apikeys/~").status == 401


def test_a_read_only_key_reads_only(tenant):
    made = new_key(tenant.api, domain=tenant.domain, scope="Office Manager", readonly="yes")
    theirs = tenant.api.with_key(made["key"])
    assert theirs.get(f"/domains/{tenant.domain}").status == 200
    body = {"domain": tenant.domain, "connection-orig-match-pattern": "sip*@x.example"}
    assert theirs.post("/connections", body).status == 403


def test_a_key_for_another_address_is_forbidden_here(tenant):
    made = new_key(tenant.api, domain=tenant.domain, scope="Office Manager", ip_address="192.0.2.1")
    assert tenant.api.with_key(made["key"]).get("/version").status == 403
    made = new_key(tenant.api, domain=tenant.domain, scope="Office Manager", ip_address="192.0.2.1,127.0.0.0/8")
    assert tenant.api.with_key(made["key"]).get("/version").status == 200


def test_a_key_without_the_right_makes_no_keys(tenant):
    theirs = tenant.api.with_key(new_key(tenant.api, domain=tenant.domain, scope="Office Manager")["key"])
    body = {
        "description": "made by a test run",
        "reseller": "*",
        "domain": tenant.domain,
        "user-scope": "Basic User",
        "user": "1",
    }
    assert theirs.post("/apikeys", body).status == 403


def test_a_key_makes_keys_of_lower_scope_only(tenant):
    made = new_key(tenant.api, domain=tenant.domain, scope="Office Manager", can_create_keys="yes")
    theirs = tenant.api.with_key(made["key"])
    body = {"description": "made by a test run", "reseller": "*", "domain": tenant.domain, "user": "1000"}
    assert theirs.post("/apikeys", {**body, "user-scope": "Basic User"}).status == 200
    assert theirs.post("/apikeys", {**body, "user-scope": "Office Manager"}).status == 403
    assert theirs.post("/apikeys", {**body, "user-scope": "Super User", "domain": "*"}).status == 403


def test_a_key_with_chosen_models_reaches_those_only(tenant):
    made = new_key(tenant.api, domain=tenant.domain, scope="Office Manager", allowed_models=["connection"])
    theirs = tenant.api.with_key(made["key"])
    assert theirs.get("/connections").status in (200, 403)
    assert theirs.get(f"/domains/{tenant.domain}/dialplans/calls/dialrules").status == 403
