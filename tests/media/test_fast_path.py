"""Streams that the kernel relays by itself, between this host and one beside it."""

import os
import subprocess

import pytest

from lib import sdp
from lib.namespace import beside_us
from lib.rtp import Port, listen, talk
from lib.sdp import Sdp
from lib.switch import clean_environment
from lib.tenant import Carriers, Tenant
from lib.waiting import wait_until

SIDES = ("from_orig", "from_term")


@pytest.fixture
def beside():
    one = beside_us()
    yield one
    one.close()


class Call:
    """A call between two phones of the host beside us, and how much of it the kernel relays."""

    def __init__(self, switch, beside):
        self.switch = switch
        address = (beside.there, "UDP")
        self.two = Carriers(Tenant(switch), alice=address, bob=address, where=beside.entered())
        with beside.entered():
            self.ports = [Port(beside.there, voice) for voice in (1, 2)]
            self.spare = Port(beside.there, voice=2, ssrc=self.ports[1].ssrc)
        offer, answer = (sdp.audio(beside.there, port.port) for port in self.ports)
        self.call, self.leg = self.two.established(offer, answer)
        self.doors = [Sdp(self.call.response.body).rtp, Sdp(self.leg.invite.body).rtp]

    def talk(self, packets):
        talk(list(zip(self.ports, self.doors)), packets)

    def in_kernel(self):
        return self.switch.metric("strowger_media_streams_in_kernel")

    def until_lent(self):
        """Both speak until the kernel has both streams."""
        for _ in range(100):
            self.talk(15)
            if self.in_kernel() == 2:
                return
        raise AssertionError(f"the kernel has {self.in_kernel()} streams")

    def end(self):
        self.two.hang_up(self.call, self.leg)
        return self.two.record(self.call)

    def close(self):
        for port in (*self.ports, self.spare):
            port.close()
        self.two.close()


@pytest.fixture
def call(own_switch, beside):
    switch = own_switch(sip=(beside.here,))
    log = switch.log_path.read_text()
    if "the kernel relays no media here" in log:
        pytest.skip(next(line for line in log.splitlines() if "the kernel relays no media here" in line))
    one = Call(switch, beside)
    yield one
    one.close()


def test_the_kernel_relays_a_call_and_the_record_counts_every_packet(call):
    call.until_lent()
    before = [len(port.received) for port in call.ports]
    call.talk(50)
    after = [len(port.received) for port in call.ports]
    assert [b - a for a, b in zip(before, after)] == [50, 50]
    record = call.end()
    for side, port, other, door in zip(SIDES, reversed(call.ports), call.ports, reversed(call.doors)):
        assert port.heard(other) == len(port.received)
        first = port.received[0].sequence
        assert [packet.sequence for packet in port.received] == list(range(first, other.sequence))
        assert {packet.source for packet in port.received} == {door}
        counted = record["media"][side]
        assert (counted["packets"], counted["lost"]) == (len(port.received), 0), record["media"]
        assert counted["bytes"] == len(port.received) * 172
    assert call.switch.metric("strowger_media_kernel_packets_total") >= 100


def test_keys_are_seen_and_a_source_that_moves_is_followed(call):
    call.until_lent()
    one, other = call.ports
    heard = len(other.received)
    one.send_dtmf(call.doors[0], "7")
    key = lambda: [packet for packet in other.received[heard:] if packet.payload_type == 101]  # noqa: E731
    wait_until("all of the key has arrived", lambda: listen([other], 0.02) or len(key()) == 8)
    assert [packet.sequence for packet in key()] == list(range(one.sequence - 8, one.sequence))
    call.until_lent()
    # The same stream from another port, as behind a NAT that forgot its binding.
    call.spare.sequence, call.spare.timestamp, call.spare.sent = other.sequence, other.timestamp, other.sent
    call.ports[1] = call.spare
    call.until_lent()
    other.drain()
    before, moved = len(other.received), call.spare.heard(one)
    call.talk(20)
    other.drain()
    assert (len(other.received), call.spare.heard(one)) == (before, moved + 20)
    record = call.end()
    for side, heard in zip(SIDES, (len(other.received) + len(call.spare.received), len(one.received))):
        counted = record["media"][side]
        assert (counted["packets"], counted["lost"], counted["refused"]) == (heard, 0, 0), record["media"]


def test_where_the_kernel_may_not_be_asked_the_start_says_so(own_switch):
    switch = own_switch(start=False)
    # setpriv comes with util-linux; the capabilities of a service under systemd. Who is not root has none to give up.
    giving_up = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    command = [*giving_up, *switch.command()]
    refused = subprocess.run([*command, "--media-fast-path", "on"], capture_output=True, text=True, timeout=60,
                             env=clean_environment(None))  # fmt: skip
    assert refused.returncode != 0
    assert "he kernel is to relay media, which does not work here" in refused.stdout + refused.stderr
