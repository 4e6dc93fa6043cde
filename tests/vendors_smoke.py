"""`make vendors-smoke`: one real call to each vendor whose key is set, and to each local model server found.

Keys are read from this shell and go to a fleet of one node that is made for this, in a folder
of its own, and taken away afterwards. Each call may cost at most 5 cents. MODELS="openai/NAME ..." names the
models; without it those of the table are asked.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

VENDORS = {
    "anthropic": (("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"), "anthropic/claude-haiku-4-5"),
    "openai": (("OPENAI_API_KEY",), "openai/gpt-5-mini"),
    "google": (("GEMINI_API_KEY",), "google/gemini-2.5-flash"),
    "openrouter": (("OPENROUTER_API_KEY",), "openrouter/openai/gpt-5-mini"),
}
"""By the name before the slash of a model: the variables of its key, and a small model."""
ADDRESSES = ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL")
TASK = "Answer with the one word: ready"
MOST_USD, WAIT_S = "0.05", 300


class SmokeFleet:
    """A fleet of this machine alone."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="pancode-smoke-"))
        self.environ = {**environ, "HOME": str(self.root), "PANCODE_HOME": str(self.root / ".pancode")}

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "pancode", *words]
        return subprocess.run(
            argv, env=self.environ, cwd=self.root, input=stdin, capture_output=True, text=True, timeout=WAIT_S
        )

    def ask(self, *words: str) -> Any:
        done = self.run(*words, "--json")
        if done.returncode:
            raise SystemExit(f"pancode {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def up(self) -> str:
        """The name of its machine."""
        done = self.run("fleet", "up")
        if done.returncode:
            raise SystemExit(f"the fleet does not come up:\n{done.stdout}{done.stderr}")
        return str(self.ask("node", "ls")["nodes"][0]["name"])

    def down(self) -> None:
        for node in self.ask("node", "ls")["nodes"]:
            self.run("node", "rm", node["name"], "--yes")
        self.run("fleet", "down", "--now")
        shutil.rmtree(self.root, ignore_errors=True)


def asked(environ: Mapping[str, str], served: list[str]) -> Iterator[tuple[str, str]]:
    """Each model, and why it is left out; empty: it is not."""
    named = environ.get("MODELS", "").split()
    for vendor, (keys, model) in VENDORS.items():
        models = [one for one in named if one.startswith(f"{vendor}/")] or ([] if named else [model])
        missing = "" if any(environ.get(key) for key in keys) else f"{keys[0]} is not set"
        yield from ((one, missing) for one in models)
    yield from ((one, "") for one in served)


def call(fleet: SmokeFleet, model: str) -> str:
    """What is wrong; empty: the model has answered."""
    words = ("dispatch", "--runtime", "native", "--workspace", "none", "--model", model)
    done = fleet.run(*words, "--budget", MOST_USD, "--json", TASK)
    if done.returncode:
        return (done.stderr or done.stdout).strip().replace("\n", " ")[:600]
    run = json.loads(done.stdout)
    answer = str(run.get("answer") or "").strip()
    return "" if answer else f"run {run.get('run')} has no answer"


def main(environ: Mapping[str, str]) -> int:
    fleet, bad, good = SmokeFleet(environ), 0, 0
    try:
        node = fleet.up()
        keys = [key for names, _ in VENDORS.values() for key in names]
        for name in (*keys, *ADDRESSES):
            if environ.get(name):
                fleet.run("node", "secret", node, name, stdin=environ[name])
        served = [f"{one['node']}/{one['endpoint']}/{one['model']}" for one in fleet.ask("models")["models"]]
        for model, left_out in asked(environ, served):
            wrong = left_out or call(fleet, model)
            bad, good = bad + bool(wrong and not left_out), good + (not wrong)
            state = "left out" if left_out else "FAILED" if wrong else "ok"
            print(f"{state:9} {model}  {wrong}".rstrip(), flush=True)
    finally:
        fleet.down()
    print(f"{good} answered, {bad} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
