"""What a running server costs: CPU seconds and memory of its whole process tree, from /proc."""

import contextlib
import glob
import os
import time

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def tree(root):
    """The process and all its descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _stat(int(entry))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def _stat(pid):
    """The fields of /proc/PID/stat after the command name, or None for a process that is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()
    except OSError:
        return None


def cpu_seconds(pids):
    """User plus system time of all threads; the kernel counts it in steps of 10 ms."""
    total = 0
    for pid in pids:
        fields = _stat(pid)
        if fields:
            total += int(fields[11]) + int(fields[12])
    return total / TICKS_PER_SECOND


def run_seconds(pids):
    """The same by the scheduler's own count, which is exact to the microsecond: for short runs."""
    total = 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            with contextlib.suppress(OSError), open(path) as file:
                total += int(file.read().split()[0])
    return total / 1e9


def machine_seconds():
    """What all processors have run, for whomever, interrupts included: all time but that in which they were idle. The kernel
    samples what it was busy with a hundred times a second, and media come at the same beat; idleness it measures."""
    with open("/proc/stat") as file:
        lines = [line.split() for line in file if line[:3] == "cpu" and line[3].isdigit()]
    idle = sum(int(fields[4]) + int(fields[5]) for fields in lines)
    return time.monotonic() * len(lines) - idle / TICKS_PER_SECOND


def memory_kib(pids):
    """Proportional set size: pages that several processes share are counted once."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        except OSError:
            pass
    return total
