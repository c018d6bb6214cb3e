"""A CDR for every attempt: times, both legs before and after translation, who ended it and why."""

from lib import sdp
from lib.sip_message import user_of


def test_an_answered_call(carriers):
    two = carriers()
    call, leg = two.established(sdp.audio("127.0.0.1", 4000), sdp.audio("127.0.0.1", 5000))
    two.hang_up(call, leg)
    record = two.record(call)
    assert record["domain"] == two.tenant.domain
    assert record["started_ms"] <= record["answered_ms"] <= record["ended_ms"]
    assert (record["release_side"], record["release_status"]) == ("orig", 200)
    assert record["term"]["call_id"] == leg.call_id
    assert record["orig"]["connection_orig_match_pattern"] == f"sip*@{two.tenant.host('a')}"
    assert record["term"]["connection_orig_match_pattern"] == f"sip*@{two.tenant.host('b')}"
    assert record["orig"]["remote"] == two.alice.hostport and record["term"]["remote"] == two.bob.hostport


def test_the_side_that_hung_up(carriers):
    two = carriers()
    call, leg = two.established(sdp.audio("127.0.0.1", 4000), sdp.audio("127.0.0.1", 5000))
    bye = leg.request("BYE", headers=[("Reason", 'Q.850;cause=16;text="Normal call clearing"')])
    call.expect_bye()
    assert two.bob.response_to(bye).status == 200
    record = two.record(call)
    assert record["release_side"] == "term" and record["release_cause"] == 16


def test_both_identities_before_and_after_translation(carriers):
    two = carriers(b={"connection_translation_request_user": "+[*]", "connection_translation_source_user": "00[*]"})
    call, leg = two.established()
    two.hang_up(call, leg)
    record = two.record(call)
    assert user_of(record["orig"]["request_uri"]) == "13105550100"
    assert user_of(record["orig"]["from_uri"]) == "12125550111"
    assert user_of(record["term"]["request_uri"]) == "+13105550100"
    assert user_of(record["term"]["from_uri"]) == "0012125550111"


def test_a_busy_callee(carriers):
    two = carriers()
    call = two.call()
    leg = two.bob.incoming()
    leg.reply(leg.invite, 180)
    call.expect(180)
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)
    record = two.record(call)
    assert record["answered_ms"] is None and record["ringing_ms"] >= record["started_ms"]
    assert (record["release_side"], record["release_status"]) == ("term", 486)


def test_a_caller_that_gave_up(carriers):
    two = carriers()
    call = two.call()
    leg = two.bob.incoming()
    leg.reply(leg.invite, 180)
    call.expect(180)
    call.cancel()
    call.expect(487)
    leg.reply(leg.expect("CANCEL"), 200)
    leg.reply(leg.invite, 487)
    leg.expect("ACK")
    record = two.record(call)
    assert (record["release_side"], record["release_status"]) == ("orig", 487)


def test_a_call_without_a_way(carriers):
    two = carriers(rule=False)
    call = two.call()
    call.expect(404)
    record = two.record(call)
    assert record["term"] is None and record["release_status"] == 404 and record["release_side"] == "switch"


def test_a_call_over_the_limit(carriers):
    two = carriers(a={"limits_max_active_calls_orig": 1})
    up = two.established()
    call = two.call()
    call.expect(503)
    assert two.record(call)["release_text"] == "Connection limit"
    two.hang_up(*up)


def test_the_minimum_duration_is_kept_for_billing(carriers):
    two = carriers(b={"minimum_call_duration_seconds": "30"})
    call, leg = two.established()
    two.hang_up(call, leg)
    assert two.record(call)["minimum_call_duration_seconds"] == 30
