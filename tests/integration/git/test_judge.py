"""A landing makes what `git merge` and `git commit` would make, or names the rule that it does not follow."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pancode.git.depot import Depot
from pancode.git.landings import LandRequest, LandStatus, OnBranch
from pancode.git.objects import import_tip
from pancode.git.repository import open_project
from pancode.git.runner import GitRefusal
from pancode.git.tree.branch_landing import land_on_branch

QUICK, LATER = range(100), range(100, 500)
NOW_MS = 1_790_000_000_000
LINES = [f"line {number}" for number in range(30)]
FILES = (
    "a.txt",
    "CHANGELOG.md",
    "sub/data.txt",
    "sub/more.md",
    "bin.dat",
    "run.sh",
    "old/x.txt",
    "old/y.txt",
)
NOT_FOLLOWED = "a rule that PanCode does not follow"
ATTRIBUTES = (
    "*.md merge=union", "*.txt merge=binary", "*.txt -merge", "*.dat binary", "*.txt merge=text",
    "*.md merge=mine", "[attr]ours -merge\n*.txt ours", "* text=auto", "*.txt merge",
    "CHANGELOG.md conflict-marker-size=3",
)  # fmt: skip
SETTINGS = (
    ("merge.renames", "false"), ("merge.directoryRenames", "true"), ("merge.directoryRenames", "false"),
    ("merge.renormalize", "true"), ("merge.renameLimit", "1"), ("diff.renames", "false"),
    ("merge.default", "union"), ("merge.default", "binary"), ("merge.conflictStyle", "diff3"),
    ("merge.ff", "only"),
    ("diff.algorithm", "histogram"), ("core.autocrlf", "input"),
)  # fmt: skip
SOMEBODY = {f"GIT_{role}_{key}": "x" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
Tree = dict[str, tuple[str, str]]
"""The files of a tree: mode and text."""


@dataclass
class Draw:
    base: Tree
    ours: Tree
    theirs: Tree
    settings: dict[str, str]
    own_settings: dict[str, str]
    outer_attributes: str
    author: dict[str, str] = field(default_factory=dict)


def make_draw(seed: int) -> Draw:
    r = random.Random(seed)
    base: Tree = {name: ("100644", text_of(LINES)) for name in FILES}
    base["link"] = ("120000", "a.txt")
    if r.random() < 0.2:
        base["module"] = ("160000", "1" * 40)
    for place in ("", "sub/"):
        if r.random() < (0.5 if place == "" else 0.25):
            base[f"{place}.gitattributes"] = ("100644", r.choice(ATTRIBUTES) + "\n")
    ours, theirs = dict(base), dict(base)
    for side in (ours, theirs):
        for _ in range(r.randint(1, 3)):
            r.choice(EDITS)(r, side)
    if r.random() < 0.15:
        ours[".gitattributes"] = ("100644", r.choice(ATTRIBUTES) + "\n")
    settings = dict(r.sample(SETTINGS, r.choice((0, 0, 1, 2))))
    if r.random() < 0.4:
        settings["merge.mine.driver"] = "cp %B %A"
    identity, author = _make_identity(r)
    outer = r.choice(ATTRIBUTES) + "\n" if r.random() < 0.15 else ""
    return Draw(base, ours, theirs, settings | identity, _make_own(r), outer, author)


def _make_identity(r: random.Random) -> tuple[dict[str, str], dict[str, str]]:
    settings, author = {"user.name": "Ana", "user.email": "ana@home.example"}, dict[str, str]()
    kind = r.choice(("user", "user", "role", "variables", "some", "only", "mail"))
    if kind == "role":
        settings |= {"author.email": "ana@author.example", "committer.name": "Robot"}
    if kind == "only":
        settings = {"user.useConfigOnly": "true", "user.name": "Ana"}
    if kind == "mail":
        settings, author = {"user.name": "Ana"}, {"EMAIL": "ana@mail.example"}
    if kind in ("variables", "some"):
        author = {"GIT_AUTHOR_NAME": "Work", "GIT_AUTHOR_EMAIL": "work@corp.example"}
    if kind == "variables":
        author |= {"GIT_COMMITTER_NAME": "Work", "GIT_COMMITTER_EMAIL": "work@corp.example"}
    return settings, author


def _make_own(r: random.Random) -> dict[str, str]:
    """Settings of the repository itself."""
    own = {"user.email": "ana@repo.example"} if r.random() < 0.3 else {}
    return own | (dict(r.sample(SETTINGS, 1)) if r.random() < 0.15 else {})


def text_of(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _plain(side: Tree) -> list[str]:
    return sorted(name for name, (mode, _) in side.items() if mode.startswith("100") and ".git" not in name)


def _edit(r: random.Random, side: Tree) -> None:
    hot = [name for name in ("CHANGELOG.md", "sub/data.txt") if name in side]
    name = r.choice(hot if hot and r.random() < 0.7 else _plain(side))
    mode, text = side[name]
    lines = text.splitlines()
    at = r.choice((0, 10, 20, len(lines) - 1))
    lines[at : at + r.choice((0, 1))] = [f"{r.random()}"]
    side[name] = mode, text_of(lines)


def _append(r: random.Random, side: Tree) -> None:
    name = r.choice(("CHANGELOG.md", "CHANGELOG.md", "sub/more.md"))
    if name in side:
        side[name] = side[name][0], side[name][1] + f"- {r.random()}\n"


def _rename(r: random.Random, side: Tree) -> None:
    name = r.choice(_plain(side))
    side[r.choice((f"moved/{name}", name.upper(), name.replace("x", "z") + ".new"))] = side.pop(name)


def _move_folder(r: random.Random, side: Tree) -> None:
    for name in [name for name in side if name.startswith("old/")]:
        side[name.replace("old/", r.choice(("new/",)))] = side.pop(name)


def _add(r: random.Random, side: Tree) -> None:
    side[r.choice(("old/added.txt", "added.txt", "sub/added.md"))] = ("100644", f"{r.choice('ab')}\n")


def _remove(r: random.Random, side: Tree) -> None:
    del side[r.choice(_plain(side))]


def _mode(r: random.Random, side: Tree) -> None:
    name = r.choice(_plain(side))
    side[name] = ("100755" if side[name][0] == "100644" else "100644"), side[name][1]


def _binary(r: random.Random, side: Tree) -> None:
    if "bin.dat" in side:
        side["bin.dat"] = side["bin.dat"][0], f"\0{r.random()}"


def _link(r: random.Random, side: Tree) -> None:
    side["link"] = ("120000", r.choice(("run.sh", "bin.dat")))


def _module(r: random.Random, side: Tree) -> None:
    if "module" in side:
        side["module"] = ("160000", r.choice("23") * 40)


def _line_ends(r: random.Random, side: Tree) -> None:
    name = r.choice(_plain(side))
    side[name] = side[name][0], side[name][1].replace("\n", "\r\n")


EDITS: tuple[Callable[[random.Random, Tree], None], ...] = (
    _edit, _edit, _edit, _append, _append, _rename, _move_folder, _add, _remove, _mode, _binary, _link,
    _module, _line_ends,
)  # fmt: skip


class Repository:
    """A repository of the draw, and the user whose git it is."""

    def __init__(self, folder: Path, draw: Draw) -> None:
        self.path, self.home, self.draw = folder / "r", folder / "home", draw
        self.home.mkdir(parents=True)
        self.environ = {"HOME": str(self.home), "PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1"}
        (self.home / ".gitconfig").write_text("".join(map(_line, draw.settings.items())))
        if draw.outer_attributes:
            (self.home / ".config/git").mkdir(parents=True)
            (self.home / ".config/git/attributes").write_text(draw.outer_attributes)
        self.git("init", "-q", "-b", "main", cwd=folder)
        with (self.path / ".git/config").open("a") as file:
            file.write("".join(map(_line, draw.own_settings.items())))
        stream = _stream("base", draw.base, "") + _stream("main", draw.ours, "base")
        self.git("fast-import", "--quiet", stdin=stream + _stream("result", draw.theirs, "base"))
        self.git("reset", "-q", "--hard")

    def git(
        self, *args: str, cwd: Path | None = None, stdin: bytes = b"", environ: Mapping[str, str] = {}
    ) -> str:
        words = ("git", *args, "r") if args[0] == "init" else ("git", *args)
        env = {**self.environ, **environ}
        done = subprocess.run(
            words, cwd=cwd or self.path, input=stdin, env=env, capture_output=True, check=False
        )
        if done.returncode:
            raise ValueError(done.stderr.decode() + done.stdout.decode())
        return done.stdout.decode().strip()

    def who(self, commit: str) -> str:
        return self.git("log", "-1", "--format=%an|%ae|%cn|%ce", commit)


def _line(pair: tuple[str, str]) -> str:
    section, _, key = pair[0].rpartition(".")
    first, _, second = section.partition(".")
    head = f'[{first} "{second}"]' if second else f"[{first}]"
    return f"{head}\n\t{key} = {pair[1]}\n"


def _stream(branch: str, tree: Tree, parent: str) -> bytes:
    """A commit for `git fast-import`."""
    lines = [f"commit refs/heads/{branch}", "committer F <f@example.org> 1780000000 +0000", "data 2", "c"]
    lines += [f"from refs/heads/{parent}"] if parent else []
    made = ("\n".join(lines) + "\ndeleteall\n").encode()
    for name, (mode, text) in sorted(tree.items()):
        if mode == "160000":
            made += f"M 160000 {text} {name}\n".encode()
        else:
            made += f"M {mode} inline {name}\ndata {len(text.encode())}\n{text}\n".encode()
    return made


def compare(folder: Path, seed: int) -> str:
    """How the landing of this draw differs from git's merge and commit; empty: it does not."""
    draw = make_draw(seed)
    repository = Repository(folder, draw)
    base, result = repository.git("rev-parse", "base", "result").split()
    depot, environ = Depot(folder / "depot"), {**repository.environ, **draw.author}
    seen = open_project(repository.path, environ)
    depot.ensure(seen.repo_id)
    import_tip(seen, depot, seen.head)
    repository.git("push", "-q", str(depot.path(seen.repo_id)), f"{result}:refs/heads/result")
    request = LandRequest(seen.repo_id, base, result, environ, base=base, run="r-aaaa")
    refused, report = "", None
    try:
        report = land_on_branch(repository.path, depot, request, OnBranch("landed", "words", NOW_MS))
    except GitRefusal as refusal:
        refused = str(refusal)
    try:
        who = repository.who(repository.git("commit-tree", "-m", "x", "HEAD^{tree}", environ=draw.author))
    except ValueError:
        who = ""
    try:
        repository.git(
            "-c", "merge.ff=true", "merge", "-q", "--no-edit", "--no-ff", "result", environ=SOMEBODY
        )
        tree, before = repository.git("rev-parse", "HEAD^{tree}", "HEAD^1^{tree}").split()
    except ValueError as error:
        tree, before = "", str(error)[:300]
    settings = draw.settings | draw.own_settings
    if NOT_FOLLOWED in refused:
        path = refused.partition(" was changed")[0]
        is_due = bool({"merge.mine.driver", "merge.renormalize"} & settings.keys())
        if path in draw.base:  # one that has this name since a rename was changed on the other side
            is_due &= all(side.get(path) != draw.base[path] for side in (draw.ours, draw.theirs))
        return "" if is_due else f"refused for nothing: {refused}"
    if "useConfigOnly" in refused:
        return f"git knows who: {who}" if who else ""
    status = report.status if report is not None else None
    if not tree:
        is_right = refused or status is LandStatus.CONFLICT
        return "" if is_right else f"git has a conflict ({before}); landed: {report}"
    if status is LandStatus.NOTHING and tree == before:
        return ""
    if status is not LandStatus.LANDED:
        return f"{refused or report}; git merges it: {repository.git('diff', '--stat', 'HEAD^1', 'HEAD')}"
    if repository.git("rev-parse", "landed^{tree}") != tree:
        return f"other files: {repository.git('diff', '--stat', 'landed', 'HEAD')}"
    mine = repository.who("landed")
    return "" if mine == (who or mine) else f"by {mine}; git: {who}"


def check(folder: Path, seeds: range) -> None:
    found = {seed: said for seed in seeds if (said := compare(folder / str(seed), seed))}
    assert not found, "\n".join(f"{seed}: {said}" for seed, said in list(found.items())[:5])


@pytest.mark.slow
def test_git_is_the_judge(tmp_path: Path) -> None:
    check(tmp_path, QUICK)


@pytest.mark.slow
def test_git_is_the_judge_of_more_situations(tmp_path: Path) -> None:
    check(tmp_path, LATER)
