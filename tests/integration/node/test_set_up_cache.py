"""Set-up runs once and is put back afterwards: a real node agent, real git, real processes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import Gate, Job
from node_agent.wire.policy import PathAccess, PathRule, Rules, Safety, compile_policy
from node_agent.wire.receipt import Claims
from tests.integration.git.repos import snap, tree_of, workspace_of
from tests.integration.node.node_world import NodeWorld, attempt_of

MAKE = (
    "(cd {folder}; echo ran >> count); mkdir -p lib/bin vendor/x; "
    "echo made > lib/a; ln -s ../a lib/bin; echo v > vendor/x/b"
)
KEY = ("package-lock.json",)
USE = "#!scripted\nread lib/a\nread vendor/x/b\nwrite new.txt 'hello\\n'\nanswer ok"


class Shop:
    """A repository whose set-up counts how often it really ran, in a file outside of every checkout."""

    def __init__(self, world: NodeWorld, count: Path) -> None:
        self.world, self.count = world, count
        self.more: tuple[str, ...] = ()
        world.repo.write(".gitignore", "lib/\n")
        self.lock("1")

    def lock(self, text: str, name: str = "package-lock.json") -> None:
        self.world.repo.write(name, text + "\n")
        self.world.repo.commit()

    def ran(self) -> int:
        return len(self.count.read_text().splitlines()) if self.count.exists() else 0

    def entries(self) -> list[Path]:
        return sorted((self.world.home.root / "cache").iterdir())

    def job(self, run: str, task: str = USE, make: str = MAKE, **changes: Any) -> Job:
        self.world.taken = snap(self.world.repo, self.world.depot, run)
        base = {
            "workspace": workspace_of(self.world.taken),
            "setup": (("sh", "-euc", make.format(folder=self.count.parent)),),
            "cache": ("lib", "vendor/x", *self.more),
        }
        return self.world.job(task, run=run, **{**base, **changes})

    def run(self, run: str, **more: Any) -> Claims:
        return self.world.run(self.job(run, **more))

    def log(self, run: str) -> str:
        return self.world.log(attempt_of(run), "setup").decode()


@pytest.fixture
def shop(world: NodeWorld, tmp_path: Path) -> Shop:
    world.without_sandbox()  # its set-ups count in a file outside of their checkout
    return Shop(world, tmp_path / "count")


def _is_right(shop: Shop, claims: Claims) -> None:
    assert (claims.outcome, claims.answer, claims.files_changed) == (Outcome.DONE, "ok", ("new.txt",))
    assert claims.commit is not None
    files = tree_of(shop.world.depot, shop.world.taken, claims.commit)
    assert files["new.txt"][1] == b"hello\n" and not any(name.startswith("vendor") for name in files)


def test_it_runs_once_and_is_put_back_afterwards(shop: Shop) -> None:
    first = shop.run("r-first", cache_key=KEY)
    _is_right(shop, first)
    assert shop.ran() == 1 and len(shop.entries()) == 1 and first.findings == ()
    gate = (Gate(name="there", argv=("sh", "-euc", 'test "$(cat lib/bin/a vendor/x/b)" = "made\nv"')),)
    second = shop.run("r-again", gates=gate, cache_key=KEY)
    _is_right(shop, second)
    assert shop.ran() == 1 and second.gates[0].passed and second.findings == ()
    key = shop.entries()[0].name
    assert shop.log("r-again") == (
        f"set-up was not run: lib, vendor/x restored as attempt {first.identity} left them (key {key})\n"
    )
    shop.lock("2")
    _is_right(shop, shop.run("r-locked", cache_key=KEY))
    assert shop.ran() == 2 and len(shop.entries()) == 2
    assert shop.run("r-whole", gates=gate).gates[0].passed
    assert shop.ran() == 4 and len(shop.entries()) == 3, "for the result, as every file counts, and not kept"
    assert (shop.world.home.root / "cache").stat().st_mode & 0o777 == 0o700


def test_what_rules_hide_of_what_is_put_back_is_hidden(shop: Shop) -> None:
    rules = Rules(paths=(PathRule(pattern="lib/a", access=PathAccess.NONE),))
    policy = compile_policy(Safety.AUTO_EDIT, read_only=False, rules=rules)
    (shop.world.home.root / "sandbox.json").unlink()
    task, make = "! cat lib/a && echo ok > ok", "mkdir -p lib vendor/x; echo made > lib/a"
    for run in ("r-first", "r-second"):
        claims = shop.run(run, task=task, make=make, runtime="shell", policy=policy)
        assert (claims.outcome, claims.files_changed) == (Outcome.DONE, ("ok",)), claims.reason
    assert "set-up was not run" in shop.log("r-second")


def test_an_agent_that_changes_what_was_put_back_changes_no_kept_copy(shop: Shop) -> None:
    shop.run("r-first")
    places = ("lib/a", "vendor/x/b", "lib/more")
    spoil = "\n".join(["#!scripted", *(f"force write {place} poison" for place in places), "answer ok"])
    for run in ("r-spoil1", "r-spoil2"):
        claims = shop.run(run, task=spoil)
        assert claims.outcome is Outcome.DONE
        assert claims.files_changed == ("vendor/x/b",)  # git ignores lib/; what it does not is the agent's
    entry = shop.entries()[0]
    assert (entry / "0" / "a").read_text() == "made\n" and (entry / "1" / "b").read_text() == "v\n"
    assert not (entry / "0" / "more").exists()
    gate = (Gate(name="clean", argv=("grep", "-qx", "made", "lib/a")),)
    assert shop.run("r-after", gates=gate, task="#!scripted\nanswer ok").gates[0].passed and shop.ran() == 1


def test_set_up_that_fails_is_not_kept(shop: Shop) -> None:
    for run in ("r-fail1", "r-fail2"):
        claims = shop.run(run, make=MAKE + "; false")
        assert claims.failure is FailureKind.SETUP_FAILED
    assert shop.ran() == 2 and shop.entries() == []


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (MAKE + "; rm -r lib", "set-up did not make the folder lib"),
        (MAKE + "; rm -r lib; ln -s vendor lib", "set-up did not make the folder lib"),
        (
            MAKE + """; printf '{{"url": "file://%s", "dir_info": {{}}}}' "$PWD" > lib/direct_url.json""",
            "lib/direct_url.json: the folder contains a copy of the repository's own code, which would be "
            "outdated in a later run;",
        ),
        (MAKE + "; rm -r vendor; ln -s /etc vendor", "vendor is not a directory"),
        (MAKE + "; mkfifo lib/pipe", "pipe is not a file, folder or link"),
    ],
)
def test_what_cannot_be_kept_is_said_and_costs_nothing(shop: Shop, make: str, words: str) -> None:
    for run in ("r-odd1", "r-odd2"):
        claims = shop.run(run, make=make, task="#!scripted\nanswer ok")
        assert (claims.outcome, claims.change) == (Outcome.DONE, "empty"), claims.reason
        (said,) = (text for text in claims.findings if "ignored by git" not in text)
        assert said.startswith(f"the result of set-up was not stored for later attempts: {words}")
    assert shop.ran() == 2 and shop.entries() == []


def test_nothing_is_cached_where_the_repository_has_files(shop: Shop) -> None:
    shop.world.repo.write("vendor/x/theirs", "t\n")
    shop.world.repo.commit()
    claims = shop.run("r-theirs")
    assert claims.findings[0].startswith("nothing of set-up is cached: vendor/x is in the repository")
    assert shop.ran() == 1 and shop.entries() == []


def test_names_that_look_like_options(shop: Shop) -> None:
    shop.more = ("-d", "--name-only", "a *[b")
    make = MAKE + "; mkdir -- -d --name-only 'a *[b'; echo x > ./-d/x"
    gate = (Gate(name="there", argv=("test", "-f", "./-d/x")),)
    for run in ("r-odd1", "r-odd2"):
        assert shop.run(run, make=make, gates=gate, cache_key=KEY).outcome is Outcome.DONE
    assert shop.ran() == 1


def test_a_set_up_that_writes_the_lockfile_and_a_damaged_entry(shop: Shop) -> None:
    """The key is of the lockfile as it was dispatched; what is damaged is made anew."""
    make = MAKE + "; echo rewritten > package-lock.json"
    for run in ("r-first", "r-again"):
        assert shop.run(run, make=make, task="#!scripted\nanswer ok").change == "empty"
    assert shop.ran() == 1
    (shop.entries()[0] / "0" / "a").write_text("damaged")
    assert shop.run("r-anew", make=make).outcome is Outcome.DONE
    assert shop.ran() == 2 and (shop.entries()[0] / "0" / "a").read_text() == "made\n"


SETUP_PY = "from setuptools import setup\nsetup(name='mine', version='1', py_modules=['mine'])\n"


@pytest.mark.slow
def test_a_virtual_environment_with_the_project_itself_is_put_back_and_works(shop: Shop) -> None:
    """A set-up that was never kept: `venv`, then the project itself, as `pip install -e .` leaves it."""
    for name, text in (
        ("setup.py", SETUP_PY),
        ("mine.py", "print('one')\n"),
        (".gitignore", ".venv/\n*.egg*\n"),
    ):
        shop.world.repo.write(name, text)
    shop.world.repo.commit()
    own = ".venv/bin/python setup.py -q develop --no-deps"  # pip asks for `wheel`, which no venv has
    setup = (
        (sys.executable, "-m", "venv", ".venv"),
        ("sh", "-c", f"(cd {shop.count.parent}; echo ran >> count); {own}"),
    )
    gates = (Gate(name="it", argv=(".venv/bin/python", "-c", "import mine; print(mine.__file__)")),)
    for number, run in enumerate(("r-first", "r-second", "r-third")):
        shop.world.repo.write("mine.py", f"print('{number}')\n")
        shop.world.repo.commit()
        claims = shop.run(
            run,
            setup=setup,
            cache=(".venv",),
            cache_key=("setup.py",),
            gates=gates,
            task="#!scripted\nanswer ok",
        )
        assert claims.outcome is Outcome.DONE, (claims.reason, shop.log(run))
        said = shop.world.log(attempt_of(run), "gates.log").decode()
        assert said.splitlines()[0] == str(number) and f"/{attempt_of(run)}/tree/mine.py" in said
    assert shop.ran() == 1 and len(shop.entries()) == 1
