"""Dial plans and dial rules over the API."""

import base64

import pytest


def rules(tenant, plan="calls"):
    return f"/domains/{tenant.domain}/dialplans/{plan}/dialrules"


def encoded(text):
    return base64.b64encode(text.encode()).decode().rstrip("=")


def test_a_new_domain_has_a_plan_of_its_own_name_with_a_rule(tenant):
    found = tenant.api.get(rules(tenant, tenant.domain))
    assert found.status == 200 and len(found.json) == 1
    assert found.json[0]["dial-rule-matching-to-uri"] == "*"
    assert found.json[0]["dial-rule-application"] == "<Cloud PBX Features>"


def test_synchronous_returns_the_rule_and_asynchronous_says_accepted(tenant):
    body = {"dial-rule-matching-to-uri": "sip:1*@*", "dial-rule-translation-destination-user": "[*]"}
    made = tenant.api.post(rules(tenant), {**body, "synchronous": "yes"})
    assert made.status == 200 and made.json["dial-rule-matching-to-uri"] == "sip:1*@*"
    assert made.json["dialrule"]
    body["dial-rule-matching-to-uri"] = "sip:2*@*"
    accepted = tenant.api.post(rules(tenant), {**body, "synchronous": "no"})
    assert (accepted.status, accepted.json["code"]) == (202, 202)
    assert tenant.api.get(rules(tenant) + "/count").json["total"] == 2, "durable before either answer"


def test_the_id_is_the_seven_matching_fields(tenant):
    made = tenant.rule("sip:611@*", "x.example")
    assert made["dialrule"].rstrip("=") == encoded("sip:611@*||*||*||*||*||*||*")


@pytest.mark.parametrize("padded", [False, True])
def test_an_id_is_found_with_and_without_padding(tenant, padded):
    made = tenant.rule("sip:61@*", "x.example")["dialrule"].rstrip("=")
    made += "=" * (-len(made) % 4) if padded else ""
    answer = tenant.api.get(f"{rules(tenant)}/{made.replace('=', '%3D')}")
    assert answer.status == 200 and answer.json["dial-rule-matching-to-uri"] == "sip:61@*"


def test_change_and_delete(tenant):
    made = tenant.rule("sip:611@*", "x.example")
    url = f"{rules(tenant)}/{made['dialrule'].rstrip('=')}"
    change = {"dialrule": made["dialrule"], "dial-rule-translation-destination-user": "9[*]"}
    assert tenant.api.put(url, change).status == 202
    after = tenant.api.get(url).json
    assert after["dial-rule-translation-destination-user"] == "9[*]"
    assert after["dial-rule-translation-destination-host"] == "x.example"
    assert tenant.api.delete(url).status == 202
    assert tenant.api.get(url).status == 404


def test_the_same_rule_twice_is_a_conflict(tenant):
    tenant.rule("sip:611@*", "x.example")
    body = {
        "synchronous": "yes",
        "dial-rule-matching-to-uri": "sip:611@*",
        "dial-rule-translation-destination-user": "2",
    }
    assert tenant.api.post(rules(tenant), body).status == 409


def test_a_pattern_with_an_open_bracket_is_refused(tenant):
    body = {
        "synchronous": "yes",
        "dial-rule-matching-to-uri": "sip:[2-9@*",
        "dial-rule-translation-destination-user": "[*]",
    }
    answer = tenant.api.post(rules(tenant), body)
    assert answer.status == 400 and "dial-rule-matching-to-uri" in answer.message


def test_a_missing_plan_is_not_found(tenant):
    assert tenant.api.get(rules(tenant, "no-such-plan")).status == 404
