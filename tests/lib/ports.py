"""Free ports of this machine, each handed out once per test run."""

import os
import random
import socket

# Below Linux' ephemeral range (32768 and up), so that no client socket takes a port between our look and its use.
# Single ports and ranges have a region each: a few scattered single ports would leave no room for a long range.
# Where several processes share the tests, each has a part of both to itself.
_processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
_process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _processes
_taken = set()
TCP_LISTEN = "0A"  # the state in /proc/net/tcp


def _share(first, last):
    """This process's part of the ports from `first` on and below `last`; begins and ends even."""
    each = (last - first) // _processes // 2 * 2
    return first + _process * each, first + (_process + 1) * each


FIRST, LAST = _share(10_000, 13_998)
RANGES_FIRST, RANGES_LAST = _share(14_000, 32_000)


def _bindable(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(family, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True


def free_port(host="127.0.0.1"):
    """A port that is free on `host` for UDP and TCP."""
    for _ in range(1000):
        port = random.randrange(FIRST, LAST, 2)
        if port not in _taken and _bindable(host, port):
            _taken.update((port, port + 1))
            return port
    raise RuntimeError(f"no free port on {host}")


def free_range(size, host="127.0.0.1"):
    """`size` neighbouring ports starting at an even one; of a long range only every eighth is probed."""
    step = 8 if size > 64 else 1
    for _ in range(1000):
        first = random.randrange(RANGES_FIRST, RANGES_LAST - size, 2)
        wanted = range(first, first + size)
        if _taken.isdisjoint(wanted) and all(_bindable(host, port) for port in wanted[::step]):
            _taken.update(wanted)
            return first, first + size - 1
    raise RuntimeError(f"no {size} free ports on {host}")


def waiting_bytes(port):
    """What the kernel holds for the sockets on that port of this machine until it is read, in bytes as it counts them;
    None when nobody listens there."""
    found = None
    for kind in ("udp", "udp6", "tcp", "tcp6"):
        try:
            with open(f"/proc/net/{kind}") as table:
                rows = [line.split() for line in table][1:]
        except FileNotFoundError:
            continue  # a machine without IPv6
        for row in rows:
            if int(row[1].rpartition(":")[2], 16) == port and (kind[:3] == "udp" or row[3] == TCP_LISTEN):
                found = (found or 0) + int(row[4].rpartition(":")[2], 16)
    return found


def give_back(first, last):
    """Returns a range whose user has ended."""
    _taken.difference_update(range(first, last + 1))
