"""`python -m tests.architecture.way` measures the way of real work through the code, over a real fleet.

A copy of the product is made in which each program notes the files whose functions it enters. A fleet of one
machine is brought up from it: the command line, the coordinator, the node agent and the shims are real, as
are Valkey, git, the sandbox and the browser. Files that the same process enters while the fleet is idle do
not count, nor do threads that are not of the act (`BESIDE`). Changes of room are counted for each
process, in the order in which it enters its files.
`python -m tests.architecture.way page` also writes the page of the reference.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.architecture.sources import PACKAGES, ROOT
from tests.crowd import crowded, until
from tests.fakemodel import FakeModel
from tests.ports import find_free_port

IDLE_S = 8.0
SETTLED_S = 2.0
"""After an act: what follows on it, as its books, is part of its way."""
BUCKET_S = 0.25
PAGE = "docs/reference/one-run.md"
BESIDE = ("asyncio_", "backups", "follow-on-tell", "issues", "outgoing", "ssh")
"""How the names of the coordinator's threads begin that are not of these acts: they look at each event, or at
the time, such as the thread of the links."""

TRACER = r"""
def _begin():
    import os, sys, threading, time
    known, last, named = {{}}, {{}}, set()
    def note(path):
        # Opened for each line: a shim closes all files but its own.
        thread = threading._active.get(threading.get_ident())  # current_thread() may make one
        name = thread.name.replace(" ", "-") if thread else "?"
        text = f"{{time.monotonic():.3f}} {{name}} {{path}}\n"
        if os.getpid() not in named:
            named.add(os.getpid())
            words = open("/proc/self/cmdline", "rb").read().replace(b"\0", b" ").replace(b"\n", b" ")
            text = f"= {{words[:300].decode(errors='replace')}}\n{{text}}"
        with open(f"{out}/{{os.getpid()}}", "a") as notes:
            notes.write(text)
    def seen(frame, event, _):
        if event != "call":
            return
        code = frame.f_code
        path = known.get(code)
        if path is None:
            name = code.co_filename
            at = max(name.rfind("/pancode/"), name.rfind("/node_agent/"))
            is_function = code.co_flags & 1  # CO_OPTIMIZED: no module, and no body of a class
            path = known[code] = name[at + 1:] if is_function and at >= 0 else ""
        if path:
            now, by = int(time.monotonic() / {bucket}), (path, threading.get_ident())
            if last.get(by) != now:
                last[by] = now
                try:
                    note(path)
                except OSError:
                    pass
    sys.setprofile(seen)
    threading.setprofile(seen)
try:
    import sys
    if sys.getprofile() is None:
        _begin()
except Exception:
    pass
"""
CHAIN = """steps:
  - {name: one, runtime: shell, task: "echo first >> b.txt"}
  - {name: two, runtime: shell, needs: [one], task: "cat b.txt"}
"""
TALK = {"count": "assistant", "turns": [{"text": "Hello."}]}
MODEL = "anthropic/claude-sonnet-4-5"
OPENING = "from __future__ import annotations\n"


def traced_copy(place: Path, notes: Path) -> Path:
    """The product with the tracer in each package, and in each program that is started by its path."""
    tree, code = place / "product", TRACER.format(out=notes, bucket=BUCKET_S)
    for name in (*PACKAGES, "requirements"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for package in PACKAGES:
        for path in sorted((tree / package).rglob("*.py")):
            text = path.read_text()
            if path.parent == tree / package and path.name == "__init__.py":
                path.write_text(text + code)
            elif package == "node_agent" and 'if __name__ == "__main__"' in text:
                path.write_text(text.replace(OPENING, OPENING + code, 1))
    return tree


@dataclass(frozen=True, slots=True)
class Entry:
    at: float
    pid: int
    program: str
    thread: str
    path: str


def entries(notes: Path) -> Iterator[Entry]:
    """Of all processes, each in the order of time."""
    for file in sorted(notes.iterdir()):
        program = ""
        for line in file.read_text(errors="replace").splitlines():
            if line.startswith("= "):
                program = program_of(line[2:])
            else:
                at, thread, path = line.split(" ", 2)
                yield Entry(float(at), int(file.name), program, thread, path)


def program_of(words: str) -> str:
    """What a reader calls the process."""
    if "node_agent/shim" in words:
        return "shim"
    if "start.py" in words:
        return "node agent"
    if "node_agent/" in words:
        return words.partition("node_agent/")[2].split()[0]
    return "coordinator" if " serve" in words else "command line"


@dataclass(frozen=True, slots=True)
class Way:
    """The files that each process enters first in one act, in order, beyond those of an idle fleet."""

    processes: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def files(self) -> int:
        return len({path for _, paths in self.processes for path in paths})

    @property
    def changes(self) -> int:
        return sum(changes(paths) for _, paths in self.processes)


def changes(paths: tuple[str, ...]) -> int:
    rooms = [room(path) for path in paths]
    return sum(one != other for one, other in zip(rooms, rooms[1:], strict=False))


def room(path: str) -> str:
    return "/".join(Path(path).with_suffix("").parts[:2])


Span = tuple[float, float]
"""Begin and end, in seconds of the monotonic clock."""


def way(seen: list[Entry], act: Span, idle: Span) -> Way:
    """`idle`: the time right before the act. Files of other idle times count, so no act gets shorter when one
    more is measured."""
    calm: dict[int, set[str]] = {}
    for one in seen:
        if idle[0] <= one.at <= idle[1]:
            calm.setdefault(one.pid, set()).add(one.path)
    found: dict[tuple[str, int], dict[str, None]] = {}
    for one in sorted(seen, key=lambda one: one.at):
        is_of_act = act[0] <= one.at <= act[1] and not one.thread.startswith(BESIDE)
        if is_of_act and one.path not in calm.get(one.pid, set()):
            found.setdefault((one.program, one.pid), {}).setdefault(one.path)
    return Way(tuple((name, tuple(paths)) for (name, _), paths in found.items()))


class TracedFleet:
    """A fleet of this machine alone, in a home of its own, that runs the traced copy."""

    def __init__(self, place: Path, tree: Path) -> None:
        self.work = place / "work"
        self.work.mkdir()
        home = place / "home" / ".pancode"
        home.mkdir(parents=True)
        (home / "pancode.yaml").write_text(f"api: {{listen: 127.0.0.1:{find_free_port()}}}\n")
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("PANCODE_")}
        self.environ |= {
            "HOME": str(place / "home"),
            "PANCODE_HOME": str(home),
            "PYTHONPATH": f"{tree}:{ROOT}",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def run(self, *words: str) -> str:
        argv = [sys.executable, "-m", "pancode", *words]
        done = subprocess.run(
            argv, cwd=self.work, env=self.environ, capture_output=True, text=True, timeout=240 * crowded()
        )
        if done.returncode:
            raise RuntimeError(f"pancode {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def knows_model(self, url: str) -> None:
        """As the owner of a machine says it: a key, and where the vendor's server is."""
        (home,) = Path(self.environ["HOME"]).glob(".pancode-node/f-*")
        secrets = home / "secrets.json"
        secrets.write_text(json.dumps({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": url}))
        secrets.chmod(0o600)
        until(lambda: '"ok"' in self.run("agents", "runtimes", "native", "--json"), "native is ready", 60)

    def git(self, *words: str) -> None:
        subprocess.run(["git", *words], cwd=self.work, env=self.environ, check=True, capture_output=True)

    def repository(self) -> None:
        self.git("init", "-q", "-b", "main")
        (self.work / "a.txt").write_text("one\n")
        (self.work / "chain.yaml").write_text(CHAIN)
        self.git("add", ".")
        self.git("-c", "user.name=n", "-c", "user.email=n@example.org", "commit", "-qm", "one")


@contextmanager
def fleet(place: Path) -> Iterator[tuple[TracedFleet, Path]]:
    notes = place / "notes"
    notes.mkdir()
    made = TracedFleet(place, traced_copy(place, notes))
    made.repository()
    try:
        made.run("fleet", "up")
        yield made, notes
    finally:
        node = json.loads(made.run("node", "ls", "--json"))["nodes"][0]["name"]
        made.run("node", "rm", node, "--yes")
        made.run("fleet", "down", "--now")


def look_at_now(made: TracedFleet) -> None:
    """The console's first page in a real browser, by the link that `pancode web` prints."""
    from playwright.sync_api import expect

    from tests.e2e.console import chromium

    with chromium() as browser:
        page = browser.new_page()
        page.goto(made.run("web", "--print").strip().splitlines()[-1].split()[-1])
        expect(page.get_by_role("heading", name="Now", exact=True)).to_be_visible()


ACTS: Mapping[str, Callable[[TracedFleet], object]] = {
    "a dispatch": lambda made: made.run(
        "dispatch", "--runtime", "shell", "--verify", "grep -q more a.txt", "echo more >> a.txt"
    ),
    "a landing": lambda made: made.run("land", "last"),
    "a turn of a chat": lambda made: made.run(
        *("chat", "--once", "--agent", "scout", "--runtime", "native", "--model", MODEL),
        *("--workspace", "none", "--budget", "1", "say hello"),
    ),
    "a chain of two steps": lambda made: made.run("chain", "chain.yaml", "--yes"),
    "a page of the console": look_at_now,
}


def measured(names: Collection[str] = tuple(ACTS)) -> dict[str, Way]:
    """These acts, each played twice after once that makes what a fleet makes once: the smaller one counts, as
    what a fleet does by itself may fall into the other."""
    place = Path(tempfile.mkdtemp(prefix="way-"))
    try:
        with fleet(place) as (made, notes), FakeModel(TALK) as model:
            made.knows_model(model.url)
            spans: dict[str, list[tuple[Span, Span]]] = {}
            for name in names:
                ACTS[name](made)
            for name in (*names, *names):
                before = time.monotonic()
                time.sleep(IDLE_S)
                begin = time.monotonic()
                ACTS[name](made)
                time.sleep(SETTLED_S)
                spans.setdefault(name, []).append(((begin, time.monotonic()), (before, begin)))
            seen = list(entries(notes))
        return {
            name: min((way(seen, *played) for played in twice), key=lambda found: found.files)
            for name, twice in spans.items()
        }
    finally:
        shutil.rmtree(place, ignore_errors=True)


HEAD = """# The path of one run

Written by `python -m tests.architecture.way page`: real work over a real fleet of one node, from the
command line to the shim and back. A file stands where its process enters it first. Files that an idle fleet
enters, too, are left out. `tests/e2e/test_way.py` holds the counts.

| Act | Files | Changes of room | By process: files, changes |
|---|---|---|---|
"""


def page(ways: Mapping[str, Way]) -> str:
    """The counts of all acts, and the files of the dispatch with the subject of each."""
    lines = [HEAD]
    for name, found in ways.items():
        parts = "; ".join(f"{who}: {len(paths)}, {changes(paths)}" for who, paths in found.processes)
        lines.append(f"| {name} | {found.files} | {found.changes} | {parts} |\n")
    for program, paths in ways["a dispatch"].processes:
        lines.append(f"\n## A dispatch: {program}\n")
        last = ""
        for path in paths:
            if room(path) != last:
                last = room(path)
                lines.append(f"\n**{last}**\n\n")
            lines.append(f"- `{Path(path).name}`: {opening(ROOT / path)}\n")
    return "".join(lines)


def opening(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def main() -> None:
    ways = measured()
    for name, found in ways.items():
        sys.stdout.write(f"{name}: {found.files} files, {found.changes} changes of room\n")
        for program, paths in found.processes:
            sys.stdout.write(f"  {program}: {len(paths)} files, {changes(paths)} changes\n")
    if sys.argv[1:] == ["page"]:
        (ROOT / PAGE).write_text(page(ways))


if __name__ == "__main__":
    main()
