"""What the server remembers: the script, the request log, how often a fault hit."""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import dataclass

from .script import Script


@dataclass(frozen=True, slots=True)
class Log:
    """Where requests are written: a line each to `path`, bodies into `dump_dir`, a line on stderr."""

    path: str | None = None
    dump_dir: str | None = None
    quiet: bool = True


class State:
    """Shared by the threads of one server; `lock` guards all of it."""

    def __init__(self, script: Script, persona: str = "all", log: Log | None = None) -> None:
        log = log or Log()
        self.lock = threading.RLock()
        self.cond = threading.Condition(self.lock)
        self.script = script
        self.persona = persona
        self.log_path = log.path
        self.dump_dir = log.dump_dir
        self.quiet = log.quiet
        self.started = time.time()
        self.requests: list[dict] = []
        self.fault_hits: dict[tuple, int] = {}
        self.response_turns: dict[str, int] = {}
        self.busy = 0
        self.waiting = 0
        self.telling = 0

    def set_script(self, script: Script) -> None:
        with self.lock:
            self.script = script
            self.fault_hits.clear()

    def reset(self) -> None:
        with self.lock:
            self.requests.clear()
            self.fault_hits.clear()
            self.response_turns.clear()

    def hit(self, key: tuple) -> int:
        """Count one more occasion for a fault; how many there were before."""
        with self.lock:
            n = self.fault_hits.get(key, 0)
            self.fault_hits[key] = n + 1
            return n

    def tell(self, more: int) -> None:
        """So many more requests are being answered, and not in the log yet."""
        with self.cond:
            self.telling += more
            self.cond.notify_all()

    def log(self, entry: dict) -> None:
        with self.cond:
            entry["n"] = len(self.requests)
            self.requests.append(entry)
            self.cond.notify_all()
            if self.log_path:
                with open(self.log_path, "a", encoding="utf-8") as f:
                    f.write(json.dumps(entry) + "\n")
        if not self.quiet:
            print(
                f"fakemodel: {entry['method']} {entry['path']} -> {entry.get('status')} "
                f"{entry.get('rule', '')}#{entry.get('turn', '')}",
                file=sys.stderr,
                flush=True,
            )
