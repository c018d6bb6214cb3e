"""Carriers and name servers that are gone: calls that are up stay, new ones go elsewhere."""

import pathlib
import shutil
import socket
import subprocess
import threading

import pytest

from lib import sdp
from lib.sip_ua import Ua
from lib.tenant import Carriers, Tenant
from lib.waiting import wait_until


def test_a_carrier_whose_process_dies_keeps_its_calls_and_gets_no_new_ones(own_switch):
    """Its port is closed in the middle of a call."""
    switch = own_switch("--media-timeout-seconds", 0)
    tenant = Tenant(switch)
    two = Carriers(tenant, rule=False)
    second = Ua(user="second")
    route_to(tenant, two, second)
    call, leg = two.established(sdp.audio("127.0.0.1", 4000), sdp.audio("127.0.0.1", 5000))
    two.bob.close()
    for _ in range(3):
        elsewhere = two.call()
        other = second.incoming()
        other.reply(other.invite, 486)
        other.expect("ACK")
        elsewhere.expect(486)
    # Without a timer of either kind, the call is up for as long as the caller wants it.
    wait_until("the others are over", lambda: switch.metric("strowger_calls_active") == 1)
    bye = call.request("BYE")
    assert two.alice.response_to(bye).status == 200
    two.alice.close()
    second.close()


def test_a_carrier_that_falls_silent_costs_four_seconds_a_call_and_then_none(own_switch):
    switch = own_switch("--media-timeout-seconds", 0)
    tenant = Tenant(switch)
    two = Carriers(tenant, rule=False)
    second = Ua(user="second")
    route_to(tenant, two, second)
    call, leg = two.established(sdp.audio("127.0.0.1", 4000), sdp.audio("127.0.0.1", 5000))
    # bob is there and says nothing: his port is open, and nobody reads.
    for _ in range(3):
        elsewhere = two.call()
        other = second.incoming()
        other.reply(other.invite, 486)
        other.expect("ACK")
        elsewhere.expect(486)
    asked = lambda: {message.call_id for message in two.bob.inbox if message.method == "INVITE"}  # noqa: E731
    wait_until("bob has been asked each time", lambda: two.bob._collect(0.02) or len(asked()) == 3)
    before = asked()
    at_once = two.call()
    other = second.incoming()
    # bob was not asked first.
    two.bob.nothing("another call", lambda m: m.method == "INVITE" and m.call_id not in before, 0.1)
    other.reply(other.invite, 486)
    other.expect("ACK")
    at_once.expect(486)
    wait_until("the others are over", lambda: switch.metric("strowger_calls_active") == 1)
    two.bob.inbox.clear()
    two.hang_up(call, leg)
    two.close()
    second.close()


def route_to(tenant, two, second):
    """Calls go to bob, and where he fails, to `second`."""
    tenant.connection("c", address=second.hostport)
    pattern = "sip:1310*@*"
    tenant.api.create("/routes", {"route-destination-match-pattern": pattern, "description": "of a test",
                                  "route-method": "fixed"})  # fmt: skip
    (route,) = [one for one in tenant.api.get("/routes").json if one["route-destination-match-pattern"] == pattern]
    for name in ("b", "c"):
        tenant.api.create(f"/routes/{route['route-id']}/routecon", {
            "route-connection-translation-destination-user": "[*]",
            "route-connection-translation-destination-host": tenant.host(name),
        })  # fmt: skip
    tenant.rule("*", "<OwnDomain>")


class NameServer:
    """Knows that every name is 127.0.0.1, for a second at a time; can be silenced."""

    def __init__(self, host="127.0.0.53"):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((host, 53))
        self.silent, self.asked = False, 0
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                question, source = self.sock.recvfrom(4096)
            except OSError:
                return
            self.asked += 1
            if not self.silent:
                self.sock.sendto(answer(question), source)

    def close(self):
        self.sock.close()


def answer(question):
    """An A record of a second for A, nothing for all else."""
    end = question.index(b"\0", 12) + 5
    kind = question[end - 4 : end - 2]
    is_a = kind == b"\0\1"
    head = question[:2] + b"\x85\x80" + b"\0\1" + (b"\0\1" if is_a else b"\0\0") + b"\0\0\0\0"
    record = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\x7f\0\0\1" if is_a else b""
    return head + question[12:end] + record


@pytest.fixture
def name_server(tmp_path):
    """A name server, and the command that has a program ask nobody else."""
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.53\noptions timeout:1 attempts:1\n")
    real = pathlib.Path("/etc/resolv.conf").resolve()
    wrapper = ["unshare", "--mount", "sh", "-c", f'mount --bind {resolv} {real} && exec "$@"', "sh"]
    tried = subprocess.run([*wrapper, "true"], capture_output=True, text=True) if shutil.which("unshare") else None
    try:
        server = NameServer()
    except OSError as error:
        pytest.skip(f"port 53 is not to be had: {error}")
    if tried is None or tried.returncode:
        server.close()
        pytest.skip(f"no other resolv.conf here: {tried and tried.stderr}")
    yield server, wrapper
    server.close()


def test_a_name_that_was_known_stays_in_use_while_no_name_server_answers(own_switch, name_server):
    server, wrapper = name_server
    switch = own_switch(wrapper=wrapper)
    tenant = Tenant(switch)
    two = Carriers(tenant, rule=False)
    tenant.connection("named", address=f"carrier{tenant.number}.test:{two.bob.port}")
    tenant.rule("sip:*@*", tenant.host("named"))

    def whole_call(seconds):
        call = two.call()
        leg = two.bob.incoming(seconds=seconds)
        leg.reply(leg.invite, 486)
        leg.expect("ACK")
        call.expect(486)

    whole_call(5)
    assert server.asked > 0
    server.silent = True
    # The second for which the answer was good is over when the resolver has failed once.
    failed = lambda: switch.metric("strowger_dns_failures_total")  # noqa: E731
    wait_until("a look-up fails", lambda: whole_call(15) or failed() > 0, 30)
    # From now on nobody waits for a resolver that does not answer.
    for _ in range(5):
        whole_call(1.5)
    asked = server.asked
    server.silent = False
    wait_until("the name server is asked again", lambda: whole_call(3) or server.asked > asked, 40, every=0.5)
    two.close()
