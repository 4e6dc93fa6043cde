"""The node's values by name, from wherever its owner says; what is missing is named, and never a value."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from node_agent.machine.discovery import with_local_fix
from node_agent.runtimes.base import Runtime
from node_agent.runtimes.registry import RUNTIMES
from node_agent.vault.vault import FRESH_MS, LOOK_MS, Vault
from node_agent.wire.node import MOST_VARIABLES, RuntimeFact
from tests.fakes.node import MemoryClock


class Owner:
    """Somebody who writes secrets.json."""

    def __init__(self, root: Path) -> None:
        self.file, self.clock = root / "secrets.json", MemoryClock()
        (root / "cred").mkdir()
        (root / "cred" / "db").write_text("from-systemd\n")
        (root / "key").write_text("from-a-file\r\n")
        self.environ = {"HERE": "from-env", "PATH": os.defpath, "CREDENTIALS_DIRECTORY": str(root / "cred")}
        self.vault = Vault(self.file, self.environ, self.clock)

    def writes(self, value: object) -> None:
        self.file.write_text(value if isinstance(value, str) else json.dumps(value))
        os.utime(self.file, ns=(0, self.clock.mono_ms() + hash(str(value)) % 10**15))
        self.clock.advance(LOOK_MS)


def test_an_edit_of_the_file_is_news_once(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    assert not owner.vault.news()
    owner.writes('{"A": "1",}')
    assert owner.vault.news() and not owner.vault.news()
    owner.file.unlink()
    assert owner.vault.news(), "a file that is gone is news too"


def test_what_a_login_has_left_is_news_and_counts_at_once(tmp_path: Path) -> None:
    login = tmp_path / "auth.json"
    vault = Vault(tmp_path / "secrets.json", {}, MemoryClock(), {"CODEX_LOGIN": login})
    assert "CODEX_LOGIN" not in vault.values() and not vault.news()
    login.write_text("{}")
    assert "CODEX_LOGIN" not in vault.values(), "the clock stands still, and it has just looked"
    assert vault.news() and vault.values()["CODEX_LOGIN"] == "{}" and not vault.news()


def test_the_names_that_have_a_value_are_told_and_none_of_them_where_they_are_too_many(
    tmp_path: Path,
) -> None:
    owner = Owner(tmp_path)
    owner.writes({"KEY": "s3cret", "GONE": {"file": "/nowhere"}})
    assert owner.vault.names() == ("CREDENTIALS_DIRECTORY", "HERE", "KEY", "PATH")
    owner.writes({f"N{number}": "1" for number in range(MOST_VARIABLES)})
    assert owner.vault.names() is None, "a name that was left out would count as one without a value"


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    return Owner(tmp_path)


def test_all_four_sources_and_a_plain_value(owner: Owner, tmp_path: Path) -> None:
    owner.writes(
        {
            "A": "plain",
            "B": {"env": "HERE"},
            "C": {"file": str(tmp_path / "key")},
            "D": {"command": ["printf", "%s\n", "from a command"]},
            "E": {"credential": "db"},
        }
    )
    values = owner.vault.values()
    told = [values[name] for name in "ABCDE"]
    assert told == ["plain", "from-env", "from-a-file", "from a command", "from-systemd"]
    assert values["HERE"] == "from-env" and owner.vault.owned() == frozenset("ABCDE")
    assert owner.vault.problems() == ()


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ({"env": "NOT_HERE"}, "no variable 'NOT_HERE'"),
        ({"file": "/no/such/file"}, "/no/such/file cannot be read: No such file"),
        ({"file": "relative"}, "must be an absolute path"),
        ({"file": "/dev/null"}, "returned no text"),
        ({"command": ["no-such-program"]}, "no-such-program could not be run"),
        ({"command": ["sh", "-c", "echo the-value; echo the-value >&2; exit 3"]}, "sh ended with 3"),
        ({"command": "a string"}, "not a list of strings"),
        ({"credential": "../key"}, "not the name of a credential"),
        ({"credential": "none"}, "cannot be read"),
        ({"file": "/a", "env": "B"}, "neither a string nor an object"),
        ({"fiel": "/a"}, "one of env, file, command, credential"),
        (3, "neither a string"),
    ],
)
def test_a_source_that_gives_nothing_is_named_and_the_others_stand(
    owner: Owner, source: object, why: str
) -> None:
    owner.writes({"GOOD": "x", "BAD": source})
    values = owner.vault.values()
    assert values["GOOD"] == "x" and "BAD" not in values
    assert why in owner.vault.why_missing("BAD") and owner.vault.why_missing("OTHER") == ""
    (problem,) = owner.vault.problems()
    assert problem.what.startswith("secret BAD: ") and "the-value" not in problem.what


@pytest.mark.parametrize("text", ["", "[]", '{"a": ', "\xff"])
def test_a_file_that_is_none_is_said(owner: Owner, text: str) -> None:
    owner.writes(text)
    assert owner.vault.owned() == frozenset()
    (problem,) = owner.vault.problems()
    assert str(owner.file) in problem.what and problem.fix


def test_no_file_is_no_trouble(owner: Owner) -> None:
    assert owner.vault.problems() == () and owner.vault.values() == owner.environ


def test_a_command_is_not_run_at_each_look(owner: Owner, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    owner.writes({"A": {"command": ["sh", "-c", f"echo x >> {asked}; echo v"]}})
    for _ in range(5):
        assert owner.vault.values()["A"] == "v"
    assert len(asked.read_text()) == 2
    owner.clock.advance(FRESH_MS)
    assert owner.vault.values()["A"] == "v" and len(asked.read_text()) == 4


def test_a_change_of_the_file_is_seen_at_once(owner: Owner) -> None:
    owner.writes({"A": "1"})
    assert owner.vault.values()["A"] == "1"
    owner.writes({"A": "2"})
    assert owner.vault.values()["A"] == "2"


def test_what_was_found_does_not_show_itself(owner: Owner) -> None:
    owner.writes({"A": "the-value"})
    owner.vault.values()
    assert "the-value" not in repr(vars(owner.vault)["_found"])


def test_a_runtime_that_nothing_logs_in_is_told_of_a_broken_file_with_its_line(owner: Owner) -> None:
    owner.writes('{\n  "A": "sk-hidden",\n}')
    assert "is not valid JSON: line 3" in owner.vault.trouble() and "sk-hidden" not in owner.vault.trouble()
    (problem,) = owner.vault.problems()
    assert str(owner.file) in problem.what and str(owner.file) in problem.fix
    fact = RuntimeFact(name="claude", state="not_logged_in", fix="pancode node login NODE claude")
    told = with_local_fix(fact, owner.file.parent, "vm", owner.vault.trouble())
    assert told.fix.startswith("fix that file") and "line 3" in told.fix


@pytest.mark.parametrize("runtime", [one for one in RUNTIMES.values() if one.program is not None])
def test_what_logs_a_runtime_in_names_this_node_and_its_file(runtime: Runtime) -> None:
    assert runtime.program is not None
    fact = RuntimeFact(name=runtime.name, state="not_logged_in", fix=runtime.program.login)
    fix = with_local_fix(fact, Path("/home/ops/.pancode-node/f-1"), "vm").fix
    assert "NODE" not in fix and "*" not in fix and "/home/ops/.pancode-node/f-1/secrets.json" in fix
    assert "pancode node secret vm " in fix
