"""Dial rules: what they match, how they rewrite, which of several wins, how they chain."""

import pytest

from lib.sip_message import host_of, uri_of, user_of


def invite_seen(two, call):
    """The INVITE as carrier B got it; the call is refused afterwards."""
    leg = two.bob.incoming()
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)
    return leg.invite


@pytest.mark.parametrize(
    "pattern, number, matches",
    [
        ("sip:1??????????@*", "13105550100", True),
        ("sip:1??????????@*", "1310555010", False),
        ("sip:1??????????@*", "+13105550100", True),
        ("sip:[2-9]??@*", "311", True),
        ("sip:[2-9]??@*", "111", False),
        ("5551234*", "555123499", True),
        ("611", "611", True),
        ("611", "6110", False),
        ("sip:[*]67*@*", "*673105550100", True),
        ("sip:[*]67*@*", "1673105550100", False),
        ("*", "anything-at-all", True),
        ("sip:Ann@*", "Ann", True),
        ("sip:Ann@*", "ann", False),
    ],
)
def test_pattern(carriers, pattern, number, matches):
    two = carriers(rule=False)
    two.tenant.rule(pattern, two.tenant.host("b"))
    call = two.call(number)
    if matches:
        invite_seen(two, call)
    else:
        call.expect(404)


@pytest.mark.parametrize(
    "written, number, result",
    [
        ("[*]", "3105550100", "3105550100"),
        ("1[*]", "3105550100", "13105550100"),
        ("sales_[*]", "42", "sales_42"),
        ("13105550199", "42", "13105550199"),
        ("[!*]", "93105550100", "3105550100"),
        ("1[!!!*]", "*673105550100", "13105550100"),
    ],
)
def test_rewriting_of_the_called_user(carriers, written, number, result):
    two = carriers(rule=False)
    two.tenant.rule("*", two.tenant.host("b"), user=written)
    assert user_of(invite_seen(two, two.call(number)).uri) == result


def test_rewriting_of_the_caller(carriers):
    two = carriers(rule=False)
    two.tenant.rule("*", two.tenant.host("b"), dial_rule_translation_source_user="9[*]",
                    dial_rule_translation_source_name="Front Desk")  # fmt: skip
    sender = invite_seen(two, two.call()).get("From")
    assert user_of(uri_of(sender)) == "912125550111"
    assert "Front Desk" in sender.split("<")[0]


def test_the_most_specific_rule_wins_whatever_came_first(carriers):
    two = carriers(rule=False)
    host = two.tenant.host("b")
    two.tenant.rule("*", host, user="any")
    two.tenant.rule("sip:1??????????@*", host, user="eleven")
    two.tenant.rule("sip:1310*@*", host, user="area")
    two.tenant.rule("sip:13105550100@*", host, user="exact")
    for number, wanted in (("13105550100", "exact"), ("13105550101", "area"), ("12125550100", "eleven"), ("42", "any")):
        assert user_of(invite_seen(two, two.call(number)).uri) == wanted


def test_a_rule_for_certain_callers_beats_one_for_all(carriers):
    two = carriers(rule=False)
    host = two.tenant.host("b")
    two.tenant.rule("*", host, user="all")
    two.tenant.rule("*", host, user="four", dial_rule_matching_from_uri="sip:????@*")
    assert user_of(invite_seen(two, two.call()).uri) == "all"
    four_digits = f"sip:1001@{two.tenant.host('a')}"
    assert user_of(invite_seen(two, two.call(from_uri=four_digits)).uri) == "four"


def test_a_disabled_rule_does_not_count(carriers):
    two = carriers(rule=False)
    two.tenant.rule("*", two.tenant.host("b"), enabled="no")
    two.call().expect(404)


def test_a_rule_out_of_its_dates_does_not_count(carriers):
    two = carriers(rule=False)
    two.tenant.rule("*", two.tenant.host("b"), dial_rule_matching_start_date="2001-01-01",
                    dial_rule_matching_end_date="2001-12-31")  # fmt: skip
    two.call().expect(404)


def test_a_chain_carries_the_rewritten_number_into_the_next_plan(carriers):
    two = carriers(rule=False)
    two.tenant.plan("Second Plan")
    two.tenant.rule("*", "[*]", user="1[*]", application="<Second Plan>")
    two.tenant.rule("sip:13105550100@*", two.tenant.host("b"), user="+[*]", plan="Second Plan")
    assert user_of(invite_seen(two, two.call("3105550100")).uri) == "+13105550100"


def test_a_chain_to_a_plan_that_is_not_there_is_not_found(carriers):
    two = carriers(rule=False)
    two.tenant.rule("*", "[*]", application="<No Such Plan>")
    two.call().expect(404)


def test_a_chain_in_a_circle_is_a_loop(carriers):
    two = carriers(rule=False)
    two.tenant.rule("*", "[*]", application="<calls>")
    two.call().expect(482)


@pytest.mark.parametrize("parameter, status", [("486", 486), ("", 603)])
def test_the_hangup_rule_refuses_with_its_code(carriers, parameter, status):
    two = carriers(rule=False)
    two.tenant.rule("sip:1900*@*", "[*]", application="hangup", dial_rule_parameter=parameter)
    response = two.alice.response_to(two.call("19005551234").invite)
    assert response.status == status if parameter else response.status in (403, 603)


def test_an_application_of_a_later_day_is_not_implemented(carriers):
    two = carriers(rule=False)
    two.tenant.rule("*", "[*]", application="to-callqueue")
    response = two.alice.response_to(two.call().invite)
    assert response.status in (404, 501), response.text


def test_the_owners_domain_as_host(carriers):
    two = carriers(b={"connection_term_match_pattern": "sip*@PLACEHOLDER"}, rule=False)
    two.tenant.change("b", connection_term_match_pattern=f"sip*@{two.tenant.domain}")
    two.tenant.rule("*", "<OwnDomain>")
    assert host_of(invite_seen(two, two.call()).get("To")) is not None
