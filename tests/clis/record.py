"""Records what a worker of ours writes, as golden files: `python -m tests.clis.record native [CASE ...]`.

The real program, started as the node starts it, against the scripted model server. What differs from run to
run is replaced by a word in capitals, so that a new record differs only where the stream does.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node_agent.machine.programs import LIBRARIES, PACKAGE
from node_agent.wire.policy import Safety
from tests.clis.hands import HANDS
from tests.clis.install import CACHE, NATIVE, VERSIONS, ensure
from tests.clis.launched import EVERY, Bench, Cli, await_file
from tests.crowd import crowded
from tests.fakemodel import FakeModel, preset

GOLDEN = Path(__file__).parents[1] / "contract" / "golden"
OURS = ("claude-sdk", "native", "openai-agents")
WAIT_S = 60.0
USAGE = {"input": 1200, "output": 34, "cache_read": 500}
DONE = {"text": "Done: the work is finished.", "usage": USAGE}
CLIS = {cli.runtime: cli for cli in EVERY}


@dataclass(frozen=True)
class Scene:
    """One case. `ready`: a script of the model's; else `hands` says what it does with this program's tools.

    `ended`: the signal that ends it, once its model is asked, or its command has begun where it runs one.
    """

    safety: Safety
    ready: str = ""
    hands: tuple[tuple[str, ...], ...] = ()
    read_only: bool = False
    ended: signal.Signals | None = None

    def script(self, runtime: str) -> dict[str, Any]:
        if self.ready:
            return preset(self.ready)
        turns = [getattr(HANDS[runtime], name)(*words) | {"usage": USAGE} for name, *words in self.hands]
        return {"turns": [*turns, DONE]}


SUGGEST, EDIT, FULL = Safety.SUGGEST, Safety.AUTO_EDIT, Safety.FULL_AUTO
FORBIDDEN = ("shell", "echo x > forbidden-shell.txt")
SCENES: Mapping[str, Scene] = {
    "ok-text": Scene(SUGGEST, "text"),
    "ok-edit": Scene(EDIT, "edit"),
    "ok-shell": Scene(FULL, hands=(("shell", "echo from-shell; exit 3"),)),
    "tool-denied": Scene(EDIT, hands=(("write", "${cwd}/forbidden.txt", "x\n"), FORBIDDEN), read_only=True),
    "shell-denied": Scene(EDIT, hands=(FORBIDDEN,)),
    "http-401": Scene(SUGGEST, "401"),
    "http-429": Scene(SUGGEST, "429"),
    "http-500": Scene(SUGGEST, "500"),
    "bad-stream": Scene(SUGGEST, "bad-json"),
    "cut-stream": Scene(SUGGEST, "cut"),
    "refusal": Scene(SUGGEST, "refuse"),
    "stalled": Scene(SUGGEST, "stall", ended=signal.SIGTERM),
    "sigint": Scene(SUGGEST, "stall", ended=signal.SIGINT),
    "sigterm-shell": Scene(FULL, hands=(("shell", "echo > begun; exec sleep 300"),), ended=signal.SIGTERM),
}


def path_of(runtime: str) -> str:
    return os.defpath if runtime == NATIVE else f"{ensure(runtime)}{os.pathsep}{os.defpath}"


def record(cli: Cli, name: str, root: Path, into: Path) -> None:
    """One case, in a new folder `root`: four files in `into`."""
    scene = SCENES[name]
    script = scene.script(cli.runtime)
    with FakeModel({"cwd": str(root / "work"), **script}) as model:
        bench = Bench(cli, root, path_of(cli.runtime), model.url)
        task = "Please change notes.txt: replace beta by BETA."
        request = bench.request(task, scene.safety, scene.read_only)
        with bench.started(request) as process:
            if scene.ended is not None:
                _await(scene, bench, model)
                os.killpg(process.pid, scene.ended)
            status = process.wait(WAIT_S * crowded())
        made, asked = bench.launch(request), [one for one in model.requests if "wire" in one]
    observed = {"model_calls": len(asked), "notes": (bench.work / "notes.txt").read_text()}
    told = {
        "runtime": cli.runtime, "case": name, "version": VERSIONS[cli.runtime],
        "safety": scene.safety.value, "readonly": scene.read_only,
        "argv": list(made.argv), "env": dict(made.env), "stdin": task,
        "script": script, "observed": observed,
    }  # fmt: skip
    files = {
        "stdout": (bench.home / "out").read_text(),
        "stderr": (bench.home / "err").read_text(),
        "exit": f"{status}\n",
        "cmd.json": json.dumps(told, indent=1) + "\n",
    }
    mask = Mask(root, model.port)
    into.mkdir(parents=True, exist_ok=True)
    for kind, text in files.items():
        (into / f"{name}.{kind}").write_text(mask(text))


def _await(scene: Scene, bench: Bench, model: FakeModel) -> None:
    if scene.hands:
        await_file(bench.work / "begun")
    else:
        assert model.wait_until_asked(WAIT_S)


class Mask:
    """Takes out of a text what is this machine's or this run's."""

    def __init__(self, root: Path, port: int) -> None:
        self._words = {
            str(root / "work"): "$WORK",
            str(root / "home"): "$HOME",
            str(PACKAGE): "$PACKAGE",
            str(LIBRARIES): "$LIBRARIES",
            sys.executable: "$PYTHON",
            f"127.0.0.1:{port}": "127.0.0.1:PORT",
        }

    def __call__(self, text: str) -> str:
        for old, new in self._words.items():
            text = text.replace(old, new)
        text = re.sub(r'("session": ?)"[^"]+"', r'\1"SESSION"', text)
        for number, call in enumerate(dict.fromkeys(re.findall(r'"(call_[0-9a-f]+)"', text)), 1):
            text = text.replace(call, f"call_{number}")
        text = re.sub(r"\b(msg|req)_[0-9a-f]{12,}", r"\1_NUMBER", text)
        return re.sub(rf"{re.escape(str(CACHE))}/[^:\"]*", "$PROGRAM", text)


def main(argv: list[str]) -> int:
    if not argv or argv[0] not in OURS or any(name not in SCENES for name in argv[1:]):
        print(f"one of {', '.join(OURS)}, and cases of {', '.join(SCENES)}", file=sys.stderr)
        return 2
    for name in argv[1:] or SCENES:
        with tempfile.TemporaryDirectory() as folder:
            record(CLIS[argv[0]], name, Path(folder).resolve() / "b", GOLDEN / argv[0])
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
