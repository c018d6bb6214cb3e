"""Which connection gets the call."""

from lib.tenant import Tenant


def busy(two, call):
    leg = two.bob.incoming()
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)
    return leg.invite


def test_no_rule_is_not_found(carriers):
    two = carriers(rule=False)
    two.call().expect(404)


def test_a_rule_to_a_host_without_connection_is_not_found(carriers):
    two = carriers(rule=False)
    two.tenant.rule("*", "nobody.example.net")
    two.call().expect(404)


def test_a_connection_that_may_not_be_called_is_not_found(carriers):
    two = carriers(b={"connection_term_enabled": "no"})
    two.call().expect(404)
    two.bob.no_call()


def test_the_term_pattern_is_the_orig_pattern_where_none_is_given(carriers):
    two = carriers()
    assert two.tenant.read("b")["connection-term-match-pattern"] == f"sip*@{two.tenant.host('b')}"
    busy(two, two.call())


def test_a_term_pattern_of_its_own(carriers):
    two = carriers(b={"connection_term_match_pattern": "sip:1310*@out.example.net"}, rule=False)
    two.tenant.rule("*", "out.example.net")
    busy(two, two.call("13105550100"))
    two.call("12125550100").expect(404)


def test_the_more_specific_term_pattern_wins(carriers, ua):
    two = carriers(b={"connection_term_match_pattern": "sip:1310*@out.example.net"}, rule=False)
    other = ua(user="other")
    two.tenant.connection("c", address=other.hostport, connection_term_match_pattern="sip:1*@out.example.net")
    two.tenant.rule("*", "out.example.net")
    busy(two, two.call("13105550100"))
    call = two.call("12125550100")
    leg = other.incoming()
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)


def test_a_connection_of_another_domain_is_never_used(carriers, switch):
    two = carriers(rule=False)
    foreign = Tenant(switch)
    foreign.connection("f", address=two.bob.hostport)
    two.tenant.rule("*", foreign.host("f"))
    two.call().expect(404)
    foreign.remove()


def test_an_address_as_sip_uri_routes_by_its_host(carriers):
    two = carriers()
    two.tenant.change("b", connection_address=f"sip:2485551212@{two.bob.hostport}")
    busy(two, two.call())
