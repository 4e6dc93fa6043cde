"""Ground truth by the back listener: a host's journal and processes, the coordinator's own Redis."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import redis

from node_agent.attempt.records import JournalRecord, apply_record, open_entry
from node_agent.files.durable import from_json
from node_agent.journal.storage import JournalFiles
from node_agent.runner.runner import spawned_in
from pancode.queue.valkey.layout import COORDINATOR
from tests.crowd import crowded
from tests.e2e.owner import Owner, until
from tests.lab import Lab

SLICE_S = 0.0005
T = TypeVar("T")


class Ground:
    """What really is on host k for one fleet, seen from outside and without SSH."""

    def __init__(self, owner: Owner, lab: Lab, k: int) -> None:
        self.owner, self.lab, self.k = owner, lab, k
        self.name = f"node{k}"
        self.fleet = str(owner.ask("fleet", "status")["coordinator"]["fleet"])
        self.inside = f"/home/ops/.pancode-node/{self.fleet}"
        self.home = Path(lab.path(k, "disk", "home", ".pancode-node", self.fleet))

    @property
    def tag(self) -> str:
        return str(self.owner.ask("node", "show", self.name)["tag"])

    # -- journal

    def entries(self, run: str) -> list[JournalRecord]:
        """The journal's entries of a run, by lease."""
        shelf = JournalFiles(self.home / "journal")
        found = [_entry(shelf, name) for name in shelf.names() if name.startswith(f"{run}.")]
        return sorted((e for e in found if e is not None), key=lambda e: e.identity.lease)

    def mark(self, run: str) -> str | None:
        """The newest mark of the run's newest lease here."""
        found = self.entries(run)
        return found[-1].mark.value if found else None

    def cleaned(self, run: str) -> bool:
        """Whether all that this host knows of the run was acknowledged and put away."""
        found = self.entries(run)
        return bool(found) and all(e.cleaned for e in found)

    def reached(self, run: str, mark: str, timeout_s: float = 30) -> None:
        until(lambda: any(mark in e.marks for e in self.entries(run)), f"{run} is {mark}", timeout_s)

    # -- processes, by their numbers as this machine counts

    def processes(self) -> Iterator[tuple[int, list[str]]]:
        """(pid, argument list) of everything that runs on the host, in a sandbox there, too."""
        space, above, ours = self.lab.hosts[self.k]["pidns"], dict[int, int](), set[int]()
        for entry in map(int, filter(str.isdecimal, os.listdir("/proc"))):
            with suppress(OSError):
                line = Path(f"/proc/{entry}/stat").read_bytes()
                above[entry] = int(line[line.rindex(b")") + 2 :].split()[1])
                if os.stat(f"/proc/{entry}/ns/pid").st_ino == space:
                    ours.add(entry)
        while more := {pid for pid, parent in above.items() if parent in ours and pid not in ours}:
            ours |= more
        for entry in sorted(ours):
            with suppress(OSError):
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")[:-1]
                yield entry, [w.decode("utf-8", "replace") for w in words]

    def running(self, *words: str) -> list[int]:
        """Processes of the host whose argument list holds each of these texts somewhere."""
        return [pid for pid, argv in self.processes() if all(any(w in a for a in argv) for w in words)]

    def agent(self) -> int | None:
        """The node agent of this fleet."""
        found = [
            pid
            for pid, argv in self.processes()
            if argv[-3:] == ["run", "--home", self.inside] and argv[-4].endswith("start.py")
        ]
        return found[0] if found else None

    def kill_shim(self, run: str) -> None:
        """-9 to what watches over the newest attempt of the run, by the number that it wrote down itself."""
        newest = self.entries(run)[-1].identity
        taken = spawned_in(self.home / "journal" / str(newest))
        assert taken is not None, f"{newest} has no shim"
        self.shell(f"kill -9 {taken.pid}")

    def kill_agent(self) -> None:
        """-9, at once."""
        pid = self.agent()
        assert pid is not None, f"no node agent on {self.name}"
        os.kill(pid, signal.SIGKILL)

    def stop_at(self, mark: str, known: set[str], timeout_s: float = 30) -> tuple[int, JournalRecord]:
        """The agent stands still (SIGSTOP) as soon as an entry that is not `known` has that mark."""
        pid = self.agent()
        assert pid is not None, f"no node agent on {self.name}"

        def look() -> JournalRecord | None:
            return next((entry for entry in self.fresh(known) if mark in entry.marks), None)

        return pid, stopped_when(pid, look, mark, timeout_s)

    def kill_at(self, mark: str, known: set[str], timeout_s: float = 30) -> str:
        """-9 in the moment in which an entry that is not `known` has that mark; its newest mark then."""
        pid, entry = self.stop_at(mark, known, timeout_s)
        os.kill(pid, signal.SIGKILL)
        return entry.mark.value

    def names(self) -> set[str]:
        """All entries of the journal."""
        return set(JournalFiles(self.home / "journal").names())

    def fresh(self, known: set[str]) -> list[JournalRecord]:
        shelf = JournalFiles(self.home / "journal")
        found = [_entry(shelf, name) for name in self.names() - known]
        return [entry for entry in found if entry is not None]

    def let_go(self, name: str) -> None:
        """End the wait of `held(name)`; the file is its user's from the first moment, who removes it."""
        self.shell(f"touch /tmp/.{name} && chown ops /tmp/.{name} && mv /tmp/.{name} /tmp/{name}")

    def shell(self, text: str) -> str:
        """As root inside the host."""
        return self.lab.run(self.k, text).stdout


def stopped_when(pid: int, look: Callable[[], T | None], what: str, timeout_s: float) -> T:
    """The process stands still (SIGSTOP) as soon as `look` finds something, which is returned.

    It is let run in slices of half a millisecond, and looked at while it stands still.
    """
    deadline = time.monotonic() + timeout_s * crowded()
    with _before_all_others():
        while True:
            os.kill(pid, signal.SIGSTOP)
            found = None
            try:
                found = look()
            finally:  # a look that fails must not leave it standing for whoever comes next
                if found is None:
                    os.kill(pid, signal.SIGCONT)
            if found is not None:
                return found
            assert time.monotonic() < deadline, f"never {what}"
            time.sleep(SLICE_S)


@contextmanager
def _before_all_others() -> Iterator[None]:
    """This thread is not kept waiting by a busy node; else who is watched is far on at the next look."""
    thread = threading.get_native_id()
    before = os.getpriority(os.PRIO_PROCESS, thread)
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, thread, -20)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, thread, before)


def held(name: str) -> str:
    """A line of a shell task that waits until it is let go: a busy node changes nothing."""
    return f"until [ -e /tmp/{name} ]; do sleep 0.1; done; rm -f /tmp/{name}"


def _entry(shelf: JournalFiles, name: str) -> JournalRecord | None:
    """As the files say; None while it is being made."""
    records = [from_json(raw) for raw in shelf.read(name)]
    if not records:
        return None
    entry = open_entry(records[0])
    for record in records[1:]:
        entry = apply_record(entry, record)
    return entry


# -- the coordinator's side


def redis_of(owner: Owner) -> redis.Redis:
    """The coordinator's Redis with the coordinator's own rights: what an intruder on the desk would have."""
    folder = owner.fleet_home / "valkey"
    return redis.Redis(
        unix_socket_path=str(folder / "valkey.sock"),
        username=COORDINATOR,
        password=(folder / "coordinator.password").read_text().strip(),
        socket_timeout=10 * crowded(),
    )


@contextmanager
def redis_open(owner: Owner) -> Iterator[Any]:
    with closing(redis_of(owner)) as client:
        yield client


def valkey_pid(owner: Owner) -> int:
    """The embedded server, by the lock that it holds."""
    with redis_open(owner) as client:
        return int(client.info("server")["process_id"])


def coordinator_pid(owner: Owner) -> int:
    """Of the process that answers now."""
    return int(owner.ask("fleet", "status")["coordinator"]["pid"])


def kill_coordinator(owner: Owner, number: int = signal.SIGKILL) -> int:
    """At once; returns when it is gone (for SIGKILL)."""
    pid = coordinator_pid(owner)
    os.kill(pid, number)
    if number == signal.SIGKILL:
        until(lambda: _gone(pid), f"coordinator {pid} is gone", 10)
    return pid


def _gone(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def audited(owner: Owner, domain: str = "trust") -> list[dict[str, Any]]:
    """What is on record of that domain, newest first."""
    found: list[dict[str, Any]] = owner.ask("audit", domain, "-n", "1000")["audit"]
    return found


def raised(owner: Owner, holds: Callable[[dict[str, Any]], bool], what: str, timeout_s: float = 15) -> None:
    """Wait until such an entry is on record."""
    until(lambda: any(holds(e) for e in audited(owner)), f"audit: {what}", timeout_s, lambda: audited(owner))


def money(owner: Owner) -> tuple[Decimal, Decimal]:
    """(spent, held) so far."""
    spent, held = of_all_days(owner, "spent_usd", "held_usd")
    return spent, held


def of_all_days(owner: Owner, *names: str) -> list[Decimal]:
    """These sums of the books: today's alone begin anew at midnight."""
    scopes = owner.ask("budget", "show", "--all")["scopes"]
    days = [scope for scope in scopes if scope["scope"].startswith("day:")]
    return [sum((Decimal(day[name]) for day in days), Decimal(0)) for name in names]
