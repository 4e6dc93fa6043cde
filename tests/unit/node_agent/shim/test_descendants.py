"""The processes of a step, by the kernel's lists of children."""

from __future__ import annotations

import os
import subprocess
import sys

from node_agent.shim import process

PARENT = """
import ctypes, subprocess, sys, threading
def work():
    child = subprocess.Popen(["/bin/sleep", "60"], stdin=subprocess.DEVNULL)
    print(child.pid, flush=True)
    child.wait()
threading.Thread(target=work).start()
if sys.argv[1:]:
    ctypes.CDLL(None).pthread_exit(None)  # its state is now that of a process that has ended
"""


def test_a_process_whose_first_thread_has_ended_hides_nothing() -> None:
    for words in ((), ("ended",)):
        with subprocess.Popen([sys.executable, "-c", PARENT, *words], stdout=subprocess.PIPE) as parent:
            assert parent.stdout is not None
            child = int(parent.stdout.readline())
            try:
                found = process.find_descendants(os.getpid())
                assert found is not None and child in {pid for pid, _ in found}
            finally:
                os.kill(child, 9)
