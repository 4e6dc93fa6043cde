"""`pancode fleet demo`: runs six acts with a temporary fleet, checks each act, and removes everything."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from decimal import Decimal
from textwrap import indent
from types import FrameType
from typing import Any

from node_agent.wire.clock import Clock, SystemClock
from pancode.app.demo_stage import FACTOR, NODES, CommandDone, Stage, list_unused, new_stage
from pancode.app.schema import SCHEMA
from pancode.budget import books
from pancode.interfaces.client.client import path_of
from pancode.kernel.errors import PancodeError, UnavailableError
from pancode.kernel.records import Balance, BookEntry
from pancode.store.ledger import SqlLedger

Write = Callable[[str], None]
CALM, DOOMED = NODES
_AGENT = "scripted/program.py"
_FASTER = round(1 / FACTOR)
OPENING = f"""\
A fleet on this machine: no root, no key, no model, no network. All of it is in {{root}}.
The coordinator, its Redis, the node agents, SSH, git and the signatures are the real ones. The coding
agent is a scripted double, so that the outcome is known. Waits are {_FASTER} times shorter than shipped."""
NEXT = """
Next steps, in a repository of yours:
    pancode fleet up                                      make this machine a node
    pancode dispatch --runtime shell 'uname -a'           run a program without a model
    pancode node add gpubox && pancode fleet up gpubox    add a node, by its name in ~/.ssh/config
    pancode agents runtimes                               list ready runtimes, with fixes for the others
    pancode init                                          write your settings, and this repository's"""
GO = ".go"
"""The file that lets the long run end, however long the other commands of its act take."""
PATIENCE_S = 120
FILES = {
    "README.md": "# greeter\n\nSays hello.\n",
    ".gitignore": f"__pycache__/\n{GO}\n",
    "greet.py": 'def greet(name):\n    return f"Hello, {name}."\n',
    "test_greet.py": (
        "import unittest\n\nimport greet\n\n\n"
        "class Greets(unittest.TestCase):\n"
        "    def test_greet(self):\n"
        '        self.assertEqual(greet.greet("you"), "Hello, you.")\n'
    ),
}
"""The files of the project at its first commit."""
TICKS = 14
GATE = f"{'python3' if shutil.which('python3') else sys.executable} -m unittest -q"
"""The project's own tests, as a command."""
_SHOUTS = 'self.assertEqual(greet.shout("you"), "HELLO, YOU.")'
HONEST = rf"""#!scripted
# add shout() and a test for it
say "reading greet.py"
read greet.py
append greet.py '\n\ndef shout(name):\n    return greet(name).upper()\n'
append test_greet.py '\n    def test_shout(self):\n        {_SHOUTS}\n'
usage 3100 420 0.021
answer "shout() is there, with its test."
"""
"""A task whose agent does what it claims."""
LIAR = """#!scripted
# translate the greeting
replace greet.py Hello Hallo
usage 2400 310 0.018
answer "Translated. All tests pass."
"""
"""A task whose agent breaks the project's test and claims that all tests pass."""
LONG = rf"""#!scripted
# write the change log, slowly
tick {TICKS} 0.2
await {GO} 600
write CHANGES.md '# Changes\n\n- greet() says hello.\n'
usage 5200 800 0.034
answer "CHANGES.md is written."
"""
"""A task long enough for its node agent to be killed during the run."""


@dataclass(frozen=True, slots=True)
class DemoCheck:
    """One check of the demo, and whether it passed."""

    what: str
    ok: bool
    detail: str


class DemoReport:
    """Narrates the demo and records its checks. `write` prints a text; it may raise OSError."""

    def __init__(self, write: Write, clock: Clock) -> None:
        self._write, self._clock = write, clock
        self._began, self._act = clock.mono_ms(), 0
        self.checks: list[DemoCheck] = []

    @property
    def seconds(self) -> float:
        return (self._clock.mono_ms() - self._began) / 1000

    @property
    def good(self) -> bool:
        """Whether every check so far passed."""
        return all(check.ok for check in self.checks)

    def say(self, text: str) -> None:
        self._write(f"{text}\n")

    def act(self, title: str) -> None:
        """Begin a new act, and show the elapsed time."""
        self._act += 1
        self.say(f"\n{self._act}. {title}  [{self.seconds:.0f} s]")

    def tell(self, text: str) -> None:
        """Print a sentence about the current act."""
        self.say(indent(text, "   "))

    def command(self, shown: str, output: str = "") -> None:
        """Show a command as a user would type it, and its output."""
        self.tell(f"$ {shown}")
        if output.strip():
            self.tell(indent(output.rstrip("\n"), "  "))

    def check(self, what: str, ok: bool, detail: object = "") -> bool:
        """Record and show a check, and return whether it passed; if it failed, `detail` is shown."""
        found = DemoCheck(what, bool(ok), str(detail))
        self.checks.append(found)
        self.tell(f"ok   {what}" if found.ok else f"NO   {what}: {found.detail}")
        return found.ok


class Demo:
    """A demo: its stage (the temporary fleet), its report, and its runs by purpose."""

    def __init__(self, stage: Stage, report: DemoReport) -> None:
        self.stage, self.report = stage, report
        self.runs: dict[str, str] = {}

    def show(self, name: str) -> dict[str, Any]:
        """Return all details of one run."""
        shown: dict[str, Any] = self.stage.client.get(path_of("runs", self.runs[name]))
        return shown

    def command(self, shown: str, *words: str) -> CommandDone:
        """Run a PanCode command, and show it with its output."""
        done = self.stage.pancode(*(words or shown.split()))
        self.report.command(f"pancode {shown}", done.both)
        return done

    def dispatch(self, name: str, shown: str, *words: str) -> CommandDone:
        """Dispatch a run, and store the run's id under `name`."""
        done = self.command(f"dispatch {shown}", "dispatch", *words)
        newest = str(self.stage.client.get(path_of("runs", "last"))["run"])
        if newest in self.runs.values():
            raise UnavailableError("the dispatch did not create a run", why=done.err.strip()[-300:])
        self.runs[name] = newest
        return done

    def scripted(self, name: str, task: str, words: str) -> CommandDone:
        """Dispatch a task to the scripted runtime on the node CALM, with the project's gate."""
        options = f"--runtime scripted --node {CALM} --budget 0.50"
        shown = f"{options} \\\n      --verify '{GATE}' '{words}'"
        return self.dispatch(name, shown, *options.split(), "--verify", GATE, task)

    def bring_up(self) -> None:
        """Bring up the coordinator and two nodes, over SSH."""
        stage, report = self.stage, self.report
        report.act("Two nodes join a fleet, each over SSH")
        started = stage.pancode("serve", "--background")
        if started.code != 0:
            raise UnavailableError("the coordinator did not start", why=started.err.strip()[-400:])
        for node in NODES:
            home = stage.root / node
            stage.client.post(
                "/v1/nodes", {"name": node, "local": True, "local_home": str(home), "by": "demo"}
            )
            report.command(f"pancode node add {node} --local --local-home {home}")
        report.command("pancode fleet up")
        for event in stage.client.events("POST", "/v1/fleet/up", {"by": "demo", "nodes": list(NODES)}):
            if event.kind == "progress" and event.data["state"] in ("done", "failed"):
                line = event.data
                mark = "ok" if line["state"] == "done" else "FAILED"
                lasted = f"  {line['seconds']:.1f} s" if line["seconds"] >= 0.1 else ""
                report.tell(f"  {line['node']:<6} {line['step']:<9} {mark}{lasted}  {line['text']}")
        self.command("node ls")
        states = self._read_states()
        if not report.check("both nodes are online", states == dict.fromkeys(NODES, "online"), states):
            raise UnavailableError("the demo needs two nodes", fix="pancode fleet up")
        keys = [stage.client.get(path_of("nodes", node))["tag"] for node in NODES]
        report.check(
            "each node signs with its own key, which was created there", len({*keys}) == len(NODES), keys
        )

    def _read_states(self) -> dict[str, str]:
        return {node["name"]: node["state"] for node in self.stage.client.get("/v1/fleet")["nodes"]}

    def do_work(self) -> None:
        """Show a change that passes its gate, and a program that may run on any node."""
        report = self.report
        report.act("Work: a change with a gate, and a program on any free node")
        done = self.scripted("honest", HONEST, "add shout() ...")
        changed = sorted(self.show("honest")["files_changed"]) == ["greet.py", "test_greet.py"]
        clean = self.stage.git("status", "--porcelain") == ""
        report.check("done: the gate passed on the node that made the change", done.code == 0, done.both)
        report.check("the change came back as a commit; your files are unchanged", changed and clean)
        words = "--runtime shell --workspace none -- uname -sr"
        done = self.dispatch("shell", words, *words.split())
        report.check("the program ran on a free node", done.code == 0 and "Linux" in done.out, done.both)

    def lose_an_agent(self) -> None:
        """Kill a node agent with kill -9 during a run, while the other node continues to work."""
        stage, report = self.stage, self.report
        report.act(f"Failure: the node agent of {DOOMED} is killed during a run")
        words = f"--detach --runtime scripted --node {DOOMED}"
        shown = f"{words} 'write the change log, slowly'"
        self.dispatch("long", shown, *words.split(), "--budget", "0.50", LONG)
        if not stage.until(lambda: self._stored_ticks() != [], PATIENCE_S):
            raise UnavailableError("the long run did not start", why=self.show("long")["reason"])
        pid = stage.agent_pid(DOOMED)
        programs = [p for p, words in stage.processes(stage.root / DOOMED).items() if _AGENT in words]
        os.kill(pid, signal.SIGKILL)
        gone = stage.until(lambda: pid not in stage.processes(), PATIENCE_S)
        report.command(f"kill -9 {pid}   # the node agent of {DOOMED}, during the run")
        report.check(f"the node agent of {DOOMED} is dead", gone, f"pid {pid}")
        alive = bool(programs) and programs[0] in stage.processes()
        report.check(f"the run continues without the agent (pid {programs[0] if programs else 0})", alive)
        # as soon as the node is suspect, the coordinator starts the agent again within some seconds
        quiet = stage.until(lambda: self._read_states()[DOOMED] in ("suspect", "unreachable"), PATIENCE_S)
        text = f"the coordinator reports that {DOOMED}'s state is unknown: suspect"
        report.check(text, quiet, self._read_states()[DOOMED])
        # work on the other node continues, and a false claim of success is detected
        text = f"Meanwhile {CALM} continues, with an agent that breaks a test but says that all tests pass:"
        self.report.tell(text)
        done = self.scripted("liar", LIAR, "translate ...")
        run = self.show("liar")
        caught = "All tests pass" in run["answer"] and run["outcome"] == "verify_failed" and done.code == 11
        why = f"{done.code} {done.both}"
        self.report.check("the false claim was detected: verify_failed, exit code 11", caught, why)
        self._check_survival(programs[0] if programs else 0)
        self._recover()

    def _stored_ticks(self) -> list[str]:
        """Return the ticks in the coordinator's log of the run."""
        part = self.stage.client.log(self.runs["long"], "out", "", 0)
        return re.findall(r'"tick (\d+)"', part.data.decode("utf-8", "replace"))

    def _check_survival(self, program: int) -> None:
        """Let the run end under its shim, and check that it is neither lost nor retried."""
        stage, report = self.stage, self.report
        (stage.node_home(DOOMED) / "work" / f"{self.runs['long']}.1.1" / "tree" / GO).touch()
        ended = stage.until(lambda: program not in stage.processes(), PATIENCE_S)
        run = self.show("long")
        report.tell(f"{run['run']}: {run['state']}, {', '.join(run['notes']) or run['reason']}")
        text = "the program finished; nothing was declared lost or retried"
        kept = run["outcome"] in (None, "done") and len(run["attempts"]) == 1
        report.check(text, ended and kept, run)

    def _recover(self) -> None:
        """Check that the restarted agent delivers its result exactly once."""
        stage, report = self.stage, self.report
        done = stage.pancode("fleet", "up", DOOMED)
        report.command(f"pancode fleet up {DOOMED}   # with systemd user services, the restart is automatic")
        report.check("the node agent runs again", done.code == 0, done.both)
        stage.until(lambda: self.show("long")["outcome"] is not None, PATIENCE_S)
        run = self.show("long")
        changed = ", ".join(run["files_changed"]) or "nothing"
        report.tell(f"{run['run']}: {run['outcome'] or run['state']}, changed {changed}")
        rows = [r for r in stage.client.get("/v1/receipts", limit=20)["receipts"] if r["run"] == run["run"]]
        once = run["outcome"] == "done" and len(rows) == 1 and len(run["attempts"]) == 1
        report.check("the finished work was delivered: one attempt, one receipt", once, run)
        ticks = self._stored_ticks()
        whole = ticks == [str(tick) for tick in range(1, TICKS + 1)]
        report.check(
            "the run's log is complete: nothing missing or repeated, despite the outage", whole, ticks
        )

    def prove(self) -> None:
        """Check that every receipt verifies, and that an altered one does not."""
        stage, report = self.stage, self.report
        report.act("Proof: signed by the node that did the work, countersigned by the coordinator")
        self.command("receipt verify last", "receipt", "verify", self.runs["liar"])
        verdicts = {
            n: stage.client.get(path_of("runs", r, "verify"))["verdict"] for n, r in self.runs.items()
        }
        report.check("all four receipts: PASS", list(verdicts.values()) == ["PASS"] * 4, verdicts)
        export = json.loads(stage.pancode("receipt", "export", self.runs["liar"]).out)
        keys, forged = stage.root / "keys.json", stage.root / "forged.json"
        keys.write_text(json.dumps(export))
        report.tell("Now the failed run's receipt is altered to claim success:")
        forged.write_text(json.dumps(forge_outcome(export)))
        words = ("receipt", "verify", str(forged), "--keys", str(keys))
        done = self.command("receipt verify forged.json --keys keys.json", *words)
        report.check(
            "the forgery is detected: TAMPERED, exit code 8", done.code == 8 and "TAMPERED" in done.out
        )

    def land(self) -> None:
        """Land the changes of both nodes in the project."""
        stage, report = self.stage, self.report
        report.act("Landing: the changes of both nodes, merged into your files")
        done = self.command(f"land {self.runs['honest']}")
        gate = (self.show("honest")["landing"] or {}).get("gate") or {}
        report.check(f"landed; {what_tested(gate)}", done.code == 0 and gate.get("ok") is True, done.both)
        done = self.command(f"land {self.runs['long']}")
        report.check("the other node's change also landed", done.code == 0, done.both)
        source = (stage.project / "greet.py").read_text()
        there = (stage.project / "CHANGES.md").exists() and "def shout" in source
        tests = stage.run([sys.executable, "-m", "unittest", "-q"])
        passed = tests.code == 0 and "Ran 2 tests" in tests.err
        report.check("both changes are in your files, and both tests pass", there and passed, tests)

    def balance(self) -> None:
        """Check that the signed, booked and displayed totals are equal."""
        stage, report = self.stage, self.report
        report.act("Money: the totals match")
        self.command("budget show")
        runs = [self.show(name) for name in self.runs]
        signed = sum((Decimal(run["usage"]["cost_usd"] or 0) for run in runs), Decimal(0))
        day = stage.client.get("/v1/budget")["scopes"][0]
        same = Decimal(day["spent_usd"]) == signed and Decimal(day["held_usd"]) == 0
        report.check(
            f"four receipts total ${signed}; the budget shows ${signed}, with nothing reserved", same, day
        )
        wrong, count, scopes = audit_balances(stage)
        text = f"the ledger's {count} entries add up to the balances of all {scopes} scopes"
        report.check(text, not wrong, wrong)

    def play(self) -> bool:
        """Run the acts; return whether they finished. An error counts as a failed check."""
        acts = (self.bring_up, self.do_work, self.lose_an_agent, self.prove, self.land, self.balance)
        try:
            for act in acts:
                act()
        except (PancodeError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            why = error.why if isinstance(error, PancodeError) else ""
            self.report.check("the demo ran to completion", False, f"{error} {why}".strip())
            return False
        return True

    def take_away(self, whole: bool) -> None:
        """Remove everything, ignoring SIGINT meanwhile; the terminal may already be closed."""
        stage, report = self.stage, self.report
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with suppress(OSError):
                report.act("The end: everything is removed" if whole else "Removing everything")
            problems = stage.take_down() if whole else []
            polite = not problems and not stage.processes()
            problems += stage.sweep()
            with suppress(OSError):
                if whole:
                    text = "each node was removed as by pancode node rm, and nothing remains on it"
                    report.check(text, polite, "; ".join(problems))
                report.check("no process of the demo is left", not stage.processes(), stage.processes())
                report.check(f"{stage.root} is gone", not stage.root.exists())
        finally:
            signal.signal(signal.SIGINT, before)


def forge_outcome(export: dict[str, Any]) -> dict[str, Any]:
    """Return the export with another outcome in its signed content."""
    envelope = dict(export["receipt"])
    altered = base64.b64decode(envelope["payload"]).replace(b'"verify_failed"', b'"done"')
    return {**export, "receipt": {**envelope, "payload": base64.b64encode(altered).decode()}}


def what_tested(gate: dict[str, Any]) -> str:
    """Describe how the merged files were tested, from the landing's record."""
    if gate.get("run"):
        return f"its gate ran again, on the merged files, as {gate['run']}"
    return "the gate was not repeated: your files were those that the node had tested and signed"


def audit_balances(stage: Stage) -> tuple[list[str], int, int]:
    """Return the scopes whose balance is not the sum of their entries, with counts of entries and scopes."""
    ledger = SqlLedger(stage.home / "ledger.db", SCHEMA)
    try:
        with ledger.transaction() as tx:
            entries, balances = tx.find(BookEntry), tx.find(Balance)
    finally:
        ledger.close()
    sums = [books.sum_entries(kept.scope, [e for e in entries if e.scope == kept.scope]) for kept in balances]
    wrong = [kept.scope for kept, total in zip(balances, sums, strict=True) if total != kept]
    return wrong, len(entries), len(balances)


def play(environ: Mapping[str, str], *, keep: bool, write: Write) -> dict[str, Any]:
    """Run the demo; return `{"ok", "checks", "seconds", "kept"}`; `kept`: the folder left behind, or None. On
    KeyboardInterrupt or a closed terminal, everything is removed first."""
    clock = SystemClock()
    report, stage = DemoReport(write, clock), new_stage(environ, clock)
    demo, whole = Demo(stage, report), False
    left = False
    with _ended_by_signals():
        _clear(environ, report, clock, kept=False)
        try:
            report.say(OPENING.format(root=stage.root))
            stage.furnish(FILES, keep)
            whole = demo.play()
            left = keep
        finally:
            if not left:
                demo.take_away(whole)
    if left:
        report.say(f"\nThe fleet is still running. Explore it (the project is in {stage.project}):")
        report.tell(f"export PANCODE_HOME={stage.home}")
        report.tell("pancode node ls; pancode runs; pancode why last; pancode audit")
        report.say("To remove it, with its folder:")
        report.tell("pancode fleet demo --remove")
    passed, count = sum(check.ok for check in report.checks), len(report.checks)
    words = "all of them" if passed == count else "NOT all"
    report.say(f"\n{passed} of {count} checks held, {words}; {report.seconds:.0f} s")
    if report.good and not left:
        report.say(NEXT)
    checks = [asdict(check) for check in report.checks]
    kept = str(stage.root) if left else None
    return {"ok": report.good, "checks": checks, "seconds": round(report.seconds, 1), "kept": kept}


def remove(environ: Mapping[str, str], *, write: Write) -> int:
    """Remove every demo of this user that is not running; return their number."""
    clock = SystemClock()
    return _clear(environ, DemoReport(write, clock), clock, kept=True)


def _clear(environ: Mapping[str, str], report: DemoReport, clock: Clock, *, kept: bool) -> int:
    """Remove what killed demos left behind; `kept`: also demos kept with --keep. Return their number."""
    found = list_unused(environ, clock, kept=kept)
    for stage in found:
        stage.take_down()
        stage.sweep()
        report.say(f"removed: {stage.root}, left by an earlier demo")
    return len(found)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Make SIGTERM and SIGHUP end the demo like Ctrl-C: everything is removed."""

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            with suppress(TypeError):
                signal.signal(number, handler)
