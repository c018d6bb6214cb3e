"""Somebody sets the wall clock while calls are up and peers are registered."""

import time

import pytest

from lib import sdp
from lib.faults import Faults
from lib.tenant import Carriers, Tenant
from lib.waiting import wait_until

DAY = 86_400


@pytest.mark.parametrize("step", [400 * DAY, -400 * DAY], ids=["forward", "back"])
def test_nothing_breaks_when_the_clock_is_set(own_switch, tmp_path, ua, step):
    faults = Faults(tmp_path / "faults")
    switch = own_switch(env=faults.environment)
    tenant = Tenant(switch)
    two = Carriers(tenant)
    tenant.connection("pbx", connection_sip_registration_username="pbx", connection_sip_registration_password="right",
                      connection_require_sip_authentication_enabled="yes")  # fmt: skip
    pbx, aor = ua(user="line1"), f"sip:pbx@{tenant.host('pbx')}"
    assert pbx.register(switch.sip_address(), aor, "pbx", "right").status == 200
    tenant.rule("sip:777@*", tenant.host("pbx"))
    call, leg = two.established(sdp.audio("127.0.0.1", 4000), sdp.audio("127.0.0.1", 5000))
    began = time.monotonic()
    # A challenge from before is answered after.
    waiting = two.alice.invite(two.door, two.called(), from_uri=f"sip:1@{tenant.host('pbx')}")
    challenge = waiting.expect(407)

    faults.set_clock(step)

    waiting.authenticate(challenge, "pbx", "right")
    new = two.bob.incoming()
    new.reply(new.invite, 486)
    new.expect("ACK")
    waiting.expect(486)
    # The peer is still registered: a call reaches it, and its refresh is taken.
    to_pbx = two.call("777")
    rings = pbx.incoming()
    rings.reply(rings.invite, 486)
    rings.expect("ACK")
    to_pbx.expect(486)
    assert pbx.register(switch.sip_address(), aor, "pbx", "right").status == 200
    # The API serves, and takes writes.
    tenant.connection("later")
    two.hang_up(call, leg)
    lasted_ms = (time.monotonic() - began) * 1000
    record = two.record(call)
    talked_ms = record["ended_ms"] - record["answered_ms"]
    assert 0 <= talked_ms <= lasted_ms + 100, "the record counts by a clock that was set"
    assert 0 <= record["answered_ms"] - record["started_ms"] < 10_000
    shown = wait_until("the end of the registration is in the new time",
                       lambda: tenant.read("pbx")["connection-sip-registration-expires-datetime"])  # fmt: skip
    year = time.gmtime(time.time() + step).tm_year
    assert str(year) in shown or str(year - 1) in shown or str(year + 1) in shown
    assert switch.metric("strowger_panics_total") == 0
    two.close()
