"""The plan of a workflow that is not begun: gates of each step, warnings, the sum of the estimates."""

from __future__ import annotations

from typing import Any

from pancode.workflows.commands.begin import format_dry_run


def gate(name: str, words: str = "fine", *, passed: bool = True, warning: bool = False) -> dict[str, Any]:
    return {"gate": name, "passed": passed, "warning": warning, "words": words, "fix": ""}


def step(name: str, *gates: dict[str, Any]) -> dict[str, Any]:
    judged = {"admitted": all(one["passed"] for one in gates), "gates": list(gates), "estimate_usd": "0.5"}
    report = {"nodes": [], "notes": [], "untested": [], "costly_test": False, "network": {}, "tokens": {}}
    about: dict[str, Any] = {
        "agent": "a",
        "runtime": "claude",
        "model": None,
        "chosen": "",
        "secrets": [],
        "asks": "",
        "node": "gpubox",
        "task": f"\nreview {name}.py\nand more",
    }
    return {"name": name, "needs": [], **judged, **report, **about}


def test_it_counts_the_gates_and_tells_each_warning_once() -> None:
    steps = [
        step(f"s{n}", gate("budget"), gate("safety", "only told", warning=True)) for n in range(1, 8)
    ] + [step("bad", gate("budget", "no room", passed=False), gate("safety"))]
    plan: Any = {"steps": steps, "estimate_usd": "4", "admitted": False, "reason": "too dear"}
    text = format_dry_run(plan | {"fix": "--partial"})
    assert text.count("1 passed, 1 warning") == 7 and "1 passed, 1 refused" in text
    assert text.count("only told") == 1
    assert "warning of s1, s2, s3, s4, s5 and 2 more: safety: only told\n" in text
    assert (
        "total estimate: $4" in text
        and "refused: too dear" in text
        and "bad: would be refused" in text
        and "no room" in text
    )
