"""The connections resource as a client of the reference uses it."""

from lib.api import quoted
from lib.tenant import Tenant


def path(tenant, name="a"):
    return f"/domains/{tenant.domain}/connections/{quoted('sip*@' + tenant.host(name))}"


def test_create_read_change_delete(tenant):
    tenant.connection("a", address="192.0.2.20", description="first")
    assert tenant.read("a")["description"] == "first"
    assert tenant.api.put(path(tenant), {"description": "second"}).status == 202
    after = tenant.read("a")
    assert after["description"] == "second" and after["connection-address"] == "192.0.2.20", (
        "a PUT changes what it names"
    )
    assert tenant.api.delete(path(tenant)).status == 202
    assert tenant.api.get(path(tenant)).status == 404
    assert tenant.api.delete(path(tenant)).status == 404


def test_defaults_are_those_of_the_reference(tenant):
    tenant.api.create(
        "/connections", {"domain": tenant.domain, "connection-orig-match-pattern": f"sip*@{tenant.host('a')}"}
    )
    record = tenant.read("a")
    wanted = {
        "connection-orig-enabled": "yes", "connection-term-enabled": "yes", "connection-sip-transport-protocol": "UDP",
        "connection-check-orig-matching-sip-header": "from", "connection-source-ip-checking-enabled": "no",
        "connection-require-sip-authentication-enabled": "no", "minimum-call-duration-seconds": 0,
        "connection-term-match-pattern": f"sip*@{tenant.host('a')}",
    }  # fmt: skip
    assert {name: record.get(name) for name in wanted} == wanted


def test_a_duplicate_is_a_conflict(tenant):
    tenant.connection("a")
    body = {"domain": tenant.domain, "connection-orig-match-pattern": f"sip*@{tenant.host('a')}"}
    answer = tenant.api.post("/connections", body)
    assert answer.status == 409 and answer.json["code"] == 409


def test_numbers_may_come_as_strings_and_go_out_as_numbers(tenant):
    tenant.connection(
        "a", limits_max_active_calls_term="0", limits_max_active_calls_orig="12", minimum_call_duration_seconds="6"
    )
    record = tenant.read("a")
    assert (record["limits-max-active-calls-term"], record["limits-max-active-calls-orig"]) == (0, 12)
    assert record["minimum-call-duration-seconds"] == 6


def test_yes_may_come_in_several_spellings(tenant):
    for number, written in enumerate(("yes", True, 1, "1")):
        tenant.connection(f"y{number}", connection_source_ip_checking_enabled=written)
        assert tenant.read(f"y{number}")["connection-source-ip-checking-enabled"] == "yes"


def test_read_only_fields_are_ignored(tenant):
    tenant.connection("a", active_calls_orig_current=99)
    assert tenant.read("a")["active-calls-orig-current"] == 0


def test_the_password_is_not_in_the_log_nor_the_audit(tenant):
    tenant.connection(
        "a", connection_sip_registration_username="u", connection_sip_registration_password="hush-hush-77"
    )
    assert "hush-hush-77" not in tenant.switch.log_text()


def test_a_form_body_is_as_good_as_json(tenant):
    body = {
        "domain": tenant.domain,
        "connection-orig-match-pattern": f"sip*@{tenant.host('f')}",
        "description": "from a form",
    }
    answer = tenant.api.post("/connections", body, form=True)
    assert answer.status in (202, 415), answer
    if answer.status == 202:
        assert tenant.read("f")["description"] == "from a form"


def test_list_count_and_filter_agree(tenant):
    for name in ("one", "two", "three"):
        tenant.connection(name, connection_term_match_pattern=f"sip:{name}*@out.example")
    everything = tenant.api.get(f"/domains/{tenant.domain}/connections").json
    assert len(everything) == 3
    assert tenant.api.get("/connections/count", domain=tenant.domain).json["total"] == 3
    for query, hits in (
        ({"termination-match": "sip:two*@out.example"}, ["two"]),
        ({"termination-match": "sip:two5@out.example"}, ["two"]),
        ({"device-sip-registration-uri": f"sip*@{tenant.host('three')}"}, ["three"]),
        ({"device-sip-registration-uri": "sip*@nobody"}, []),
    ):
        found = tenant.api.get("/connections", domain=tenant.domain, **query).json
        assert [one["connection-orig-match-pattern"] for one in found] == [f"sip*@{tenant.host(hit)}" for hit in hits]
        assert tenant.api.get("/connections/count", domain=tenant.domain, **query).json["total"] == len(hits)


def test_a_removed_domain_takes_its_connections_along(switch):
    gone = Tenant(switch)
    gone.connection("a")
    assert switch.api.delete(f"/domains/{gone.domain}").status in (200, 202)
    assert gone.domain not in switch.api.get("/connections", domain="*").body
