"""Answers to bad input: all mistakes at once, each with its field, its value and what is allowed."""

import pytest


def post(tenant, body, **more):
    return tenant.api.post(
        "/connections", {"domain": tenant.domain, "connection-orig-match-pattern": "sip*@x.example", **body}, **more
    )


def test_all_bad_fields_are_named_at_once(tenant):
    answer = post(tenant, {"connection-orig-enabled": "perhaps", "limits-max-active-calls-term": "many",
                           "connection-sip-transport-protocol": "PIGEON"})  # fmt: skip
    assert answer.status == 400 and answer.json["code"] == 400
    for word in ("connection-orig-enabled", "perhaps", "limits-max-active-calls-term", "many",
                 "connection-sip-transport-protocol", "PIGEON", "UDP"):  # fmt: skip
        assert word in answer.message, f"{word}: {answer.message}"


@pytest.mark.parametrize(
    "field, value",
    [
        ("limits-max-active-calls-orig", -1),
        ("limits-max-active-calls-orig", 1.5),
        ("connection-orig-match-pattern", ""),
        ("connection-orig-match-pattern", "sip*@[oops"),
        ("dial-plan", "there-is-no-such-plan"),
        ("connection-check-orig-matching-sip-header", "moon"),
        ("connection-sip-registration-expires-datetime", "2025-05-19 02:41:1"),
        ("time-zone", "Mars/Olympus"),
        ("description", {"an": "object"}),
    ],
)
def test_bad_value(tenant, field, value):
    answer = post(tenant, {field: value})
    assert answer.status == 400, answer
    assert field in answer.message


def test_a_client_without_credentials_cannot_be_one(tenant):
    assert post(tenant, {"connection-sip-authenticate-as-client-enabled": "yes"}).status == 400


def test_a_missing_mandatory_field_is_named(tenant):
    answer = tenant.api.post("/connections", {"domain": tenant.domain})
    assert answer.status == 400 and "connection-orig-match-pattern" in answer.message


def test_an_unknown_domain_is_a_bad_value_in_a_body_and_not_found_in_a_path(tenant):
    body = {"domain": "there-is-no-such.example", "connection-orig-match-pattern": "sip*@x"}
    assert tenant.api.post("/connections", body).status == 400
    assert tenant.api.get("/domains/there-is-no-such.example").status == 404


def test_unknown_fields_are_ignored_and_named_in_a_header(tenant):
    answer = post(tenant, {"connection-adress": "192.0.2.1", "x-made-up": "1"})
    assert answer.status == 202
    named = " ".join(value for name, value in answer.headers.items() if "connection-adress" in value)
    assert "connection-adress" in named and "x-made-up" in named, dict(answer.headers)


def test_a_strict_client_hears_of_its_typing_mistake(tenant):
    answer = post(tenant, {"connection-adress": "192.0.2.1"}, headers={"Prefer": "handling=strict"})
    assert answer.status == 400
    assert "connection-adress" in answer.message and "connection-address" in answer.message


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"text"', b"\xff\xfe", b"null", b"[" * 20_000])
def test_what_is_not_an_object_is_refused(tenant, raw):
    answer = tenant.api.request("POST", "/connections", raw=raw, headers={"Content-Type": "application/json"})
    assert answer.status == 400 and answer.json["code"] == 400


def test_the_value_of_a_secret_is_not_repeated(tenant):
    answer = post(tenant, {"connection-sip-registration-password": {"secret": "hush-hush-78"}})
    assert answer.status == 400 and "hush-hush-78" not in answer.body
