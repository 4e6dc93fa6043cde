"""The tool that reads the history of the run's own checkout: commits and changes; no other git command."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from node_agent.native.tools.files import Box, Failed, clip_middle, count_arg, text_arg
from node_agent.native.tools.shell import run_command
from node_agent.policy.commands.programs import Use
from node_agent.wire.git import git_env

KINDS = ("log", "show", "diff")
USUAL_COMMITS, MOST_COMMITS, WAIT_S = 30, 1_000, 60
MOST_HIDDEN = 500
_REVISION = re.compile(r"[A-Za-z0-9_][\w./~^@{}+-]*")
_PLAIN = ("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames")
"""Options that list a renamed file under both names, so that neither can be read under the other name."""
_LINE = "--format=%h %ad %an: %s"


def read_changes(box: Box, given: Mapping[str, Any]) -> str:
    """Return `log`: commits, newest first; `show`: one commit; `diff`: between two commits or from one to the
    files."""
    what, of = text_arg(given, "what"), text_arg(given, "of", "HEAD")
    if what not in KINDS:
        raise Failed(f"the argument `what` must be one of {', '.join(KINDS)}")
    revisions = _resolve_commits(box, of)
    path = text_arg(given, "path", "")
    only = [_limit_path(box, path)] if path else []
    if what == "log":
        most = count_arg(given, "most", USUAL_COMMITS, MOST_COMMITS)
        text = _run_git(box, "log", "--date=iso", f"-n{most}", _LINE, "..".join(revisions), "--", *only)
    elif what == "show":
        if len(revisions) > 1:
            raise Failed("show takes one commit; diff takes a range")
        text = _patch(box, ("log", "-1", "-m", "--first-parent", "-p"), revisions, only)
    else:
        text = _patch(box, ("diff",), revisions, only)
    return clip_middle(text or "[no change]", box.most_chars, "name a path, or a smaller range")


def _resolve_commits(box: Box, of: str) -> list[str]:
    """Return the ids of commits; the name of any other object could show files despite the rules."""
    sides = re.split(r"\.{2,3}", of) if ".." in of else [of]
    if len(sides) > 2:
        raise Failed(f"{of!r} is not a range of two commits")
    found = []
    for side in sides:
        if side and not _REVISION.fullmatch(side):
            raise Failed(f"{side!r} is not a commit: use for example HEAD~2, a branch, a tag or a hash")
        named = _run_git(
            box, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{side or 'HEAD'}^{{commit}}"
        )
        found.append(named.strip())
    return found


def _limit_path(box: Box, path: str) -> str:
    name = box.tree.name_of(path)
    box.judge.path(name, Use.READ)
    return f":(top,literal){name}" if name != "." else ":(top)"


def _patch(box: Box, how: Sequence[str], revisions: Sequence[str], only: Sequence[str]) -> str:
    """Return the patch without files that the run may not read, and with the number of those files."""
    listed = ("-z", "--name-only", *(["--format="] if how[0] == "log" else []))
    options = [one for one in how if one != "-p"]
    names = _run_git(box, *options, *_PLAIN, *listed, *revisions, "--", *only).split("\0")
    found = dict.fromkeys(name.strip("\n") for name in names)
    hidden = [name for name in found if name and box.judge.hides(name)]
    if len(hidden) > MOST_HIDDEN:
        raise Failed(f"safety rules hide {len(hidden)} files of this change: name a path")
    left_out = [f":(top,exclude,literal){name}" for name in hidden]
    places = [*(only or [":(top)"] if left_out else only), *left_out]
    text = _run_git(box, *how, *_PLAIN, *revisions, "--", *places)
    return f"{text}\n[left out, as this run may not read them: {len(hidden)}]" if hidden else text


def _run_git(box: Box, *args: str) -> str:
    """Run git. Raises Failed with git's error message."""
    env = {**git_env(box.env), "GIT_LITERAL_PATHSPECS": "0"}
    kept, why, status = run_command(box, ["git", "--no-pager", *args], box.tree.top, env, WAIT_S)
    text = kept.text()
    if why or status:
        output = text.strip()[-300:] or "commit not found, or this checkout has no history"
        raise Failed(f"git {args[0]}: {output}")
    return text
