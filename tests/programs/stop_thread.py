"""Stops one thread of a process, by its name ("" is the main thread), until standard input ends."""

import ctypes
import os
import sys

SEIZE, INTERRUPT, ALL = 0x4206, 0x4207, 0x40000000

pid, name = int(sys.argv[1]), sys.argv[2]


def called(thread):
    with open(f"/proc/{pid}/task/{thread}/comm") as comm:
        return comm.read().strip()


threads = [int(thread) for thread in os.listdir(f"/proc/{pid}/task")]
thread = next(one for one in threads if (called(one) == name if name else one == pid))
libc = ctypes.CDLL(None, use_errno=True)
for request in (SEIZE, INTERRUPT):
    if libc.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")
os.waitpid(thread, ALL)
print("stopped", flush=True)
# It goes on when its tracer ends.
sys.stdin.read()
