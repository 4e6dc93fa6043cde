"""The home folder: ours alone, and keys that are made once."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from node_agent.wire.signing import SigningKey
from pancode.fleet.ssh.home import Home
from pancode.kernel.errors import ConfigError
from tests.fakes.node.clock import SeededIds

KEY = SigningKey(b"k" * 32)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "a b")
    made.prepare()
    return made


def test_it_is_where_the_variable_says_else_in_the_users_home(tmp_path: Path) -> None:
    assert Home.of({"PANCODE_HOME": str(tmp_path)}).root == tmp_path
    assert Home.of({"HOME": str(tmp_path)}).root == tmp_path / ".pancode"


def test_others_cannot_look_in(home: Home) -> None:
    home.root.chmod(0o755)
    home.prepare()
    assert stat.S_IMODE(home.root.stat().st_mode) == 0o700


def test_git_does_not_see_our_files_but_the_users_own(home: Home) -> None:
    """A login's home may be a repository: a snapshot of it must not carry the keys to a node."""
    home.keep_key(KEY)
    (home.root / "pancode.yaml").write_text("")
    git = ["git", "-C", str(home.root.parent)]
    subprocess.run([*git, "init", "-q"], check=True)
    seen = subprocess.run(
        [*git, "ls-files", "-o", "--exclude-standard"], check=True, capture_output=True, text=True
    )
    assert seen.stdout == "a b/pancode.yaml\n"


def test_a_home_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot use"):
        Home(tmp_path / "file" / "home").prepare()


def test_keys_are_made_once_and_are_private(home: Home) -> None:
    ids = SeededIds()
    assert home.signing_key() is None
    home.keep_key(KEY)
    kept = home.signing_key()
    assert kept is not None and kept.public == KEY.public
    assert home.audit_secret(ids) == home.audit_secret(ids)
    assert home.node_password("0" * 10, ids) == home.node_password("0" * 10, ids)
    assert home.loopback_keys("desk") == home.loopback_keys("desk")
    files = [p for p in (home.root / "key").rglob("*") if p.is_file()]
    assert len(files) == 5
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o600 for p in files)


def test_a_damaged_key_is_never_replaced(home: Home) -> None:
    (home.root / "key").mkdir()
    path = home.root / "key/coordinator.key"
    path.write_text("rubbish")
    with pytest.raises(ConfigError, match="damaged"):
        home.signing_key()
    assert path.read_text() == "rubbish"


def test_forgetting_a_node_leaves_nothing_of_it(home: Home) -> None:
    home.node_password("0" * 10, SeededIds())
    home.loopback_keys("desk")
    home.forget_node("desk", "0" * 10)
    assert [p for p in (home.root / "key").rglob("*") if p.is_file()] == []
