"""Becomes the command that follows, in a process that may not set up io_uring: as in a container with the usual profile.

    python3 without_io_uring.py PROGRAM [arguments]
"""

import ctypes
import os
import struct
import sys

PR_SET_SECCOMP, SECCOMP_MODE_FILTER, PR_SET_NO_NEW_PRIVS = 22, 2, 38
IO_URING_SETUP = 425  # the same number on all architectures
ALLOW, REFUSE = 0x7FFF_0000, 0x0005_0001  # the latter with EPERM


def instruction(code, jump_if=0, jump_else=0, k=0):
    return struct.pack("=HBBI", code, jump_if, jump_else, k)


# Load the number of the system call; if it is the one, refuse it; else allow it.
program = instruction(0x20) + instruction(0x15, 0, 1, IO_URING_SETUP) + instruction(0x06, k=REFUSE) + instruction(0x06, k=ALLOW)


class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("program", ctypes.c_char_p)]


if __name__ == "__main__":
    libc = ctypes.CDLL(None, use_errno=True)
    rules = Filter(len(program) // 8, program)
    for option, one, two in ((PR_SET_NO_NEW_PRIVS, 1, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(rules))):
        if libc.prctl(option, one, two, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
    os.execvp(sys.argv[1], sys.argv[1:])
