"""Decides whether a command only reads: a known program without options that change anything. Pure.

The answer decides whether a run that may change nothing may run the command. So every doubtful command, such
as one with an option that is made while the script runs, counts as one that writes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from node_agent.policy.commands.tree import ShellWord

_PLAIN = frozenset(
    """
    ls cat head tail nl tac rev cut diff cmp comm wc grep egrep fgrep stat du df pwd echo true false cd
    basename dirname realpath readlink which type command od hexdump strings sha256sum md5sum jq whoami id
    uname nproc
    """.split()
)
"""Programs that only read, whatever their arguments are."""
_FOLDERS = ("/bin/", "/usr/bin/", "/usr/local/bin/")
"""A program in one of these folders is the one that its name says; one in the repository may be anything."""
_SHELLS = frozenset("bash sh dash zsh".split())
_SCRIPT = re.compile(r"-[a-hj-z]*c")
"""Options of a shell that is not interactive, so that it reads no file first."""


@dataclass(frozen=True, slots=True)
class _But:
    """The options with which a program writes a file or starts another one. `most`: it reads this many
    operands."""

    letters: str = ""
    longs: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    most: int | None = None


_BUT = {
    "sort": _But("o", ("--output", "--compress-program")),
    "uniq": _But(most=1),
    "xxd": _But("r", most=1),
    "tree": _But("oR"),
    "file": _But("C", ("--compile",)),
    "date": _But(longs=("--set",), words=("-s",)),
    "rg": _But(longs=("--pre", "--hostname-bin")),
    "ag": _But(longs=("--pager",)),
    "fd": _But("xX", ("--exec", "--exec-batch")),
    "fdfind": _But("xX", ("--exec", "--exec-batch")),
    "find": _But(words=("-fprint", "-fprint0", "-fprintf", "-fls", "-delete")),
    "printf": _But("v"),
    "test": _But(words=("-v", "-R")),
    "[": _But(words=("-v", "-R")),
    "less": _But("oOkKT", ("--log-file", "--LOG-FILE", "--lesskey", "--tag-file"), ("+",)),
    "more": _But(words=("+",)),
}
_GIT = _But(longs=("--output", "--ext-diff", "--textconv", "--open-files-in-pager", "--filters"))
_GIT_GREP = _But("O", _GIT.longs)
_GIT_LOOKS = frozenset(
    "status log diff show blame grep ls-files ls-tree rev-parse rev-list cat-file describe shortlog".split()
)
_EXACT = frozenset({"--text"})
"""Harmless options that begin like one of the above."""
_QUIET = frozenset("LANG LANGUAGE TZ COLUMNS LINES NO_COLOR CLICOLOR TERM GIT_OPTIONAL_LOCKS".split())


def only_looks(name: str, words: Sequence[ShellWord]) -> bool:
    """Whether this call only reads. Other calls that the program starts are judged separately."""
    folder, _, program = name.rpartition("/")
    if folder and f"{folder}/" not in _FOLDERS:
        return False
    if program in _PLAIN:
        return True
    if program in _SHELLS:
        return bool(words) and _SCRIPT.fullmatch(words[0].text or "") is not None
    if program == "env":
        return all(word.text is not None and "=" not in word.text for word in words)
    if program == "git":
        return _git(words)
    return program in _BUT and _is_harmless(_BUT[program], words)


def is_quiet(variable: str) -> bool:
    """Check whether it changes only how things are shown."""
    return variable in _QUIET or variable.startswith("LC_")


def _git(words: Sequence[ShellWord]) -> bool:
    verb = words[0].text if words else None
    return verb in _GIT_LOOKS and _is_harmless(_GIT_GREP if verb == "grep" else _GIT, words[1:])


def _is_harmless(but: _But, words: Sequence[ShellWord]) -> bool:
    ends = next((at for at, word in enumerate(words) if word.text == "--"), len(words))
    if any(_may_be_option(word) for word in words[:ends]):
        return False
    args = [word.text or "" for word in words[:ends]]
    files = [word for word in args if word[:1] != "-" and not word.isdigit()] + [""] * (len(words) - ends)
    too_many = but.most is not None and len(files) > but.most
    return not too_many and not any(_is_of(but, word) for word in args)


def _may_be_option(word: ShellWord) -> bool:
    """Whether the word may be an option: it is made while the script runs, or file names may give it."""
    text = word.text
    return text is None or (word.glob and text[:1] in ("*", "?", "[")) or ("{" in text and "," in text)


def _is_of(but: _But, word: str) -> bool:
    """Whether the word is one of these options: as a letter in a bundle, or as an unambiguous beginning."""
    if word.startswith(but.words or ("\0",)):
        return True
    if word.startswith("--"):
        name = word.partition("=")[0]
        return len(name) > 2 and name not in _EXACT and any(one.startswith(name) for one in but.longs)
    return word[:1] == "-" and bool(set(but.letters).intersection(word[1:]))
