"""Routes and dial policies: which carriers a call is tried by, and which calls may leave at all."""

import itertools

import pytest

from lib import sdp
from lib.api import quoted
from lib.sip_ua import Ua
from lib.sipp import Sipp
from lib.waiting import wait_until

_prefixes = itertools.count(500)


class Routed:
    """A PBX, a route for numbers of its own (`prefix`…), and a carrier for each name.

    Routes belong to the whole system, so each test has numbers that no other test calls.
    """

    def __init__(self, tenant, names, method="fixed", shares=(), costs=(), **pbx):
        self.tenant, self.api = tenant, tenant.api
        self.prefix = f"1{next(_prefixes)}"
        self.pbx = Ua(user="pbx")
        tenant.connection("a", address=self.pbx.hostport, connection_is_carrier_trunk="no", **pbx)
        tenant.rule("*", "<OwnDomain>")
        self.carriers = {name: Ua(user=name) for name in names}
        for name, ua in self.carriers.items():
            tenant.connection(name, address=ua.hostport)
        pattern = f"sip:{self.prefix}*@*"
        self.api.create("/routes", {
            "route-destination-match-pattern": pattern, "description": "made by a test", "route-method": method,
        })  # fmt: skip
        (self.id,) = [r["route-id"] for r in self.api.get("/routes").json
                      if r["route-destination-match-pattern"] == pattern]  # fmt: skip
        for index, name in enumerate(names):
            self.api.create(f"/routes/{self.id}/routecon", {
                "route-connection-translation-destination-user": "[*]",
                "route-connection-translation-destination-host": tenant.host(name),
                "route-connection-integer-percentage": shares[index] if shares else 50,
                "route-connection-integer-cost": costs[index] if costs else 0,
            })  # fmt: skip

    def call(self, body=b"", number=None):
        door = self.tenant.switch.sip_address(self.pbx.host)
        to = f"sip:{number or self.prefix + '5550100'}@{door[0]}:{door[1]}"
        return self.pbx.invite(door, to, body=body, from_uri=f"sip:1001@{self.tenant.host('a')}")

    def refuse(self, name, status, headers=()):
        leg = self.carriers[name].incoming()
        leg.reply(leg.invite, status, headers=headers)
        leg.expect("ACK")
        return leg

    def answer(self, name, call, seconds=8):
        leg = self.carriers[name].incoming(seconds=seconds)
        leg.reply(leg.invite, 200, sdp.audio("127.0.0.1", 5000))
        call.expect(200)
        call.ack()
        leg.expect("ACK")
        bye = call.request("BYE")
        leg.expect_bye()
        assert self.pbx.response_to(bye).status == 200
        return leg

    def record(self, call):
        mine = lambda: [r for r in self.tenant.switch.cdrs() if r["orig"]["call_id"] == call.call_id]  # noqa: E731
        (record,) = wait_until("the call's record", mine)
        return record

    def close(self):
        self.api.delete(f"/routes/{self.id}")
        for ua in (self.pbx, *self.carriers.values()):
            ua.close()


@pytest.fixture
def routed(tenant):
    made = []

    def make(*names, **more):
        made.append(Routed(tenant, names, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


def offer():
    return sdp.audio("127.0.0.1", 4000)


@pytest.mark.parametrize("status", [403, 500, 503])
def test_the_next_carrier_is_tried(routed, status):
    world = routed("b", "c")
    call = world.call(offer())
    first = world.refuse("b", status)
    second = world.answer("c", call)
    assert first.call_id != second.call_id
    ports = [line for leg in (first, second) for line in leg.invite.body.decode().splitlines() if line.startswith("m=")]
    assert ports[0] == ports[1], "the relay stays where it is"
    record = world.record(call)
    assert record["term"]["connection_orig_match_pattern"] == f"sip*@{world.tenant.host('c')}"
    assert any(line.startswith("attempt:") and world.tenant.host("b") in line for line in record["decisions"])


def test_a_carrier_that_says_nothing_is_left_after_four_seconds(routed):
    world = routed("b", "c")
    call = world.call(offer())
    world.carriers["b"].incoming(trying=False)
    world.answer("c", call)


@pytest.mark.parametrize("status", [404, 486, 603])
def test_an_answer_about_the_called_party_is_final(routed, status):
    world = routed("b", "c")
    call = world.call(offer())
    world.refuse("b", status)
    call.expect(status)
    world.carriers["c"].no_call(0.3)


@pytest.mark.parametrize("status, cause, goes_on", [(503, 17, False), (480, 34, True)])
def test_a_q850_cause_decides_where_it_knows_better(routed, status, cause, goes_on):
    world = routed("b", "c")
    call = world.call(offer())
    world.refuse("b", status, headers=[("Reason", f"Q.850;cause={cause}")])
    if goes_on:
        world.answer("c", call)
    else:
        call.expect(status)
        world.carriers["c"].no_call(0.3)


def test_early_media_ends_the_search(routed):
    world = routed("b", "c")
    call = world.call(offer())
    leg = world.carriers["b"].incoming()
    leg.reply(leg.invite, 183, sdp.audio("127.0.0.1", 5000))
    call.expect(183)
    leg.reply(leg.invite, 503)
    leg.expect("ACK")
    call.expect(503)
    world.carriers["c"].no_call(0.3)


def test_all_fail(routed):
    world = routed("b", "c")
    call = world.call(offer())
    world.refuse("b", 403)
    world.refuse("c", 503)
    call.expect(403)
    assert world.record(call)["release_status"] == 403


def test_the_cheapest_is_first(routed):
    world = routed("b", "c", method="cost", costs=(0.5, 0.001))
    world.answer("c", world.call(offer()))


def test_a_share_of_zero_is_a_last_resort(routed):
    world = routed("b", "c", method="percentage", shares=(0, 1))
    for _ in range(5):
        world.answer("c", world.call(offer()))


def test_a_disabled_route_is_none(routed):
    world = routed("b")
    answer = world.api.put(f"/routes/{world.id}", {"route-is-enabled": "no"})
    assert answer.status == 202, answer
    world.call(offer()).expect(404)
    assert world.api.put(f"/routes/{world.id}", {"route-is-enabled": "yes"}).status == 202
    world.answer("b", world.call(offer()))


def test_a_limit_sends_the_call_to_the_next_carrier(routed):
    world = routed("b", "c")
    world.tenant.change("b", limits_max_active_calls_term=1)
    call = world.call(offer())
    leg = world.carriers["b"].incoming()
    leg.reply(leg.invite, 200, sdp.audio("127.0.0.1", 5000))
    call.expect(200)
    call.ack()
    leg.expect("ACK")
    world.answer("c", world.call(offer()))
    bye = call.request("BYE")
    leg.expect_bye()
    assert world.pbx.response_to(bye).status == 200
    world.answer("b", world.call(offer()))


def test_three_outages_put_a_carrier_aside_and_options_brings_it_back(routed):
    world = routed("b", "c")
    for _ in range(3):
        call = world.call(offer())
        world.refuse("b", 503)
        world.answer("c", call)
    world.answer("c", world.call(offer()))
    world.carriers["b"].no_call(0.3)
    options = world.carriers["b"].receive("OPTIONS", lambda message: message.method == "OPTIONS", seconds=12)
    assert options.method == "OPTIONS"


def test_sipp_carries_what_another_carrier_could_not(routed, tmp_path):
    """SIPp as the second carrier: its 486 is the caller's answer."""
    world = routed("b")
    callee = Sipp(tmp_path, "callee_busy").start()
    world.tenant.connection("s", address=callee.address)
    world.api.create(f"/routes/{world.id}/routecon", {
        "route-connection-translation-destination-user": "[*]",
        "route-connection-translation-destination-host": world.tenant.host("s"),
    })  # fmt: skip
    try:
        call = world.call(offer())
        world.refuse("b", 503)
        call.expect(486)
        callee.finish()
    finally:
        callee.stop()


class TestPolicies:
    """Policy `Local` of the tenant permits its route's numbers, but not those that go on with 9."""

    @pytest.fixture
    def world(self, routed):
        world = routed("b")
        domain = world.tenant.domain
        world.api.create("/dialpolicy", {"dialpolicy": "Local", "domain": domain, "description": "made by a test"})
        for pattern, mode in [(f"sip:{world.prefix}*@*", "permit"), (f"sip:{world.prefix}9*@*", "deny")]:
            world.api.create(f"/domains/{domain}/dialpolicy/Local/permission", {
                "synchronous": "yes", "permission-match": pattern, "permission-mode": mode,
                "permission-reason": "made by a test",
            })  # fmt: skip
        world.tenant.change("a", dial_policy="Local")
        return world

    def test_what_is_permitted_passes(self, world):
        world.answer("b", world.call(offer()))

    def test_what_is_denied_does_not(self, world):
        call = world.call(offer(), number=world.prefix + "9550100")
        call.expect(403)
        world.carriers["b"].no_call(0.3)
        record = world.record(call)
        assert record["release_text"] == "Dial policy"
        assert any(f"sip:{world.prefix}9*@*" in line for line in record["decisions"])

    def test_what_no_permission_covers_does_not(self, world):
        world.call(offer(), number="4930123456").expect(403)

    def test_a_change_counts_for_the_next_call(self, world):
        path = f"/domains/{world.tenant.domain}/dialpolicy/Local/permission"
        (denial,) = [p for p in world.api.get(path).json if p["permission-mode"] == "deny"]
        number = world.prefix + "9550100"
        world.call(offer(), number=number).expect(403)
        body = {"permission-mode": "permit", "permission-reason": "agreed"}
        assert world.api.put(f"{path}/{denial['permission-id']}", body).status == 202
        world.answer("b", world.call(offer(), number=number))

    def test_a_policy_that_is_deleted_permits_nothing(self, world):
        path = f"/domains/{world.tenant.domain}/dialpolicy/{quoted('Local')}"
        assert world.api.delete(path).status == 202
        world.call(offer()).expect(403)
