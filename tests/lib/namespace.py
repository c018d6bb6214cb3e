"""A host beside this one: a network namespace at the far end of a cable, made for a test and removed with it."""

import contextlib
import ctypes
import itertools
import os
import subprocess

CLONE_NEWNET = 0x40000000
_numbers = itertools.count(1)
_libc = ctypes.CDLL(None, use_errno=True)


def run(*command):
    subprocess.run(["ip", *map(str, command)], check=True, capture_output=True, text=True)


class Namespace:
    """`here` is our address on the cable, `there` that of the host beside us."""

    def __init__(self):
        # A network of the range for tests between devices (RFC 2544), its number made of that of this process.
        number = os.getpid() * 8 + next(_numbers) % 8
        network = f"198.{18 + number // 16384 % 2}.{number // 64 % 256}"
        first = number % 64 * 4
        self.here, self.there = f"{network}.{first + 1}", f"{network}.{first + 2}"
        self.name, self.cable = f"strowger-{os.getpid()}-{number % 8}", f"sw{number % 10_000_000}"
        run("netns", "add", self.name)
        try:
            run("link", "add", self.cable, "type", "veth", "peer", "name", "cable", "netns", self.name)
            run("address", "add", f"{self.here}/30", "dev", self.cable)
            run("link", "set", self.cable, "up")
            for command in (("address", "add", f"{self.there}/30", "dev", "cable"), ("link", "set", "cable", "up"),
                            ("link", "set", "lo", "up")):  # fmt: skip
                run("-netns", self.name, *command)
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def entered(self):
        """Sockets that are made meanwhile belong to the host beside us, for as long as they live."""
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self.name}") as away:
            _enter(away)
            try:
                yield self
            finally:
                _enter(home)

    def close(self):
        # The cable goes with its far end.
        run("netns", "delete", self.name)


def _enter(namespace):
    if _libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def beside_us():
    """A host beside us; skips the test, with the reason, where this process may not make one."""
    import pytest  # benchmarks have hosts beside them too, and no pytest

    try:
        return Namespace()
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        why = getattr(error, "stderr", None) or error
        pytest.skip(f"no network namespace can be made here: {why}")
