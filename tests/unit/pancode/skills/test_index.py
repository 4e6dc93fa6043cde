"""What an index of skills offers, and what in it is none."""

from __future__ import annotations

import json

import pytest

from pancode.kernel.errors import ConfigError
from pancode.skills.index import find_matching, read_index

COMMIT = "a" * 40
GOOD = {
    "name": "deploy",
    "description": "Ship\u202e it",
    "from": "https://h/r.git",
    "commit": COMMIT,
    "path": "d",
}


def test_an_entry_is_a_command_to_add_it_and_hides_nothing() -> None:
    (one,), wrong = read_index(json.dumps({"skills": [GOOD]}), "here")
    assert wrong == 0 and one.description == "Ship<U+202E> it"
    assert one.add == ["pancode", "skills", "add", "https://h/r.git", "--commit", COMMIT, "--path", "d"]


@pytest.mark.parametrize(
    "change",
    [
        {"name": "No Name"},
        {"commit": "main"},
        {"from": "--upload-pack=x"},
        {"from": ""},
        {"description": 1},
    ],
)
def test_what_names_no_commit_or_is_no_skill_is_counted(change: dict[str, object]) -> None:
    assert read_index(json.dumps({"skills": [{**GOOD, **change}, "word", GOOD]}), "here")[1] == 2


@pytest.mark.parametrize(
    "text", ["[", "skills: 1", "other: []", "just words", "!!python/object:os.system {}"]
)
def test_what_is_no_index_is_said(text: str) -> None:
    with pytest.raises(ConfigError, check=lambda error: error.code == "bad_index"):
        read_index(text, "here")


def test_every_word_begins_one_of_theirs() -> None:
    entries = [
        {**GOOD, "name": name, "description": words} for name, words in (("b", "ship it"), ("a", "look"))
    ]
    found, _ = read_index(json.dumps({"skills": entries}), "here")
    names = {
        words: [one.name for one in find_matching(found, words)]
        for words in ("", "Shi", "ship lo", "ip", "A")
    }
    assert names == {"": ["a", "b"], "Shi": ["b"], "ship lo": [], "ip": [], "A": ["a"]}
