"""`limits-max-active-calls-*` of connections and domains: N calls pass, the next one does not, a hang-up makes room."""

import contextlib
import sqlite3

import pytest

from lib import sdp
from lib.tenant import Carriers, Tenant
from lib.waiting import wait_until


def answered(two):
    return two.established(sdp.audio("127.0.0.1", 4000), sdp.audio("127.0.0.1", 5000))


@pytest.mark.parametrize("side, field", [("a", "orig"), ("a", "total"), ("b", "term"), ("b", "total")])
def test_one_call_too_many_is_refused(carriers, side, field):
    two = carriers(**{side: {f"limits_max_active_calls_{field}": 2}})
    up = [answered(two), answered(two)]
    refused = two.call()
    response = refused.expect(503)
    if side == "a":
        assert response.get("Retry-After") is None, "it would keep the peer from calling at all"
    two.bob.no_call(0.3)
    two.hang_up(*up.pop())
    up.append(answered(two))
    for pair in up:
        two.hang_up(*pair)


def test_zero_sets_no_limit(carriers):
    two = carriers(a={"limits_max_active_calls_orig": "0"}, b={"limits_max_active_calls_term": 0})
    up = [answered(two) for _ in range(4)]
    for pair in up:
        two.hang_up(*pair)


def test_a_lowered_limit_drops_nobody(carriers):
    two = carriers()
    up = [answered(two), answered(two)]
    two.tenant.change("a", limits_max_active_calls_orig=1)
    two.call().expect(503)
    for pair in up:
        two.hang_up(*pair)


def test_a_reinvite_does_not_count(carriers):
    two = carriers(a={"limits_max_active_calls_orig": 1})
    call, leg = answered(two)
    call.reinvite(sdp.audio("127.0.0.1", 4000, version=2, direction="sendonly"))
    again = leg.expect("INVITE")
    leg.reply(again, 200, sdp.audio("127.0.0.1", 5000, version=2, direction="recvonly"))
    call.expect(200)
    call.ack()
    leg.expect("ACK")
    two.hang_up(call, leg)


@pytest.mark.parametrize("field, value", [("total", 2), ("offnet", "2")])
def test_one_call_too_many_for_a_domain_is_refused(carriers, field, value):
    two = carriers(a={"connection_is_carrier_trunk": "no"})
    path = f"/domains/{two.tenant.domain}"
    api = two.tenant.api
    assert api.put(path, {f"limits-max-active-calls-{field}": value}).status == 202
    up = [answered(two), answered(two)]
    shown = api.get(path).json
    assert (shown["active-calls-total-current"], shown["active-calls-offnet-current"]) == (2, 2)
    refused = two.call()
    assert refused.expect(503).get("Retry-After") is None
    assert two.record(refused)["release_text"] == "Domain limit"
    two.hang_up(*up.pop())
    up.append(answered(two))
    # A carrier is told that the called side is busy: it would take a 503 for an outage of ours.
    two.tenant.change("a", connection_is_carrier_trunk="yes")
    two.call().expect(486)
    # No limit any more.
    assert api.put(path, {f"limits-max-active-calls-{field}": 0}).status == 202
    up.append(answered(two))
    for pair in up:
        two.hang_up(*pair)
    wait_until("no call is up", lambda: api.get(path).json["active-calls-total-current"] == 0)


def maxima(switch):
    """What the store keeps of the most calls at once: pattern to (this month, last month)."""
    with contextlib.closing(sqlite3.connect(f"file:{switch.data / 'strowger.db'}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT orig_match_pattern, this_month, last_month FROM call_maxima").fetchall()
    return {pattern: (this, last) for pattern, this, last in rows}


def test_after_a_crash_calls_still_count_and_the_maximum_of_the_month_is_kept(own_switch):
    switch = own_switch(name="maxima")
    tenant = Tenant(switch)
    two = Carriers(tenant, a={"limits_max_active_calls_orig": 2})
    up = [answered(two), answered(two)]
    two.call().expect(503)
    two.hang_up(*up.pop())
    pattern = f"sip*@{tenant.host('a')}"
    wait_until("the maximum is written", lambda: maxima(switch).get(pattern) == (2, 0))
    before = tenant.read("a")
    assert before["active-calls-orig-current"] == 1
    assert before["active-calls-max-this-month"] == 2
    switch.kill()
    again = own_switch(name="maxima", http_port=switch.http_port, sip_port=switch.sip_port)
    assert again.data == switch.data
    after = tenant.read("a")
    assert after["active-calls-orig-current"] == 1, "the call outlives the process"
    # A call that was taken over counts as one of the new process, so that this is never less than what is up.
    assert after["active-calls-orig-since-startup"] == 1
    assert (after["active-calls-max-this-month"], after["active-calls-max-last-month"]) == (2, 0)
    up.append(answered(two))
    two.call().expect(503)
    for pair in up:
        two.hang_up(*pair)
    wait_until("all places are free", lambda: tenant.read("a")["active-calls-orig-current"] == 0)
    two.close()
