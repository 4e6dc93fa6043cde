"""`pancode land --push --pull-request`, from the verb to a forge on loopback, with a real push between."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pancode.app.coordinator import forges_of
from pancode.config.user_environment import FileSurroundings
from pancode.interfaces.cli.output import Face
from pancode.kernel.errors import ApiError, UsageError
from pancode.kernel.host.secrets import KeptSecrets
from pancode.kernel.records import Audit, Run
from pancode.kernel.values import replace
from pancode.landing.commands import landing
from pancode.landing.git.change_store import DepotCode
from pancode.runs.core import Core
from pancode.runs.unit_of_work import unit_of_work
from tests.integration.forge.fakes import TOKEN, FakeForgejo, serving
from tests.unit.pancode.interfaces.http.world import MemoryCoordinator
from tests.unit.pancode.landing.commands.test_landing import DirectClient
from tests.unit.pancode.landing.memory import MemoryLandings
from tests.unit.pancode.landing.test_asked import Lander, LandingWorld

PUSH = ("origin", "agent/x")


class LandedCode(MemoryLandings):
    """Every landing ends on the branch of a repository that has it. It opens pull requests as the real one
    does: by the settings and secrets of the home."""

    def __init__(self, tree: Path, home: Path, core: Core) -> None:
        super().__init__()
        self.tree, self._core = tree, core
        self._forges = forges_of(FileSurroundings(home, {}), KeptSecrets(home / "secrets"))

    def land(self, *args: Any, **more: Any) -> dict[str, Any]:
        return {**super().land(*args, **more), "tree": str(self.tree), "branch": "agent/x", "made": True}

    check_pull, pull_request = DepotCode.check_pull, DepotCode.pull_request


class Place:
    """A repository with a remote of the forge, which git of the user's pushes into a folder beside it."""

    def __init__(self, folder: Path, forge: FakeForgejo, api: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.forge, self.home, self.bare = forge, folder / "home", folder / "far.git"
        self.home.mkdir()
        address = f"{forge.web}/o/r.git"
        (folder / "gitconfig").write_text(f'[url "{self.bare}"]\n\tinsteadOf = {address}\n')
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(folder / "gitconfig"))
        self.tree = folder / "tree"
        self.git("init", "-q", "--bare", str(self.bare), at=folder)
        self.git("init", "-q", "-b", "main", str(self.tree), at=folder)
        who = ("-c", "user.name=n", "-c", "user.email=n@example.org")
        self.git(*who, "commit", "-q", "--allow-empty", "-m", "one")
        self.git("branch", "agent/x")
        self.git("remote", "add", "origin", address)
        host = f'"127.0.0.1": {{kind: forgejo, url: "{api}", token: secret:forge}}'
        (self.home / "pancode.yaml").write_text(f"forge: {{{host}}}\n")
        self.keep(TOKEN)
        world = LandingWorld()
        world.end()
        self.desk = world.coordinator
        assert world.land(Lander())["status"] == "landed"
        run = self.desk.row(Run, "r-0001")
        with unit_of_work(self.desk.core) as work:
            work.tx.put(replace(run, project=str(self.tree), task="fix the list\nat night"))
        coordinator = MemoryCoordinator(self.desk, self.home)
        coordinator.code = self.code = LandedCode(self.tree, self.home, self.desk.core)
        client = DirectClient(coordinator)
        monkeypatch.setattr(Face, "client", lambda *_, **__: client)

    def keep(self, token: str) -> None:
        KeptSecrets(self.home / "secrets").keep("forge", token)

    def git(self, *args: str, at: Path | None = None) -> str:
        done = subprocess.run(["git", *args], cwd=at or self.tree, capture_output=True, check=True, text=True)
        return done.stdout.strip()

    def land(self, **more: Any) -> Any:
        return landing.land(run="r-0001", push_to=PUSH, pull_request=True, face=Face(False), **more)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    forge = FakeForgejo()
    with serving(forge) as api:
        yield Place(tmp_path, forge, api, monkeypatch)


def test_it_lands_pushes_and_opens_one_and_only_one(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.land() == 0
    link = f"{place.forge.web}/o/r/pull/1"
    out = capsys.readouterr().out
    assert "landed" in out and out.endswith(f"  pull request: {link}\n")
    assert place.git("rev-parse", "agent/x", at=place.bare) == place.git("rev-parse", "agent/x")
    (row,) = place.forge.rows
    assert (row["title"], row["head"]["ref"], row["base"]["ref"]) == ("fix the list", "agent/x", "main")
    assert str(place.desk.row(Run, "r-0001").result["receipt"]) in row["body"]
    assert "at night" not in row["body"]
    assert place.land() == 0
    assert f"(open already): {link}" in capsys.readouterr().out and len(place.forge.rows) == 1
    (audit,) = [one for one in place.desk.rows(Audit) if "pull request" in one.what]
    assert audit.detail["url"] == link


def test_a_refusal_loses_nothing_and_the_same_command_goes_on(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.forge.read_only = True
    with pytest.raises(ApiError) as caught:
        place.land()
    error = caught.value
    assert (error.code, error.exit_code) == ("forge_forbidden", 5) and "both remain" in error.why
    assert "pancode config secret forge" in error.fix
    assert error.fix.endswith("pancode land r-0001 --push origin agent/x --pull-request")
    assert place.git("rev-parse", "agent/x", at=place.bare) == place.git("rev-parse", "agent/x")
    place.forge.read_only = False
    assert place.land() == 0 and "pull request: http" in capsys.readouterr().out
    kept = [str(row) for row in place.desk.rows(Audit)]
    assert TOKEN not in "".join(kept) + capsys.readouterr().err


def test_nothing_is_pushed_to_a_forge_that_would_refuse(place: Place) -> None:
    place.keep("of-another-forge")
    with pytest.raises(ApiError) as caught:
        place.land()
    assert caught.value.code == "forge_token" and "pancode config secret forge" in caught.value.fix
    assert place.code.ways == [] and not place.git("branch", "--list", at=place.bare)


def test_no_forge_is_asked_unless_it_is_wanted(place: Place) -> None:
    assert landing.land(run="r-0001", push_to=PUSH, face=Face(True)) == 0
    with pytest.raises(UsageError):
        place.land(all_green=True)
    with pytest.raises(UsageError):
        landing.land(run="r-0001", branch="agent/x", pull_request=True, face=Face(True))
    assert place.forge.asked == []


def test_a_home_without_a_token_says_how_to_give_one(place: Place) -> None:
    (place.home / "secrets" / "forge").chmod(0o644)
    with pytest.raises(ApiError) as caught:
        place.land()
    assert caught.value.code == "secret_open"
    (place.home / "pancode.yaml").write_text("")
    with pytest.raises(ApiError) as caught:
        place.land()
    assert caught.value.code == "no_forge_token" and "token: secret:forge" in caught.value.fix
    assert place.code.ways == [] and not place.git("branch", "--list", at=place.bare), "nothing has begun"
    assert place.forge.asked == []
