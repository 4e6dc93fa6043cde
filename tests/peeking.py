"""A program that looks for a word in another process of its user, as an agent's command may."""

from __future__ import annotations

import os

WITHOUT_POWERS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
"""Put before a command: root may look into everything, so it continues as any user does."""

PEEK = """
import sys
word = sys.argv[1][::-1].encode()  # the other way round, or it would be found in this very process

def everything(pid):
    with open(f"/proc/{pid}/environ", "rb") as file:
        yield file.read()
    with open(f"/proc/{pid}/mem", "rb", 0) as memory, open(f"/proc/{pid}/maps") as maps:
        for line in maps:
            first, _, last = line.split()[0].partition("-")
            try:
                memory.seek(int(first, 16))
                yield memory.read(int(last, 16) - int(first, 16))
            except (OSError, ValueError, OverflowError):
                continue

for pid in sys.argv[2:]:
    try:
        print("peeked", pid, any(word in part for part in everything(pid)))
    except PermissionError:
        print("peeked", pid, "denied")
"""
"""`peek.py WORD-BACKWARDS PID...`: a line for each process."""
