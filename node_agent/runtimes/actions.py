"""Classifies a shell command by the worst thing that it plainly does; for counting, not for stopping.

A command can hide what it does, so no rule is enforced by this: walls and flags enforce, this names.
"""

from __future__ import annotations

import re
import shlex

from node_agent.wire.policy import ActionClass

_QUOTED = re.compile(r"""["'\\]""")
_SPLIT = re.compile(r"\|\||&&|[;|&\n]")
_SYSTEM = frozenset(
    "sudo su doas systemctl service mount umount useradd userdel reboot shutdown mkfs apt apt-get".split()
)
_DELETE = frozenset({"rm", "rmdir", "unlink", "shred"})
_DESTRUCTIVE = frozenset({"dd", "truncate", "kill", "killall", "pkill", "chown", "chmod"})
_REWRITES = frozenset({"rebase", "filter-branch", "filter-repo", "reflog", "gc", "prune", "update-ref"})
_ORDER = (
    ActionClass.SYSTEM,
    ActionClass.GIT_DESTRUCTIVE,
    ActionClass.GIT_PUSH,
    ActionClass.SHELL_DESTRUCTIVE,
    ActionClass.FILE_DELETE,
    ActionClass.SHELL,
)


def shell_action(command: str) -> ActionClass:
    """The gravest class among the commands of one shell line."""
    classes = {_one(part) for part in _SPLIT.split(command[:10_000])}
    return next((c for c in _ORDER if c in classes), ActionClass.SHELL)


def _one(part: str) -> ActionClass:
    words = _words(part)
    if not words:
        return ActionClass.SHELL
    program = words[0].rpartition("/")[2]
    if program == "git":
        return _git([w for w in words[1:] if w != "-C"])
    for names, action in (
        (_SYSTEM, ActionClass.SYSTEM),
        (_DELETE, ActionClass.FILE_DELETE),
        (_DESTRUCTIVE, ActionClass.SHELL_DESTRUCTIVE),
    ):
        if program in names:
            return action
    return ActionClass.SHELL


def _git(words: list[str]) -> ActionClass:
    forced = any(w in ("-f", "--force", "--force-with-lease", "--mirror") or w.startswith("+") for w in words)
    if "push" in words:
        return ActionClass.GIT_DESTRUCTIVE if forced else ActionClass.GIT_PUSH
    hard = "reset" in words and "--hard" in words
    clean = "clean" in words and any(w.startswith("-") and "f" in w for w in words)
    dropped = "branch" in words and "-D" in words
    if hard or clean or dropped or _REWRITES & set(words):
        return ActionClass.GIT_DESTRUCTIVE
    return ActionClass.SHELL


def _words(part: str) -> list[str]:
    try:
        words = shlex.split(part) if _QUOTED.search(part) else part.split()  # shlex reads letter by letter
    except ValueError:  # half a quotation: the pieces will do
        words = part.split()
    while words and re.fullmatch(r"\w+=.*", words[0]):  # VAR=value before the program
        words = words[1:]
    return words
