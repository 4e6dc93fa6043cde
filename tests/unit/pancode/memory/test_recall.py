"""Which notes fit some words, in which order."""

from __future__ import annotations

from pancode.memory.model import RunNote, in_use, rank_notes


def note(run: str, at_ms: int, text: str) -> RunNote:
    return RunNote(run, at_ms, "/repo", "builder", None, "", "a task", {"RESULT": text})


NOTES = [
    note("r-1", 1, "the search has a limiter, by key"),
    note("r-2", 2, "the parser reads dates"),
    note("r-3", 3, "the search is paged"),
    note("r-4", 4, "the limiters of the upload"),
]


def found(query: str) -> list[str]:
    return [one.run for one in rank_notes(NOTES, query)]


def test_rare_words_first_then_the_newer_one() -> None:
    assert found("search limiter") == ["r-1", "r-3", "r-4"]
    assert found("the") == ["r-4", "r-3", "r-2", "r-1"]


def test_case_beginnings_of_words_and_names_of_runs() -> None:
    assert found("LIMITER") == ["r-1", "r-4"]
    assert found("pars") == ["r-2"]
    assert found("lim") == [], "three letters begin too many words"
    assert found("r-3 nonsense") == []
    assert found("nonsense") == found("") == []


def test_a_new_run_gets_what_fits_then_the_newest() -> None:
    assert [one.run for one in in_use(NOTES, "Fix the dates in parser.py")] == ["r-2", "r-4", "r-3", "r-1"]
    assert [one.run for one in in_use(NOTES, "")] == ["r-4", "r-3", "r-2", "r-1"]
