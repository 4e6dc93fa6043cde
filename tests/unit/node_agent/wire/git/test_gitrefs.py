"""Refs and names that cross the border: nothing but what they should be."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from node_agent.wire.git.gitrefs import (
    base_ref,
    checked_object,
    checked_repo,
    checked_run,
    checked_stream,
    result_prefix,
    salvage_ref,
    snap_ref,
)
from node_agent.wire.identity import AttemptId


def test_refs() -> None:
    identity = AttemptId(run="r-7f3k2", attempt=2, fence=3)
    assert snap_ref("r-7f3k2") == "refs/pancode/snap/r-7f3k2"
    assert base_ref("r-7f3k2") == "refs/pancode/base/r-7f3k2"
    assert identity.ref.startswith(result_prefix("r-7f3k2"))
    assert salvage_ref(identity) == "refs/pancode/salvage/r-7f3k2.2.3"


@pytest.mark.parametrize(
    ("check", "good"),
    [
        (checked_run, "r-7f3k2"),
        (checked_repo, "p-0123abcd"),
        (checked_object, "a" * 40),
        (checked_object, "0" * 64),
        (checked_stream, "agent.out"),
        (checked_stream, "gate-1_err.log"),
    ],
)
def test_good_names(check: Callable[[str], str], good: str) -> None:
    assert check(good) == good


@pytest.mark.parametrize("check", [checked_run, checked_repo, checked_object, checked_stream])
@pytest.mark.parametrize(
    "bad",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/x",
        "-x",
        ".x",
        "x\n",
        "x\0",
        "a b",
        "ü",
        "HEAD^",
        "--upload-pack=x",
        "x" * 200,
    ],
)
def test_bad_names(check: Callable[[str], str], bad: str) -> None:
    with pytest.raises(ValueError, match="not "):
        check(bad)
