"""The gates' own checkout of the result: real git, and any way in which an agent furnishes its place."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from node_agent.attempt.ports import CommitStamp
from node_agent.attempt.records import PutBack
from node_agent.wire.job import Job
from node_agent.workspace.folders import WorkspaceFolders, erase
from node_agent.workspace.mirror import Mirrors
from node_agent.workspace.workspaces import Workspaces
from pancode.git.depot import Depot
from tests.integration.git.repos import (
    NOW_MS,
    PathTransport,
    Repo,
    attempt,
    fingerprint,
    simple,
    snap,
    workspace_of,
)
from tests.unit.node_agent.stage import job_of

STAMP = CommitStamp("Do it", NOW_MS)
FILES = {
    ".gitignore": "node_modules/\n.venv/\nhelper.pyc\nconftest.py\nlinked\nout/\n",
    ".gitattributes": "*.id ident\n*.txt text=auto\n",
    "check.py": "assert open('value').read() == 'good\\n'\n",
    "check.sh": "grep -q good value\n",
    "words.txt": "a\nb\n",
    "mark.id": "$Id$\n",
    "value": "good\n",
    "lock": "1\n",
}
PYTHON = (str(Path(sys.base_prefix) / "bin" / "python3"), "check.py")
"""Not that of a virtual environment, which has no packages of the user."""
SHELL = ("sh", "-c", ". ./check.sh")


class Place:
    """An agent's place on a node, and the gates' place after `apart`."""

    def __init__(self, tmp_path: Path, depot: Depot) -> None:
        repo = simple(tmp_path / "project")
        for name, data in FILES.items():
            repo.write(name, data)
        repo.commit()
        taken = snap(repo, depot)
        self.path, self.depot = tmp_path, depot
        self.spaces = Workspaces(tmp_path / "node", PathTransport(depot, taken.repo_id))
        self.job = job_of(identity=attempt(), workspace=workspace_of(taken))
        self.tree = Repo(self.spaces.prepare(attempt(), self.job.workspace), init=False)
        self.home = self.spaces.home(attempt(), {".config/tool": b"of the launch\n"}, keep=True)
        self.commit = ""

    def agent(self, act: Callable[[Place], object]) -> Place:
        act(self)
        made = self.spaces.commit(attempt(), self.job.workspace, STAMP)
        self.commit = made.commit or str(self.job.workspace.snapshot)
        return self

    def apart(self, job: Job | None = None, spaces: Workspaces | None = None) -> PutBack:
        spaces, job = spaces or self.spaces, job or self.job
        return spaces.set_apart(job, self.commit, {}, self.path / "log", {"PATH": os.environ["PATH"]})

    def passes(self, gate: tuple[str, ...]) -> bool:
        env = {"HOME": str(self.home), "PATH": f"{self.home}/bin:{os.environ['PATH']}"}
        return (
            subprocess.run(gate, cwd=self.tree.path, env=env, check=False, capture_output=True).returncode
            == 0
        )

    def state(self) -> dict[str, tuple[object, ...]]:
        return {k: v for k, v in fingerprint(self.tree.path.parent).items() if not k.startswith("out.git")}


@pytest.fixture
def place(tmp_path: Path, depot: Depot) -> Place:
    return Place(tmp_path, depot)


def _site(place: Place) -> None:
    """What `pip install --user` can do, too."""
    env = {"HOME": str(place.home), "PATH": os.environ["PATH"]}
    ask = [PYTHON[0], "-c", "import site; print(site.getusersitepackages())"]
    folder = Path(subprocess.run(ask, env=env, check=True, capture_output=True, text=True).stdout.strip())
    folder.mkdir(parents=True)
    (folder / "usercustomize.py").write_text("import os\nos._exit(0)\n")


def _program(place: Place) -> None:
    place.tree.write("node_modules/.bin/check", "#!/bin/sh\n").chmod(0o755)


def _in_bin(place: Place) -> None:
    (place.home / "bin").mkdir()
    (place.home / "bin" / "grep").write_text("#!/bin/sh\n")
    (place.home / "bin" / "grep").chmod(0o755)


def _hidden_module(place: Place) -> None:
    place.tree.write("conftest.py", "raise SystemExit(0)\n")


def _hooks(place: Place) -> None:
    place.tree.write(".venv/hooks/pre-commit", "#!/bin/sh\n").chmod(0o755)
    place.tree.git("config", "core.hooksPath", ".venv/hooks")


def _filter(place: Place) -> None:
    git = Path(place.tree.git("rev-parse", "--git-dir"))
    place.tree.git("config", "filter.x.smudge", "sed s/bad/good/")
    (git / "info").mkdir(exist_ok=True)
    (git / "info" / "attributes").write_text("value filter=x\n")


def _home_config(place: Place) -> None:
    (place.home / ".gitconfig").write_text("[alias]\n\tx = !true\n")


def _expanded_mark(place: Place) -> None:
    """Git compares the file without what it has between the dollar signs."""
    place.tree.write("mark.id", "$Id: anything $\n")


def _line_ends(place: Place) -> None:
    place.tree.write("words.txt", "a\r\nb\r\n")


PLANTED: list[tuple[Callable[[Place], object], tuple[str, ...]]] = [
    (_site, PYTHON),
    (_program, ("sh", "-c", "node_modules/.bin/check")),
    (_in_bin, SHELL),
    (_hidden_module, (sys.executable, "-c", "import conftest")),
    (_hooks, ("sh", "-c", "git config core.hooksPath")),
    (_filter, ("sh", "-c", "git check-attr filter value | grep -q 'x$'")),
    (_home_config, ("git", "x")),
    (_expanded_mark, ("grep", "-q", "anything", "mark.id")),
    (_line_ends, (sys.executable, "-c", r"assert b'\r' in open('words.txt', 'rb').read()")),
]


@pytest.mark.parametrize(("plant", "gate"), PLANTED, ids=lambda one: getattr(one, "__name__", ""))
def test_what_the_agent_planted_beside_its_change_serves_no_gate(
    place: Place, plant: Callable[[Place], object], gate: tuple[str, ...]
) -> None:
    def act(place: Place) -> None:
        place.tree.write("value", "bad\n")
        plant(place)

    place.agent(act)
    assert place.passes(gate), "the attack works in the agent's place"
    before = place.state()
    place.apart()
    assert not place.passes(gate) and (place.tree.path / "value").read_text() == "bad\n"
    assert place.tree.git("rev-parse", "HEAD") == place.commit
    assert place.tree.git("status", "--porcelain", "--ignored") == ""
    assert (place.home / ".config" / "tool").read_bytes() == b"of the launch\n"
    place.tree.write("written-by-a-gate")
    assert place.spaces.changed_since(attempt(), place.commit) == ("written-by-a-gate",)
    place.spaces.bring_back(attempt())
    assert place.state() == before and place.passes(gate)
    place.spaces.push(attempt(), place.job.workspace, place.commit)


def test_what_the_gates_lack_is_named_by_its_topmost_names(place: Place) -> None:
    def act(place: Place) -> None:
        for name in ("web/node_modules/a/b", "web/x.json", "out/x", ".venv/pyvenv.cfg", "new"):
            place.tree.write(name)
        (place.home / ".local").mkdir()

    place.agent(act).apart()
    assert place.spaces.beside(attempt(), place.commit) == (".venv", "out", "web/node_modules", "~/.local")
    for name in (".venv/x", "out/x", "web/node_modules/x"):
        place.tree.write(name, "of set-up\n")
    assert place.spaces.beside(attempt(), place.commit) == (".venv", "out", "web/node_modules", "~/.local")
    (place.tree.path / "out/x").unlink()
    (place.tree.path / "out").rmdir()
    assert place.spaces.beside(attempt(), place.commit) == ("out", "~/.local")


def test_links_are_moved_and_not_followed(place: Place) -> None:
    outside = place.path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("k\n")

    def act(place: Place) -> None:
        (place.tree.path / "linked").symlink_to(outside)
        place.tree.write("new")

    before = fingerprint(outside)
    place.agent(act).apart()
    assert not os.path.lexists(place.tree.path / "linked") and (place.tree.path / "new").exists()
    place.spaces.bring_back(attempt())
    assert os.readlink(place.tree.path / "linked") == str(outside)
    place.apart()
    place.spaces.remove(attempt(), place.job.workspace)
    assert fingerprint(outside) == before and list((place.path / "node/work/.aside").iterdir()) == []


def test_set_up_is_restored_if_what_decides_about_it_is_unchanged(place: Place) -> None:
    changes = {"setup": (("make", "env"),), "cache": ("node_modules",), "cache_key": ("lock",)}
    job = place.job.model_copy(update=changes)
    env = {"PATH": os.environ["PATH"]}
    key = str(place.spaces.put_back(job, place.path / "log", env).key)
    place.tree.write("node_modules/.bin/check", "#!/bin/sh\nexec grep -q good value\n").chmod(0o755)
    assert place.spaces.keep(job, key) == ()

    def act(place: Place) -> None:
        place.tree.write("value", "bad\n")
        place.tree.write("node_modules/.bin/check", "#!/bin/sh\n")

    place.agent(act)
    assert place.passes(("node_modules/.bin/check",))
    assert place.apart(job).restored and not place.passes(("node_modules/.bin/check",))
    place.tree.write("value")
    assert place.spaces.changed_since(attempt(), place.commit) == ("value",)
    place.spaces.bring_back(attempt())
    other = place.agent(lambda place: place.tree.write("lock", "2\n")).apart(job)
    assert not other.restored and other.key != key
    assert not os.path.lexists(place.tree.path / "node_modules")


def test_an_interrupted_call_is_repeated_or_undone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """By another process, which knows only what lies on the disk."""
    before = place.agent(_program).state()

    def end(*_args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Mirrors, "lend", end)
        with pytest.raises(KeyboardInterrupt):
            place.apart()
    later = Workspaces(place.path / "node", PathTransport(place.depot, str(place.job.workspace.repo)))
    assert later.list() == (attempt(),)
    later.bring_back(attempt())
    assert place.state() == before
    later.bring_back(attempt())
    place.apart(spaces=later)
    place.apart(spaces=later)
    assert not os.path.lexists(place.tree.path / "node_modules")
    later.bring_back(attempt())
    assert place.state() == before
    place.apart(spaces=later)
    later.remove(attempt(), place.job.workspace)
    assert later.list() == ()


def test_an_attempt_that_continues_a_session_has_the_place_of_the_earlier_one(place: Place) -> None:
    """And nobody else takes it between the two renames."""
    home, later = WorkspaceFolders(place.path / "node"), attempt(number=2, lease=2)
    place.spaces.remove(attempt(), place.job.workspace)
    assert home.take_place(later, str(attempt()))
    job = place.job.model_copy(update={"identity": later})
    assert place.spaces.prepare(later, job.workspace) == place.tree.path
    place.spaces.home(later, {})
    _program(place)
    place.spaces.commit(later, job.workspace, STAMP)
    place.commit = str(job.workspace.snapshot)
    place.apart(job)
    assert not os.path.lexists(place.tree.path / "node_modules") and place.spaces.list() == (later,)
    erase(place.tree.path.parent)
    assert not home.take_place(attempt(number=3, lease=3), str(attempt()))
    place.spaces.bring_back(later)
    assert (place.tree.path / "node_modules/.bin/check").exists()


def test_both_checkouts_serve_later_attempts(place: Place) -> None:
    place.agent(_program).apart()
    place.spaces.bring_back(attempt())
    place.spaces.remove(attempt(), place.job.workspace)
    assert len(list((place.path / "node/work/.warm").iterdir())) == 2
