"""The ignored files that runs get: what may be copied, and the agreement to the list."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from node_agent.wire.sealing import MOST_COPIED
from pancode.config.copied_files import agree, is_agreed, must_be_agreed, read_copied
from pancode.config.user_environment import FileSurroundings
from pancode.kernel.errors import ConfigError, RefusedError


def git(top: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(top), *words], check=True, capture_output=True)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A repository that ignores `.env*` and keys, with one of each."""
    top = tmp_path / "shop"
    (top / "config").mkdir(parents=True)
    git(top.parent, "init", "-q", str(top))
    (top / ".gitignore").write_text(".env*\n*.key\nbig\n")
    (top / ".env.local").write_text("API_KEY=0123456789abcdef\n")
    (top / "config" / "site.key").write_bytes(b"\0\xff")
    (top / "app.py").write_text("print(1)\n")
    git(top, "add", ".gitignore", "app.py")
    return top


def test_patterns_match_ignored_files_with_their_bytes(top: Path) -> None:
    found = read_copied(top, (".env.local", "config/*.key"))
    assert found == {".env.local": b"API_KEY=0123456789abcdef\n", "config/site.key": b"\0\xff"}


MANY = "".join(f"KEY_{n}=value-{n:03d}\n" for n in range(201))


def test_a_file_in_a_folder_of_the_cache_is_refused(top: Path) -> None:
    with pytest.raises(ConfigError, match="config/site.key") as caught:
        read_copied(top, (".env.local", "config/*.key"), ("build", "./config/"))
    assert "a folder of cache:" in caught.value.why


def outside(top: Path) -> None:
    (top.parent / "keys").mkdir()
    (top.parent / "keys" / "a.key").write_text("x")
    (top / "keys").symlink_to(top.parent / "keys")


@pytest.mark.parametrize(
    ("pattern", "why", "make"),
    [
        (".env.gone", "no file in", lambda top: None),
        ("config", "no file in", lambda top: None),
        ("app.py", "git tracks it", lambda top: None),
        ("notes.txt", "git does not ignore it", lambda top: (top / "notes.txt").write_text("x")),
        (".env.link", "is a link", lambda top: (top / ".env.link").symlink_to("/etc/passwd")),
        ("keys/*.key", "is a link", outside),
        ("big", "at most", lambda top: (top / "big").write_bytes(bytes(MOST_COPIED + 1))),
        ("big", "and big has 201", lambda top: (top / "big").write_text(MANY)),
    ],
)
def test_each_other_file_is_refused_with_the_reason(
    top: Path, pattern: str, why: str, make: Callable[[Path], object]
) -> None:
    make(top)
    with pytest.raises(ConfigError) as caught:
        read_copied(top, (".env.local", pattern))
    assert why in caught.value.why and caught.value.fix, caught.value.words


def test_a_list_is_agreed_to_once_for_one_project(top: Path, tmp_path: Path) -> None:
    home, list_ = tmp_path / "home", (".env.local", "config/*.key")
    with pytest.raises(RefusedError) as caught:
        must_be_agreed(home, top, list_)
    assert caught.value.code == "copy_not_agreed" and f"pancode project copy {top}" in caught.value.fix
    agree(home, top, list_)
    must_be_agreed(home, top, tuple(reversed(list_)))
    assert not is_agreed(home, top, (*list_, "*.pem")) and not is_agreed(home, top.parent, list_)


def test_the_settings_have_the_files_sealed_and_only_once_agreed(top: Path, tmp_path: Path) -> None:
    (top / "pancode.yaml").write_text("copy: [.env.local]\n")
    home, sealed = tmp_path / "home", list[dict[str, bytes]]()

    def seal(files: object) -> str:
        assert isinstance(files, dict)
        sealed.append(files)
        return "sealed"

    around = FileSurroundings(home, {}, machine=tmp_path / "none", seal=seal)
    with pytest.raises(RefusedError):
        around.seal_copied(str(top))
    agree(home, top, (".env.local",))
    assert around.seal_copied(str(top)) == "sealed" and list(sealed[0]) == [".env.local"]
    bare = FileSurroundings(home, {}, machine=tmp_path / "none")
    assert bare.seal_copied(str(top)) == "", "settings that dispatch no run"


@pytest.mark.parametrize("pattern", ["/etc/passwd", "../x.key", "~/x", "a/../../b", ".git/config"])
def test_a_path_outside_of_the_project_is_no_setting(top: Path, tmp_path: Path, pattern: str) -> None:
    (top / "pancode.yaml").write_text(f"copy: ['{pattern}']\n")
    with pytest.raises(ConfigError) as caught:
        FileSurroundings(tmp_path / "home", {}, machine=tmp_path / "none").project(str(top))
    assert "copy" in caught.value.words
