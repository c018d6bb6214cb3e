"""A service manager that keeps our sockets, as systemd's file descriptor store does: what arrives while no process is
there is answered by the next."""

import array
import os
import socket
import sys

import pytest

from lib import sdp
from lib.tenant import Carriers, Tenant
from lib.waiting import wait_until

# Becomes the switch, with the descriptors where sd_listen_fds(3) wants them.
LEAVE = """
import fcntl, os, sys
count = int(sys.argv[1])
given = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in sys.argv[2:2 + count]]
for place, number in enumerate(given):
    os.dup2(number, 3 + place, inheritable=True)
    os.close(number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(count))
os.execv(sys.argv[2 + count], sys.argv[2 + count:])
"""


class Manager:
    """What systemd does for us: it hears notifications, keeps descriptors and leaves them to the next process."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.setblocking(False)
        self.said, self.kept = [], []

    def hear(self):
        """Takes in what was said; all that has been said so far."""
        while True:
            try:
                data, control, *_ = self.socket.recvmsg(4096, socket.CMSG_SPACE(4 * 253))
            except BlockingIOError:
                return self.said
            text = data.decode()
            self.said.append(text)
            numbers = array.array("i")
            for level, kind, payload in control:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    numbers.frombytes(payload[: len(payload) - len(payload) % 4])
            if text.startswith("FDSTOREREMOVE=1"):
                self.forget()
            elif text.startswith("FDSTORE=1"):
                self.kept += list(numbers)

    def forget(self):
        for number in self.kept:
            os.close(number)
        self.kept = []

    def wrapper(self):
        return [sys.executable, "-c", LEAVE, len(self.kept), *self.kept]

    def close(self):
        self.forget()
        self.socket.close()


@pytest.fixture
def manager(tmp_path):
    one = Manager(tmp_path)
    yield one
    one.close()


@pytest.mark.parametrize("shards", [1, 2])
def test_what_arrives_between_two_processes_is_answered(own_switch, manager, shards):
    switch = own_switch("--shards", shards, env={"NOTIFY_SOCKET": manager.path})
    wait_until("sockets are kept", lambda: any(said.startswith("FDSTORE=1") for said in manager.hear()))
    assert len(manager.kept) == shards + 2, "UDP for each shard, TCP, HTTP"
    two = Carriers(Tenant(switch))
    up, leg = two.established(sdp.audio("127.0.0.1", 4000), sdp.audio("127.0.0.1", 5000))
    switch.kill()
    # Nobody is there, and nobody repeats anything.
    call = two.call(body=sdp.audio("127.0.0.1", 4000))
    bye = up.request("BYE")
    streams = socket.create_connection(switch.sip_address(), timeout=3)
    switch.wrapper, switch.inherits = manager.wrapper(), list(manager.kept)
    switch.start()
    leg.expect_bye()
    assert two.alice.response_to(bye).status == 200
    called = two.bob.incoming()
    called.reply(called.invite, 200, sdp.audio("127.0.0.1", 5000))
    call.expect(200)
    call.ack()
    called.expect("ACK")
    bye = call.request("BYE")
    called.expect_bye()
    assert two.alice.response_to(bye).status == 200
    streams.sendall(b"\r\n\r\n")
    assert streams.recv(10) == b"\r\n", "whoever connected meanwhile is answered"
    streams.close()
    wait_until("the new process has its sockets kept", lambda: sum(s.startswith("FDSTORE=1") for s in manager.hear()) == 2)
    assert len(manager.kept) == shards + 2
    two.close()
