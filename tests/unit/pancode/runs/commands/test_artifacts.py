"""What a CI job keeps of a run: each file, and JUnit that its readers understand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from pancode.interfaces.cli.follow import report_lines
from pancode.interfaces.client.client import LogPart
from pancode.kernel.errors import UsageError
from pancode.runs.commands.headless import make_junit, write_artifacts
from tests.fakes.api import FakeApi

RUN: Any = {
    "run": "r-1",
    "agent": "builder",
    "outcome": "done",
    "reason": "",
    "answer": "did it",
    "receipt": "d1",
    "commit": "c1",
    "gates": [{"name": "pytest -q", "passed": True, "exit_code": 0, "judged": True}],
    "reports": [],
}
FINDING = {"level": "error", "rule": "F401", "file": "a b.py", "line": 3, "text": "unused"}
OLDER = {"file": "r.sarif", "form": "sarif", "tool": "ruff 0.8", "counts": {"error": 7}, "unread": ""}
"""A report in a receipt of an older version."""
TESTS = {
    "file": "j.xml",
    "form": "junit",
    "tool": "pytest",
    "counts": {"passed": 9, "failed": 1},
    "unread": "",
}
UNREAD = {"file": "x", "form": "unknown", "tool": "", "counts": {}, "results": [], "unread": "it is not XML"}


def kept(folder: Path, **other: Any) -> list[str]:
    """Of one run, whose log comes in two pieces."""

    def log(path: str, query: dict[str, Any]) -> LogPart:
        at = query["offset"]
        return LogPart(b"ab"[at : at + 1], "2.2", at + 1, "more" if at == 0 else "end")

    answers = {
        "GET /v1/runs/r-1": {**RUN, **other},
        "GET /v1/runs/r-1/streams": {"streams": {"1.1": ["out", "err"], "2.2": ["out"]}},
        "GET /v1/runs/r-1/diff": b"+x\n",
        "GET /v1/runs/r-1/log": log,
        "GET /v1/receipts/r-1": {"envelope": "signed"},
    }
    return write_artifacts(FakeApi(answers), "r-1", folder)


def test_each_file_is_there_and_whole(tmp_path: Path) -> None:
    names = kept(tmp_path / "new" / "out")
    assert names == sorted(path.name for path in (tmp_path / "new/out").iterdir())
    text = {name: (tmp_path / "new/out" / name).read_text() for name in names}
    assert json.loads(text["run.json"])["run"] == "r-1" and json.loads(text["receipt.json"])
    assert text["change.diff"] == "+x\n" and text["answer.md"] == "did it"
    assert text["out.log"] == text["err.log"] == "ab", "both pieces"


def test_what_a_run_does_not_have_is_no_file(tmp_path: Path) -> None:
    assert not {"receipt.json", "change.diff"} & set(kept(tmp_path, receipt=None, commit=None))


def test_a_link_that_a_repository_has_made_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim, out = tmp_path / "bashrc", tmp_path / "out"
    victim.write_text("mine")
    out.mkdir()
    for name in ("answer.md", "out.log"):
        (out / name).symlink_to(victim)
    (out / "receipt.json").write_text("of an earlier run")
    kept(out, receipt=None)
    assert victim.read_text() == "mine" and (out / "out.log").read_text() == "ab"
    assert not (out / "receipt.json").exists()
    (tmp_path / "link").symlink_to(out)
    with pytest.raises(UsageError, match="cannot write to") as refused:
        kept(tmp_path / "link")
    assert "is a symbolic link" in refused.value.why


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write to"):
        kept(tmp_path / "file" / "out")


@pytest.mark.parametrize(
    ("other", "failed"),
    [
        ({}, []),
        ({"outcome": "error", "reason": "exit 3", "gates": []}, ["builder"]),
        (
            {
                "outcome": "verify_failed",
                "gates": [{"name": "g\x00", "passed": False, "exit_code": 1, "judged": True}],
            },
            ["g?"],
        ),
    ],
)
def test_junit_has_the_agent_and_each_gate(other: dict[str, Any], failed: list[str]) -> None:
    suite = Xml.fromstring(make_junit(RUN | other))[0]
    assert [case.get("name") for case in suite if case.find("failure") is not None] == failed
    assert suite.get("failures") == str(len(failed)) and suite.get("tests") == str(len(suite))


def reports() -> Any:
    failed = {**FINDING, "level": "failed", "rule": "t.test_\x00bad", "line": None}
    return [{**OLDER, "results": [FINDING] * 2}, {**TESTS, "results": [failed]}, UNREAD]


def test_the_failed_tests_of_gates_are_in_the_junit_file(tmp_path: Path) -> None:
    kept(tmp_path, reports=reports())
    root = Xml.parse(tmp_path / "junit.xml").getroot()
    assert [suite.get("name") for suite in root] == ["pancode r-1", "pytest"]
    assert root.get("failures") == "1" and root[1][0].get("name") == "t.test_?bad"


def test_they_are_drawn_in_a_few_lines() -> None:
    assert report_lines(RUN | {"reports": reports()}, 1) == [
        "  report     r.sarif (ruff 0.8): 7 error",
        "    error  a b.py:3  F401  unused",
        "    and 1 more in the receipt",
        "  report     j.xml (pytest): 9 passed, 1 failed",
        "    failed  a b.py  t.test_\\x00bad  unused",
        "  report     x: unreadable: it is not XML",
    ]
