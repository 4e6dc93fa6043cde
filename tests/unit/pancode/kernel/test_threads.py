"""What holds for all threads of the coordinator."""

from __future__ import annotations

import subprocess
import sys

PROBE = """
import ctypes, sys, threading
from pancode.kernel.threads import share_heap
if sys.argv[1:]:
    assert share_heap()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
both = threading.Barrier(9)
def work():
    libc.malloc(1000)
    both.wait()  # no thread inherits the heap of one that has ended
for _ in range(8):
    threading.Thread(target=work).start()
both.wait()
spans = [line.split()[0].split("-") for line in open("/proc/self/maps")]
begins = {int(begin, 16) for begin, _ in spans}
print(sum(begin % (64 << 20) == 0 for begin in begins))
"""
"""Prints how many mappings begin where glibc lets the heap of a thread begin, at a multiple of 64 MB."""


def test_all_threads_share_one_heap() -> None:
    heaps = [
        int(subprocess.run([sys.executable, "-c", PROBE, *words], capture_output=True, check=True).stdout)
        for words in ([], ["shared"])
    ]
    assert heaps[0] >= 7 > heaps[1]
