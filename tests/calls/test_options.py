"""Peers that are asked with OPTIONS, as the API shows them."""

import time
from datetime import datetime, timezone

from lib.tenant import Tenant


def moment(text):
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc).timestamp()


def is_options(message):
    return message.is_request and message.method == "OPTIONS"


def test_a_peer_that_stops_answering_options_shows_as_down_until_it_answers(own_switch, ua):
    switch = own_switch("--shards", 2, "--options-ping-seconds", 5)
    tenant, carrier = Tenant(switch), ua(user="carrier")
    tenant.connection("k", carrier.hostport)
    assert tenant.state("k")["options-state"] in ("unknown", "up")

    def answer(seconds):
        asked = carrier.receive("OPTIONS", is_options, seconds)
        carrier.answer_register(200, asked)

    answer(10)
    up = tenant.once("k", options_state="up", options_last_status=200)
    # Two questions without an answer, each repeated for four seconds.
    down = tenant.once("k", 40, options_state="down", options_last_status=None)
    assert moment(up["options-since-datetime"]) <= moment(down["options-since-datetime"]) <= time.time()

    deadline = time.monotonic() + 30
    while tenant.state("k")["options-state"] == "down":
        assert time.monotonic() < deadline, "it is asked again while it is down"
        answer(20)
    back = tenant.state("k")
    assert back["options-state"] == "up"
    (listed,) = tenant.api.request("GET", f"/domains/{tenant.domain}/connections/state", base="/strowger/v1").json
    assert listed["connection-orig-match-pattern"] == back["connection-orig-match-pattern"]
