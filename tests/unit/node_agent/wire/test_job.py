"""Folders that a repository names: below its top, plainly written, apart from one another."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from node_agent.attempt.accept import Refuse, open_job
from node_agent.wire.failure import JobRefusal
from node_agent.wire.job import MAX_FOLDERS, MAX_PLACE, Folders, checked_folder, checked_place
from tests.unit.node_agent.wire.samples import KEY, job

FOLDERS: TypeAdapter[tuple[str, ...]] = TypeAdapter(Folders)


@pytest.mark.parametrize(
    "name", ["node_modules", ".venv", "web/node_modules", "a b", "…", "..a", "git", ".gitx"]
)
def test_plain_names(name: str) -> None:
    assert checked_folder(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "/", "/etc", "a/", "a//b", "./a", "a/..", "../a", "a/../b", "a/./b", "~", "~/a"]
    + [".git", ".GIT/hooks", "a/.git", "a\nb", "a\0b", "\udcff", "x" * 201],
)
def test_what_is_none(name: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        checked_folder(name)


@pytest.mark.parametrize("name", ["", "web", "-x", "a b/…", "a\nb", "'\"$(id)", "~", "...", "x" * 300])
def test_places_to_begin_in(name: str) -> None:
    assert checked_place(name) == name


@pytest.mark.parametrize(
    "name", [".", "..", "/", "/etc", "a/", "a//b", "./a", "a/..", "../a", "a/./b", ".git", "a/.GIT/b", "a\0b"]
)
def test_places_to_begin_in_that_are_none(name: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        checked_place(name)
    envelope = job()
    workspace = envelope.workspace.model_copy(update={"folder": name})
    signed = envelope.model_copy(update={"workspace": workspace}).signed(KEY).model_dump_json().encode()
    refused = open_job(signed, {KEY.public.keyid: KEY.public})
    assert isinstance(refused, Refuse) and refused.why is JobRefusal.BAD_ENVELOPE


def test_a_place_is_bounded() -> None:
    with pytest.raises(ValueError, match="at most"):
        checked_place("x" * (MAX_PLACE + 1))


@pytest.mark.parametrize("cache", [("../x",), ("/etc",), (".git/hooks",), ("a", "a/b")])
def test_a_job_that_names_another_is_refused_by_the_node(cache: tuple[str, ...]) -> None:
    """However well it is signed."""
    envelope = job().model_copy(update={"cache": cache}).signed(KEY)
    refused = open_job(envelope.model_dump_json().encode(), {KEY.public.keyid: KEY.public})
    assert isinstance(refused, Refuse) and refused.why is JobRefusal.BAD_ENVELOPE
    assert "cache" in refused.detail


def test_folders_lie_apart() -> None:
    assert FOLDERS.validate_python(("ab", "a", "b/c", "b/d")) == ("ab", "a", "b/c", "b/d")
    for together in (("a", "a"), ("a/b", "a"), ("a", "b", "a/b/c")):
        with pytest.raises(ValidationError, match="already covered"):
            FOLDERS.validate_python(together)
    with pytest.raises(ValidationError):
        FOLDERS.validate_python(tuple(map(str, range(MAX_FOLDERS + 1))))
