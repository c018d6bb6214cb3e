"""`kill -9` loses nothing that the API said yes to."""

import threading

import pytest

from lib import sdp
from lib.tenant import Carriers, Tenant
from lib.waiting import wait_until


def writer(api, domain, name, acknowledged, stop):
    """Creates connections as fast as it is answered, and notes which were acknowledged."""
    number = 0
    while not stop.is_set():
        pattern = f"sip*@{name}-{number}.example.net"
        try:
            answer = api.post("/connections", {"domain": domain, "connection-orig-match-pattern": pattern})
        except OSError:
            return
        if answer.status in (200, 202):
            acknowledged.append(pattern)
        number += 1


@pytest.mark.parametrize("round_number", range(3))
def test_records_survive(own_switch, round_number):
    switch = own_switch("--api-requests-per-second", 0, name="durable")
    tenant = Tenant(switch)
    acknowledged, stop = [], threading.Event()
    threads = [
        threading.Thread(target=writer, args=(switch.api, tenant.domain, f"w{n}", acknowledged, stop)) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    wait_until("some writes are acknowledged", lambda: len(acknowledged) >= 40 * (round_number + 1), 20)
    switch.kill()
    stop.set()
    for thread in threads:
        thread.join()
    promised = set(acknowledged)
    again = own_switch("--api-requests-per-second", 0, name="durable")
    stored = again.api.get(f"/domains/{tenant.domain}/connections").json
    found = {one["connection-orig-match-pattern"] for one in stored}
    assert promised <= found, f"{len(promised - found)} of {len(promised)} acknowledged records are gone"
    total = again.api.get("/connections/count", domain=tenant.domain).json["total"]
    assert total == len(found)


def test_records_of_finished_calls_survive_after_a_second(own_switch):
    switch = own_switch(name="calls")
    two = Carriers(Tenant(switch))
    for _ in range(3):
        call, leg = two.established(sdp.audio("127.0.0.1", 4000), sdp.audio("127.0.0.1", 5000))
        bye = call.request("BYE")
        leg.expect_bye()
        two.alice.response_to(bye)
    wait_until("the records are written", lambda: len(switch.cdrs()) == 3)
    switch.kill()
    two.close()
    assert len(own_switch(name="calls").cdrs()) == 3
