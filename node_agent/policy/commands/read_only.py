"""Decides whether a command only reads: a known program without options that change anything. Pure.

It decides what a run may do that changes nothing. So whatever is in doubt, such as an option that is made
while the script runs, is no look.
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
"""Whatever their words are, they only look."""
_FOLDERS = ("/bin/", "/usr/bin/", "/usr/local/bin/")
"""A program of these is what its name says; one of the repository's own may be anything."""
_SHELLS = frozenset("bash sh dash zsh".split())
_SCRIPT = re.compile(r"-[a-hj-z]*c")
"""Not interactive, so that no file is read before."""


@dataclass(frozen=True, slots=True)
class _But:
    """Options with which a program writes a file or starts another one. `most`: of its operands are read."""

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
"""Beginnings of the above that are options of their own, and harmless."""
_QUIET = frozenset("LANG LANGUAGE TZ COLUMNS LINES NO_COLOR CLICOLOR TERM GIT_OPTIONAL_LOCKS".split())


def only_looks(name: str, words: Sequence[ShellWord]) -> bool:
    """A call of the program with these words behind it. What other calls it makes is judged by itself."""
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
    """Check whether it changes nothing but how things are shown."""
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
    """Made while it runs, or by what names the files have."""
    text = word.text
    return text is None or (word.glob and text[:1] in ("*", "?", "[")) or ("{" in text and "," in text)


def _is_of(but: _But, word: str) -> bool:
    """One of its options: as a letter in a bundle, or as long as it takes for no other to be meant."""
    if word.startswith(but.words or ("\0",)):
        return True
    if word.startswith("--"):
        name = word.partition("=")[0]
        return len(name) > 2 and name not in _EXACT and any(one.startswith(name) for one in but.longs)
    return word[:1] == "-" and bool(set(but.letters).intersection(word[1:]))
