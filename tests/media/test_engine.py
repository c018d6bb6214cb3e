"""How packets get into the process: by io_uring, or by epoll where that is forbidden."""

import pathlib
import subprocess
import sys

import pytest

from lib import metrics, sdp
from lib.rtp import talk, until_heard
from lib.sdp import Sdp
from lib.switch import clean_environment
from lib.tenant import Carriers, Tenant

WITHOUT_IO_URING = [sys.executable, pathlib.Path(__file__).parents[1] / "lib/without_io_uring.py"]


def relays(switch, rtp):
    """Fifty packets each way through a call; the engine that the switch says it has."""
    two = Carriers(Tenant(switch))
    one, other = rtp(voice=1), rtp(voice=2)
    try:
        call = two.call(body=sdp.audio("127.0.0.1", one.port))
        leg = two.bob.incoming()
        to_b = Sdp(leg.invite.body).rtp
        leg.reply(leg.invite, 200, sdp.audio("127.0.0.1", other.port))
        to_a = Sdp(call.expect(200).body).rtp
        call.ack()
        leg.expect("ACK")
        until_heard(one, to_a, other, to_b)
        talk([(one, to_a), (other, to_b)], packets=50)
        assert (other.heard(one), one.heard(other)) == (50, 50)
        assert [packet.sequence for packet in other.received] == list(range(one.sequence - 50, one.sequence))
        two.hang_up(call, leg)
    finally:
        two.close()
    [(labels, _)] = metrics.read(switch.origin)["strowger_media_engine"]
    return labels["engine"]


def test_where_io_uring_is_forbidden_media_pass_by_epoll(own_switch, rtp):
    switch = own_switch(wrapper=WITHOUT_IO_URING)
    assert relays(switch, rtp) == "epoll"
    assert "io_uring does not work here" in switch.log_path.read_text()


@pytest.mark.parametrize("engine", ["io_uring", "epoll"])
def test_media_pass_by_the_engine_that_is_asked_for(own_switch, rtp, engine):
    assert relays(own_switch("--media-engine", engine), rtp) == engine


def test_an_engine_that_does_not_work_is_named_at_the_start(own_switch):
    switch = own_switch()
    switch.stop()
    command = [*map(str, WITHOUT_IO_URING), *switch.command(), "--media-engine", "io_uring"]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60, env=clean_environment(None))
    assert refused.returncode != 0
    assert "edia are to pass through io_uring, which does not work here" in refused.stdout + refused.stderr
