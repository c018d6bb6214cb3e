"""Which connection is calling: pattern, header, source address, enabled or not."""

import pytest


def refused(carriers, call, status):
    carriers.bob.no_call()
    call.expect(status)


def test_nobodys_call_is_forbidden(carriers):
    two = carriers()
    refused(two, two.call(from_uri="sip:1@nobody-knows-this.example.net"), 403)


def test_a_connection_that_may_not_call_is_forbidden(carriers):
    two = carriers(a={"connection_orig_enabled": "no"})
    refused(two, two.call(), 403)


def test_the_next_call_obeys_a_change(carriers):
    two = carriers()
    two.tenant.change("a", connection_orig_enabled="no")
    refused(two, two.call(), 403)
    two.tenant.change("a", connection_orig_enabled="yes")
    call = two.call()
    leg = two.bob.incoming()
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)


def test_a_call_from_another_address_is_forbidden_where_the_source_is_checked(carriers, ua):
    two = carriers(a={"connection_source_ip_checking_enabled": "yes", "connection_address": "127.0.0.9"})
    refused(two, two.call(), 403)


def test_a_call_from_the_connections_address_passes_the_source_check(carriers):
    """The port does not count: a carrier may send from another than it listens on."""
    two = carriers(a={"connection_source_ip_checking_enabled": "yes", "connection_address": "127.0.0.1:5999"})
    call = two.call()
    leg = two.bob.incoming()
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)


@pytest.mark.parametrize("header", ["from", "to", "request", "contact"])
def test_the_connection_chooses_the_header_it_is_known_by(carriers, header):
    two = carriers(a={"connection_check_orig_matching_sip_header": header})
    name = two.tenant.host("a")
    parts = {"from_uri": "sip:1@elsewhere.example.net"}
    uri = two.called()
    if header == "from":
        parts["from_uri"] = two.from_uri
    elif header == "to":
        parts["to_uri"] = f"sip:13105550100@{name}"
    elif header == "contact":
        parts["contact"] = f"<sip:trunk@{name}>"
    else:
        uri = f"sip:13105550100@{name}"
    call = two.alice.invite(two.door, uri, **parts)
    leg = two.bob.incoming()
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)


def test_the_most_specific_pattern_wins(carriers):
    """A whole host beats one with a wildcard, whatever was created first."""
    two = carriers()
    number = two.tenant.number
    two.tenant.plan("nowhere")
    wide = {"connection_orig_match_pattern": f"sip*@*{number}.example.net", "dial_plan": "nowhere"}
    two.tenant.connection("wide", **wide)
    call = two.call()
    leg = two.bob.incoming()
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)


def test_a_wildcard_in_the_middle_of_the_host_matches(carriers):
    two = carriers()
    number = two.tenant.number
    two.tenant.connection("w", connection_orig_match_pattern=f"sip*@media.g1-*.w{number}.example.net")
    call = two.call(from_uri=f"sip:5@media.g1-west.w{number}.example.net")
    leg = two.bob.incoming()
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)


def test_the_host_compares_without_case(carriers):
    two = carriers()
    call = two.call(from_uri=two.from_uri.upper().replace("SIP:", "sip:"))
    leg = two.bob.incoming()
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)
