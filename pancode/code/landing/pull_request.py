"""The text of a pull request: who has made the change, how it was tested, which receipt proves it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pancode.code.landing.commits import message_of
from pancode.code.landing.forge import ForgeKind
from pancode.core.records import Run
from pancode.life.verified import verified
from pancode.plain import safe

_WORD, _ANSWER, _GATES = 200, 4_000, 50
_CUT = "... (cut)"


@dataclass(frozen=True, slots=True)
class PullRequest:
    """What is asked of a forge: `branch`, which is pushed already, into its repository's default branch."""

    branch: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class OpenedPull:
    """One that is open. `fresh`: it was not before. `number` counts within its repository."""

    url: str
    number: int
    base: str
    fresh: bool


@dataclass(frozen=True, slots=True)
class PullAsked:
    """A person wants one. `remote`: its name in the repository; `kind` None: as the settings say."""

    by: str
    remote: str
    branch: str
    message: str = ""
    kind: ForgeKind | None = None
    closes: str = ""
    """The issue that its merge ends, as its tracker reads it; empty: none."""


def pull_request(run: Run, asked: PullAsked, cost: str) -> PullRequest:
    """`cost`: in words. The title is the first line of the commit's message, or of the task without one."""
    lines = safe_lines(message_of(run, asked.message))
    ends = f"Closes {asked.closes}\n\n" if asked.closes else ""
    return PullRequest(asked.branch, lines[0] if lines else run.id, ends + _text(run, cost))


def safe_lines(text: str) -> list[str]:
    """The lines that say something, each short and without control characters."""
    return [cut(safe(line).strip(), _WORD) for line in text.splitlines() if line.strip()]


def cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - len(_CUT)] + _CUT


def code(text: str) -> str:
    """One line as code, so that no forge reads a mention, a command or markup in it."""
    return f"`{cut(safe(text), _WORD).replace('`', chr(39)).strip() or '-'}`"


def quoted(text: str) -> str:
    """Several lines as code: the fence is longer than any in the text."""
    kept = "\n".join(safe(line) for line in cut(text.strip(), _ANSWER).splitlines())
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", kept)), default=0))
    return f"{fence}text\n{kept}\n{fence}"


def _text(run: Run, cost: str) -> str:
    result: dict[str, Any] = run.result
    seen = verified(run)
    model = f", model {code(run.model)}" if run.model else ""
    lines = [
        f"This change was made by PanCode's run {code(run.id)}.",
        "",
        f"- Agent: {code(run.agent)}, runtime {code(run.runtime)}{model}",
        f"- Outcome: {code(str(run.outcome))}, cost {code(cost)}",
        *_gates(run),
        *([f"- Tested: {code(seen.why)}"] if seen is not None else []),
        f"- Receipt: {code(str(result.get('receipt') or 'none'))}",
        "",
        *_proof(run.id, has=bool(result.get("receipt"))),
    ]
    answer = str(result.get("answer") or "").strip()
    quote = ["", "The agent's own words, which nobody has checked:", "", quoted(answer)] if answer else []
    return "\n".join([*lines, *quote]) + "\n"


def _state(gate: Mapping[str, Any]) -> str:
    if gate.get("passed"):
        return "passed"
    return f"failed, exit {code(str(gate.get('exit_code')))}" if gate.get("judged", True) else "not judged"


def _gates(run: Run) -> list[str]:
    rows = run.result.get("gates")
    gates = [one for one in rows if isinstance(one, dict)] if isinstance(rows, list | tuple) else []
    if not gates:
        return ["- Gates: none, nothing has tested it"]
    lines = [f"- Gate {code(str(one.get('name')))}: " + _state(one) for one in gates[:_GATES]]
    more = len(gates) - _GATES
    return [*lines, f"- and {more} more gates"] if more > 0 else lines


def _proof(run: str, *, has: bool) -> list[str]:
    if not has:
        return []
    return [
        "The receipt is signed by the machine that did the work. The owner of the fleet exports it, and "
        "anybody with the fleet's public keys, got from that owner, verifies it:",
        "",
        f"    pancode receipt export {run} > receipt.json",
        "    pancode receipt verify receipt.json --keys keys.json",
    ]
