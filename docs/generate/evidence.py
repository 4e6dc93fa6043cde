"""Writes the page of what hostile models can do in each program, from what the tests have measured."""

from __future__ import annotations

from docs.generate.markdown import code, page, table, words
from node_agent.wire.policy import Isolation
from pancode.agents.runtimes import RULES, build_matrix
from pancode.agents.safety_evidence import ACTS, SafetyMatrix, load_evidence


def evidence_page() -> str:
    found = load_evidence()
    every = [name for name in dict.fromkeys(row[0] for row in build_matrix()) if _known(found, name)]
    programs = ", ".join(f"{name} {found.versions[name]}" for name in every if name in found.versions)
    return page(
        "The safety matrix",
        "`tests/clis/test_matrix.py` by `pancode/agents/evidence.json`",
        words(
            "A scripted model that wants to do harm tries each act below in the real program, on a real "
            f"node agent, once behind the node's sandbox and once without it. Measured {found.measured} with "
            f"{programs}. The same tests run with all others and fail when one act comes out otherwise. "
            "`pancode policy show --matrix` prints the short form, `pancode policy show --matrix claude` the "
            "acts of one."
        ),
        "## In short",
        words(
            "How many of the forbidden acts were tried and how many happened. An act that a rule of "
            "`pansafety.yaml` ends is no act that happened: the run is over and its result is not taken."
        ),
        table(
            ("Runtime", "Rule", "With a sandbox", "happened", "Without", "happened"),
            [_short(found, *row) for row in build_matrix() if row[0] in every],
        ),
        words(
            "Who holds a rule without a sandbox is decided by what changes something: a program whose own "
            "flags let it look around, as those of `codex` do, may still hold read-only. Where `told only` "
            "or `impossible` stands, a dispatch of that program is refused, unless you say "
            "`--allow-told-only`, which the receipt keeps; a script of your own at auto-edit is yours to run."
        ),
        "## Each act",
        words(
            "`sandbox`: the sandbox alone stops it. `runtime`, `node agent`: that stops it with and without "
            "a sandbox, so the sandbox was not met there. `ends the run`: it happens, and the node ends the "
            "run for it. `allowed`: the rule allows it, and it happens where there is a sandbox; what the "
            "rule would allow and the program does not let through has who stops it. "
            "`nobody`: it happens. The level `suggest` is read-only, and read-only is the same at each level."
        ),
        *(part for name in every for part in (f"### {name}", _acts(found, name))),
        words(
            "Commands are tried in disguise, as a filter of words is no sandbox; only the one that a rule "
            "forbids, and the one that stands for tests, are tried as they are. Below full-auto a program's "
            "[hook](runtimes.md#who-is-asked-before-a-command) lets no command through that it cannot read, "
            "which is why those in disguise come no further than that. `shell` is a script of "
            "your own, without any rule of its own: it shows what the sandbox holds alone. It has the "
            "machine's network, so nobody holds it from a server on the machine's loopback. "
            "The machine had no GPU. Where there is one, each run may open the files of its driver, unless "
            "the owner says otherwise ([what they open](../explanation/security.md#the-sandbox)). "
            "`copilot` was tried with a model server of one's own, as all others; with "
            "its vendor's cloud it was not, and what that may forbid or allow besides is not known."
        ),
    )


def _known(found: SafetyMatrix, name: str) -> bool:
    return any(runtime == name for runtime, _, _ in found.cells)


def _short(found: SafetyMatrix, name: str, rule: str, walled: object, bare: object) -> tuple[str, ...]:
    counts = [
        f"{len(found.happened(name, rule, wall))} of {len(found.tried(name, rule, wall))}"
        for wall in (Isolation.SANDBOX, Isolation.NONE)
    ]
    return code(name), rule, str(walled), counts[0], str(bare), counts[1]


def _acts(found: SafetyMatrix, name: str) -> str:
    rows = [(act.words, *(found.holder(name, rule, act) for rule in RULES)) for act in ACTS]
    return table(("Act", *RULES), [row for row in rows if any(row[1:])])
