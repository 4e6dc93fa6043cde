"""Names that are not quite right, and prefixes of runs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pancode.kernel.errors import ExitCode, NotFoundError, UsageError
from pancode.kernel.names import find_nearest, not_found, pick_run

RUNS = ("r-7f3k2q", "r-7f9zzz", "r-abcd", "r-abcdef")


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("gpubx", "gpubox"),
        ("GPUBOX", "gpubox"),
        ("biulder", None),
        ("dsk", "desk"),
        ("zzz", None),
        ("gpu", "gpubox"),
        ("g", None),
    ],
)
def test_the_nearest_name(word: str, name: str | None) -> None:
    assert find_nearest(word, ["gpubox", "desk"]) == name


def test_an_id_and_a_key_are_near_only_if_their_own_part_is() -> None:
    assert find_nearest("r-nosuch", ["r-ns9c43"]) is None and find_nearest("nope", ["openai"]) is None
    assert find_nearest("dispatch.nosuch", ["dispatch.on_lost"]) is None
    assert find_nearest("dispatch.safty", ["dispatch.on_lost", "dispatch.safety"]) == "dispatch.safety"


def test_not_found_says_the_nearest_name_and_how_to_look() -> None:
    error = not_found("node", "gpubx", ["desk", "gpubox"], "pancode node ls")
    assert (error.code, error.exit_code) == ("node_not_found", 4) and "gpubox?" in error.why
    assert "gpubox" in error.fix and "pancode node ls" in error.fix


def test_not_found_lists_the_names_when_none_is_near_and_says_when_there_are_none() -> None:
    assert not_found("node", "zzz", [f"n{i}" for i in range(10)], "x").why.endswith("n7 and 2 more")
    assert not_found("node", "zzz", [], "x").why == "there is no node yet"


@pytest.mark.parametrize(
    ("text", "run"),
    [
        ("last", "r-7f3k2q"),
        ("r-7f3k2q", "r-7f3k2q"),
        ("r-7f9", "r-7f9zzz"),
        ("7f9", "r-7f9zzz"),
        ("abcd", "r-abcd"),
        ("abcde", "r-abcdef"),
    ],
)
def test_a_run_by_id_prefix_or_last(text: str, run: str) -> None:
    assert pick_run(text, RUNS) == run


def test_a_prefix_of_several_runs_is_a_usage_error_that_lists_them() -> None:
    with pytest.raises(UsageError) as caught:
        pick_run("7f", RUNS)
    assert caught.value.why == "r-7f3k2q, r-7f9zzz"


@pytest.mark.parametrize("text", ["r-zz", "", "r-7f3k2qq"])
def test_no_such_run(text: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        pick_run(text, RUNS)
    assert caught.value.exit_code is ExitCode.NOT_FOUND


def test_a_workflow_is_no_run() -> None:
    with pytest.raises(NotFoundError, match="w-aaaaaa is not a run") as caught:
        pick_run("w-aaaaaa", RUNS)
    assert caught.value.fix == "pancode runs show w-aaaaaa"


@pytest.mark.parametrize("text", ["r-7f3kq2", "7f3kq2"])
def test_a_mistyped_run_is_told_the_nearest_and_another_the_newest(text: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        pick_run(text, ["r-aaaaaa", "r-7f3k2q"])
    assert caught.value.details["near"] == "r-7f3k2q"
    with pytest.raises(NotFoundError) as caught:
        pick_run("r-zzzzzz", ["r-aaaaaa", "r-7f3k2q"])
    assert caught.value.why == "no id begins with it; the newest run is r-aaaaaa"


def test_last_of_nothing() -> None:
    with pytest.raises(NotFoundError, match="there are no runs yet"):
        pick_run("last", ())


@settings(deadline=None)
@given(st.lists(st.text("23456789bcdf", min_size=4, max_size=6), unique=True, min_size=1), st.data())
def test_a_run_is_found_by_any_prefix_that_only_it_has(tails: list[str], data: st.DataObject) -> None:
    runs = [f"r-{tail}" for tail in tails]
    run = data.draw(st.sampled_from(runs))
    prefix = run[: data.draw(st.integers(3, len(run)))]
    alone = [other for other in runs if other.startswith(prefix)] == [run]
    if alone or prefix in runs:
        assert pick_run(prefix, runs) == prefix if prefix in runs else run
    else:
        with pytest.raises(UsageError):
            pick_run(prefix, runs)
