"""Refs of a run, and git commands that run nothing of the repository."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.wire.git import (
    SAFE_CONFIG,
    Change,
    base_ref,
    checked_object,
    checked_repo,
    checked_run,
    checked_stream,
    decode_path,
    filter_names,
    git_env,
    join_nul,
    list_parents,
    neutral_drivers,
    parse_raw_diff,
    repository_config,
    result_prefix,
    salvage_ref,
    snap_ref,
    split_nul,
    stamp_env,
)
from node_agent.wire.identity import AttemptId


def test_refs() -> None:
    identity = AttemptId(run="r-7f3k2", attempt=2, lease=3)
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


Env = dict[str, str]


def _pairs(env: Env) -> list[tuple[str, str]]:
    count = int(env["GIT_CONFIG_COUNT"])
    return [(env[f"GIT_CONFIG_KEY_{n}"], env[f"GIT_CONFIG_VALUE_{n}"]) for n in range(count)]


def test_only_the_path_and_the_language_are_inherited() -> None:
    outer = {
        "PATH": "/bin",
        "LANG": "de_DE",
        "HOME": "/home/u",
        "GIT_DIR": "/evil",
        "GIT_CONFIG_COUNT": "9",
        "GIT_SSH_COMMAND": "evil",
        "SSH_AUTH_SOCK": "/agent",
        "XDG_CONFIG_HOME": "/x",
        "EDITOR": "vi",
        "LD_PRELOAD": "evil.so",
        "SECRET": "s",
    }
    env = git_env(outer)
    assert env["PATH"] == "/bin"
    assert env["HOME"] == "/nonexistent"
    assert not {
        "GIT_DIR",
        "GIT_SSH_COMMAND",
        "SSH_AUTH_SOCK",
        "XDG_CONFIG_HOME",
        "EDITOR",
        "LD_PRELOAD",
        "SECRET",
    } & set(env)
    assert dict(_pairs(env)) == SAFE_CONFIG


def test_config_overrides_and_multi_valued_keys_keep_their_order() -> None:
    env = git_env(
        {},
        {"protocol.fd.allow": "always", "core.fsync": "none"},
        [("a.hide", "refs/"), ("a.hide", "!refs/x")],
    )
    pairs = _pairs(env)
    assert dict(pairs)["core.fsync"] == "none"
    assert dict(pairs)["protocol.allow"] == "never"
    assert pairs[-2:] == [("a.hide", "refs/"), ("a.hide", "!refs/x")]
    assert len(pairs) == len(SAFE_CONFIG) + 3


def test_drivers_become_no_programs() -> None:
    names = (
        b"filter.lfs.clean\0filter.lfs.required\0diff.x.textconv\0merge.a.b.driver\0filter.odd\xff.process\0"
    )
    neutral = neutral_drivers(names)
    assert neutral["filter.lfs.clean"] == ""
    assert neutral["filter.lfs.required"] == "false"
    assert neutral["merge.a.b.driver"] == ""
    assert filter_names(names) == {"lfs", "odd\udcff"}
    assert filter_names(b"filter.only.required\0") == frozenset()


@pytest.mark.parametrize(
    ("name", "email", "kept"),
    [
        ("Ada <ada@x>\n", "a@b", "Ada ada@x"),
        ("", "", "pancode"),
        ("\x00<>", "x", "pancode"),
        ("Zoë 🙂", "z@z", "Zoë 🙂"),
    ],
)
def test_a_user_fits_into_a_commit(name: str, email: str, kept: str) -> None:
    env = stamp_env(name, email, 1_790_000_000_999)
    assert env["GIT_AUTHOR_NAME"] == env["GIT_COMMITTER_NAME"] == kept
    assert env["GIT_AUTHOR_DATE"] == "@1790000000 +0000"


def test_a_sha256_repository_says_so() -> None:
    assert "objectformat = sha256" in repository_config("sha256")
    assert "repositoryformatversion = 1" in repository_config("sha256")
    assert "objectformat" not in repository_config("sha1")
    assert "bare = false" in repository_config("sha1", bare=False)


_NAMES = st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name)


@given(st.lists(_NAMES))
def test_lists_survive(names: list[bytes]) -> None:
    assert split_nul(join_nul(names)) == names


@given(st.lists(st.tuples(_NAMES, st.sampled_from("AMDT"))))
def test_a_raw_diff_survives(changes: list[tuple[bytes, str]]) -> None:
    zero, one = "0" * 40, "1" * 40
    raw = b"".join(
        f":100644 000000 {one} {zero} {kind}".encode() + b"\0" + name + b"\0" for name, kind in changes
    )
    assert list(parse_raw_diff(raw)) == [Change("100644", "000000", one, zero, name) for name, _ in changes]


def test_names_are_shown_and_split() -> None:
    assert decode_path("ü/🙂".encode()) == "ü/🙂"
    assert decode_path(b"a\xff") == "a\\xff"
    assert list_parents(b"a/b/c") == [b"a", b"a/b"]
    assert list_parents(b"a") == []
