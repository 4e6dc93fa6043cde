"""The acts of `pancode demo`: up, work, a kill, proof, landing, books. Each checks what it shows."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pancode.client import path_of
from pancode.core import books
from pancode.core.records import Balance, BookEntry
from pancode.errors import UnavailableError
from pancode.offline.demo import demo_work as work
from pancode.offline.demo.demo_report import DemoReport
from pancode.offline.demo.demo_stage import FACTOR, NODES, CommandDone, Stage
from pancode.store.ledger import SqlLedger

CALM, DOOMED = NODES
_AGENT = "scripted/program.py"


@dataclass(slots=True)
class Play:
    """A stage, the story that is told of it, and the runs by what they were for."""

    stage: Stage
    story: DemoReport
    runs: dict[str, str] = field(default_factory=dict)

    def show(self, name: str) -> dict[str, Any]:
        """Everything about one run."""
        shown: dict[str, Any] = self.stage.client.get(path_of("runs", self.runs[name]))
        return shown

    def command(self, shown: str, *words: str) -> CommandDone:
        """A command of the product, run and shown with what it printed."""
        done = self.stage.pancode(*words)
        self.story.command(f"pancode {shown}", done.both)
        return done

    def dispatch(self, name: str, shown: str, *words: str) -> CommandDone:
        """Dispatch, and keep the run's id under that name."""
        done = self.command(f"dispatch {shown}", "dispatch", *words)
        newest = self.stage.client.get("/v1/runs", limit=1)["runs"]
        if not newest or newest[0]["run"] in self.runs.values():
            raise UnavailableError("the dispatch made no run", why=done.err.strip()[-300:])
        self.runs[name] = newest[0]["run"]
        return done


def bring_up(play: Play) -> None:
    """The coordinator and two nodes, over SSH."""
    stage, story = play.stage, play.story
    story.act("Two machines join a fleet, each over SSH")
    started = stage.pancode("serve", "--background")
    if started.code != 0:
        raise UnavailableError("the coordinator did not start", why=started.err.strip()[-400:])
    for node in NODES:
        spec = {"name": node, "local": True, "local_home": str(stage.root / node), "by": "demo"}
        stage.client.post("/v1/nodes", spec)
        story.command(f"pancode node add {node} --local --local-home {stage.root / node}")
    story.command("pancode fleet up")
    for event in stage.client.events("POST", "/v1/fleet/up", {"by": "demo", "nodes": list(NODES)}):
        if event.kind == "progress" and event.data["state"] in ("done", "failed"):
            _step(story, event.data)
    play.command("fleet status", "fleet", "status")
    nodes = {node["name"]: node["state"] for node in stage.client.get("/v1/fleet")["nodes"]}
    if not story.check("both nodes are online", nodes == dict.fromkeys(NODES, "online"), nodes):
        raise UnavailableError("without two nodes there is nothing to show", fix="pancode fleet up")
    keys = [stage.client.get(path_of("nodes", node))["tag"] for node in NODES]
    story.check("each signs with a key of its own, made there", len({*keys}) == len(NODES), keys)


def _step(story: DemoReport, line: dict[str, Any]) -> None:
    mark = "ok" if line["state"] == "done" else "FAILED"
    lasted = f"  {line['seconds']:.1f} s" if line["seconds"] >= 0.1 else ""
    story.tell(f"  {line['node']:<6} {line['step']:<9} {mark}{lasted}  {line['text']}")


def do_work(play: Play) -> None:
    """A change that passes its gate, and a program anywhere."""
    stage, story = play.stage, play.story
    story.act("Work: a change with a gate, and a program on whichever machine is free")
    gate = work.gate()
    words = ("--runtime", "scripted", "--node", CALM, "--budget", "0.50", "--verify", gate)
    shown = f"--runtime scripted --node {CALM} --budget 0.50 \\\n      --verify '{gate}' 'add shout() ...'"
    done = play.dispatch("honest", shown, *words, work.HONEST)
    run = play.show("honest")
    changed = sorted(run["files_changed"]) == ["greet.py", "test_greet.py"]
    story.check("done: the gate passed on the machine that made the change", done.code == 0, done.both)
    story.check("the change came back as a commit; your files are as they were", changed and _clean(stage))
    anywhere = ("--runtime", "shell", "--workspace", "none", "--", "uname", "-sr")
    done = play.dispatch("shell", "--runtime shell --workspace none -- uname -sr", *anywhere)
    story.check("a program ran where there was room", done.code == 0 and "Linux" in done.out, done.both)


def _clean(stage: Stage) -> bool:
    return stage.git("status", "--porcelain") == ""


def lose_an_agent(play: Play) -> None:
    """kill -9 of a node agent in the middle of a run; meanwhile the other node works."""
    story = play.story
    story.act(f"Trouble: the node agent of {DOOMED} is killed in the middle of a run")
    shown = f"--detach --runtime scripted --node {DOOMED} 'write the change log, slowly'"
    words = ("--detach", "--runtime", "scripted", "--node", DOOMED, "--budget", "0.50")
    play.dispatch("long", shown, *words, work.LONG)
    killed = _kill(play)
    _catch_a_liar(play)
    _survived(play, killed)
    _recover(play)


def _kill(play: Play) -> tuple[int, int]:
    """Kill the agent when the run has said something; the program's pid, and how much it had written."""
    stage, story = play.stage, play.story
    if not stage.until(lambda: _ticks(play) >= 1, 30):
        raise UnavailableError("the long run did not start", why=play.show("long")["reason"])
    pid = stage.agent_pid(DOOMED)
    programs = [p for p, words in stage.processes(stage.root / DOOMED).items() if _AGENT in words]
    os.kill(pid, signal.SIGKILL)
    gone = stage.until(lambda: pid not in stage.processes(), 5)
    story.command(f"kill -9 {pid}   # the node agent of {DOOMED}, in the middle of the run")
    story.check(f"the node agent of {DOOMED} is dead", gone, f"pid {pid}")
    return programs[0] if programs else 0, len(_written(play))


def _written(play: Play) -> bytes:
    """The run's output so far, in the journal on its machine."""
    journal = play.stage.node_home(DOOMED) / "journal" / f"{play.runs['long']}.1.1"
    return (journal / "out").read_bytes()


def _ticks(play: Play) -> int:
    """The number of ticks in the coordinator's stored log."""
    return len(_stored_ticks(play))


def _stored_ticks(play: Play) -> list[str]:
    part = play.stage.client.log(play.runs["long"], "out", "", 0)
    return re.findall(r'"tick (\d+)"', part.data.decode("utf-8", "replace"))


def _catch_a_liar(play: Play) -> None:
    """Work on the other node goes on; an agent that claims success is not believed."""
    story, gate = play.story, work.gate()
    story.tell(f"Meanwhile {CALM} goes on, with an agent that breaks a test and says that all tests pass:")
    words = ("--runtime", "scripted", "--node", CALM, "--budget", "0.50", "--verify", gate)
    shown = f"--runtime scripted --node {CALM} --budget 0.50 \\\n      --verify '{gate}' 'translate ...'"
    done = play.dispatch("liar", shown, *words, work.LIAR)
    run = play.show("liar")
    caught = "All tests pass" in run["answer"] and run["outcome"] == "verify_failed" and done.code == 11
    story.check("its claim was not believed: verify_failed, exit code 11", caught, f"{done.code} {done.both}")


def _survived(play: Play, killed: tuple[int, int]) -> None:
    """Without its agent the node is unknown, and the run goes on to its end under its shim."""
    stage, story = play.stage, play.story
    program, before = killed
    alive = program in stage.processes() and stage.until(lambda: len(_written(play)) > before, 5)
    story.check(f"the run goes on without the agent (pid {program} still writes)", alive)
    quiet = stage.until(lambda: _state(stage) == "suspect", 30)
    story.check(f"the coordinator says that it does not know: {DOOMED} is suspect", quiet, _state(stage))
    ended = stage.until(lambda: program not in stage.processes(), 60)
    run = play.show("long")
    waits = run["outcome"] is None
    story.tell(f"{run['run']}: {run['state']}, {', '.join(run['notes']) or run['reason']}")
    story.check("the program came to its end; nothing was declared lost or tried again", ended and waits, run)


def _state(stage: Stage) -> str:
    nodes = stage.client.get("/v1/fleet")["nodes"]
    return next(str(node["state"]) for node in nodes if node["name"] == DOOMED)


def _recover(play: Play) -> None:
    """The agent is started again and delivers, once."""
    stage, story = play.stage, play.story
    done = stage.pancode("fleet", "up", DOOMED)
    story.command(f"pancode fleet up {DOOMED}   # a machine with systemd user services does this by itself")
    story.check("the node agent runs again", done.code == 0, done.both)
    stage.until(lambda: play.show("long")["outcome"] is not None, 60)
    run = play.show("long")
    changed = ", ".join(run["files_changed"]) or "nothing"
    story.tell(f"{run['run']}: {run['outcome'] or run['state']}, changed {changed}")
    rows = [r for r in stage.client.get("/v1/receipts", limit=20)["receipts"] if r["run"] == run["run"]]
    once = run["outcome"] == "done" and len(rows) == 1 and len(run["attempts"]) == 1
    story.check("what it had finished was delivered: one attempt, one receipt", once, run)
    ticks = [int(tick) for tick in _stored_ticks(play)]
    whole = ticks == list(range(1, work.TICKS + 1))
    story.check("its log is whole: nothing missing, nothing twice, over the outage", whole, ticks)


def prove(play: Play) -> None:
    """Every receipt verifies; one that was altered does not."""
    stage, story = play.stage, play.story
    story.act("Proof: signed by the node that did the work, countersigned by the coordinator")
    play.command("receipt verify last", "receipt", "verify", play.runs["liar"])
    verdicts = {n: stage.client.get(path_of("runs", r, "verify"))["verdict"] for n, r in play.runs.items()}
    passed = list(verdicts.values()) == ["PASS"] * len(play.runs) and len(verdicts) == 4
    story.check("all four receipts: PASS", passed, verdicts)
    export = json.loads(stage.pancode("receipt", "export", play.runs["liar"]).out)
    (stage.root / "keys.json").write_text(json.dumps(export))
    story.tell("Now the failed run's receipt is altered to say that it is done:")
    (stage.root / "forged.json").write_text(json.dumps(forge(export)))
    words = ("receipt", "verify", str(stage.root / "forged.json"), "--keys", str(stage.root / "keys.json"))
    done = play.command("receipt verify forged.json --keys keys.json", *words)
    story.check("the forgery is told: TAMPERED, exit code 8", done.code == 8 and "TAMPERED" in done.out)


def forge(export: dict[str, Any]) -> dict[str, Any]:
    """The same export, with another outcome in its signed content."""
    envelope = dict(export["receipt"])
    content = base64.b64decode(envelope["payload"])
    altered = content.replace(b'"verify_failed"', b'"done"')
    envelope["payload"] = base64.b64encode(altered).decode()
    return {**export, "receipt": envelope}


def land(play: Play) -> None:
    """The changes of two machines come together in the project."""
    stage, story = play.stage, play.story
    story.act("Landing: the changes of both machines, merged into your files")
    done = play.command(f"land {play.runs['honest']}", "land", play.runs["honest"])
    gate = (play.show("honest")["landing"] or {}).get("gate") or {}
    story.check(f"landed; {what_tested(gate)}", done.code == 0 and gate.get("ok") is True, done.both)
    done = play.command(f"land {play.runs['long']}", "land", play.runs["long"])
    story.check("the other machine's change landed beside it", done.code == 0, done.both)
    source = (stage.project / "greet.py").read_text()
    there = (stage.project / "CHANGES.md").exists() and "def shout" in source
    tests = stage.run([sys.executable, "-m", "unittest", "-q"])
    counted = re.search(r"Ran 2 tests", tests.err) is not None
    story.check("both changes are there, and both tests pass", there and tests.code == 0 and counted, tests)


def what_tested(gate: dict[str, Any]) -> str:
    """What tested the merged files, as the landing has written it down."""
    if gate.get("run"):
        return f"its gate ran again, on the merged files, as {gate['run']}"
    return "no gate ran again: your files were still those that its machine had tested and signed"


def balance(play: Play) -> None:
    """Checks that the signed, the booked and the shown sums are equal."""
    stage, story = play.stage, play.story
    story.act("Money: the books balance")
    play.command("budget show", "budget", "show")
    runs = [play.show(name) for name in play.runs]
    signed = sum((Decimal(run["usage"]["cost_usd"] or 0) for run in runs), Decimal(0))
    day = stage.client.get("/v1/budget")["scopes"][0]
    same = Decimal(day["spent_usd"]) == signed and Decimal(day["held_usd"]) == 0
    story.check(f"four receipts say ${signed}; the budget says ${signed}, nothing held", same, day)
    wrong, count, scopes = audit(stage)
    story.check(
        f"the ledger's {count} entries add up to the balance of each of {scopes} scopes", not wrong, wrong
    )


def audit(stage: Stage) -> tuple[list[str], int, int]:
    """Scopes whose balance is not the sum of its entries; how many entries and scopes there are."""
    ledger = SqlLedger(stage.home / "ledger.db")
    try:
        with ledger.transaction() as tx:
            entries, balances = tx.find(BookEntry), tx.find(Balance)
    finally:
        ledger.close()
    wrong = [
        kept.scope
        for kept in balances
        if books.total(kept.scope, [e for e in entries if e.scope == kept.scope]) != kept
    ]
    return wrong, len(entries), len(balances)


ACTS: tuple[Callable[[Play], None], ...] = (bring_up, do_work, lose_an_agent, prove, land, balance)

_FASTER = round(1 / FACTOR)
OPENING = f"""\
A fleet on this machine: no root, no key, no model, no network. All of it is in {{root}}.
The coordinator, its Redis, the node agents, SSH, git and the signatures are the real ones. The coding
agent is a scripted double, so that the outcome is known. Waits are {_FASTER} times shorter than shipped."""
