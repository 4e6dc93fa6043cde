"""Decides whether a command only reads, and how a git command affects history, server and files. Pure.

The result decides whether a read-only run may run the command. So every doubtful command, such as one with an
option that is generated while the script runs, counts as a command that writes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from node_agent.policy.commands.tree import ShellWord
from node_agent.wire.policy import ActionClass

A = ActionClass
_WITH_VALUE = frozenset("-C --git-dir --work-tree --namespace --super-prefix --attr-source".split())
_FLAGS = frozenset(
    """--no-pager -p --paginate -P --bare --no-replace-objects --literal-pathspecs --glob-pathspecs
    --noglob-pathspecs --icase-pathspecs --no-optional-locks --version --help -v -h""".split()
)
_STARTS_PROGRAMS = """
    alias. command editor pager fsmonitor external askpass proxy helper textconv clean smudge process driver
    cmd program path hookspath include
""".split()
"""Endings of keys (or beginnings, with a dot) whose value git runs, or from which it reads more such keys."""
_PLAIN_VERBS = frozenset(
    """
    add am annotate apply archive bisect blame branch bundle cat-file check-attr check-ignore checkout cherry
    cherry-pick clone commit commit-tree config count-objects describe diff diff-files diff-index diff-tree
    fetch for-each-ref format-patch fsck grep hash-object help init log ls-files ls-remote ls-tree merge
    merge-base merge-file mv name-rev notes pull range-diff read-tree remote rerere rev-list rev-parse revert
    rm shortlog show show-branch show-ref sparse-checkout stash status submodule switch symbolic-ref tag
    update-index var verify-commit version whatchanged worktree write-tree restore reset clean reflog gc lfs
    """.split()
)
_REWRITES = frozenset(
    "rebase filter-branch filter-repo prune update-ref replace fast-import repack prune-packed".split()
)
_REWRITING: dict[str, tuple[str, tuple[str, ...]]] = {
    "reset": ("", ("--hard", "--merge", "--keep")),
    "clean": ("f", ("--force",)),
    "branch": ("DM", ()),
    "commit": ("", ("--amend",)),
    "reflog": ("", ("expire", "delete")),
    "stash": ("", ("drop", "clear")),
    "tag": ("df", ("--delete", "--force")),
    "gc": ("", ("--prune",)),
}
"""Git verbs, with the option letters and words that remove commits or the last names of commits."""
_LATER_SCRIPT = {("bisect", "run"), ("submodule", "foreach")}


def git_action(words: Sequence[ShellWord]) -> ActionClass:
    """Return the class of a git command. `words`: the words after `git`."""
    rest = list(words)
    while rest and (rest[0].text or "").startswith("-"):
        option = rest.pop(0).text or ""
        if option.split("=")[0] in ("-c", "--config-env", "--exec-path"):
            if option == "-c" and rest and not _starts_program(rest[0].text):
                rest.pop(0)
                continue
            return A.UNKNOWN
        if option in _WITH_VALUE and rest:
            rest.pop(0)
        elif option.split("=")[0] not in (*_WITH_VALUE, *_FLAGS):
            return A.UNKNOWN
    if not rest:
        return A.SHELL
    verb = rest[0].text
    return A.UNKNOWN if verb is None else _classify_verb(verb, rest[1:])


def _starts_program(setting: str | None) -> bool:
    """Whether this `key=value` makes git run a program."""
    key = (setting or "alias.").partition("=")[0].lower()
    return any(key.startswith(end) if end.endswith(".") else key.endswith(end) for end in _STARTS_PROGRAMS)


def _classify_verb(verb: str, words: Sequence[ShellWord]) -> ActionClass:
    args = [word.text for word in words if word.text is not None]
    if verb == "push":
        return _push(args, len(args) == len(words))
    if verb in _REWRITES or _is_rewrite(verb, args):
        return A.GIT_DESTRUCTIVE
    if _throws_away(verb, args):
        return A.SHELL_DESTRUCTIVE
    if verb == "rm":
        return A.FILE_DELETE if "--cached" not in args else A.SHELL
    if verb == "config":
        return _classify_config(args)
    hidden = (verb, args[0] if args else "") in _LATER_SCRIPT or any(
        word.startswith("--exec") for word in args
    )
    return A.SHELL if verb in _PLAIN_VERBS and not hidden else A.UNKNOWN


def _push(args: Sequence[str], known: bool) -> ActionClass:
    """Return the class of a push. An unknown argument could be `--force`."""
    gone = ("--force", "--mirror", "--delete", "--prune")
    for word in args:
        if word.startswith(gone) or word[:1] == "+" or (word[:1] == ":" and len(word) > 1):
            return A.GIT_DESTRUCTIVE
        if word[:1] == "-" and word[:2] != "--" and set("fd").intersection(word[1:]):
            return A.GIT_DESTRUCTIVE
    return A.GIT_PUSH if known else A.UNKNOWN


def _is_rewrite(verb: str, args: Sequence[str]) -> bool:
    """Whether the command loses commits, or the only names that lead to them."""
    letters, words = _REWRITING.get(verb, ("", ()))
    if verb == "branch" and "--delete" in args and "--force" in args:
        return True
    return (bool(letters) and _has_letter(args, letters)) or any(w.split("=")[0] in words for w in args)


def _throws_away(verb: str, args: Sequence[str]) -> bool:
    """Whether the command loses uncommitted work."""
    if verb == "checkout":
        return "--" in args or "--force" in args or _has_letter(args, "f") or "." in args
    if verb == "switch":
        return "--force" in args or "--discard-changes" in args or _has_letter(args, "f")
    return verb == "restore" and ("--staged" not in args or "--worktree" in args)


def _classify_config(args: Sequence[str]) -> ActionClass:
    if any(word in ("--global", "--system") for word in args):
        words = [word for word in args if not word.startswith("-")]
        return A.SYSTEM if len(words) > 1 or _has_letter(args, "e") else A.SHELL
    keys = [word for word in args if "." in word]
    return A.UNKNOWN if any(_starts_program(key) for key in keys) and len(args) > 1 else A.SHELL


def _has_letter(args: Sequence[str], letters: str) -> bool:
    return any(w[:1] == "-" and w[:2] != "--" and bool(set(letters).intersection(w[1:])) for w in args)


_PLAIN = frozenset(
    """
    ls cat head tail nl tac rev cut diff cmp comm wc grep egrep fgrep stat du df pwd echo true false cd
    basename dirname realpath readlink which type command od hexdump strings sha256sum md5sum jq whoami id
    uname nproc
    """.split()
)
"""Programs that only read, with any arguments."""
_FOLDERS = ("/bin/", "/usr/bin/", "/usr/local/bin/")
"""A program in one of these folders is what its name says; one in the repository may be anything."""
_SHELLS = frozenset("bash sh dash zsh".split())
_SCRIPT = re.compile(r"-[a-hj-z]*c")
"""The options of a non-interactive shell, which reads no startup file."""


@dataclass(frozen=True, slots=True)
class _But:
    """The options with which a program that otherwise only reads writes a file or starts another program.
    `most`: the maximum number of operands with which the program only reads."""

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
"""Harmless options that begin like one of the options above."""
_QUIET = frozenset("LANG LANGUAGE TZ COLUMNS LINES NO_COLOR CLICOLOR TERM GIT_OPTIONAL_LOCKS".split())


def only_looks(name: str, words: Sequence[ShellWord]) -> bool:
    """Whether this call only reads. Calls of other programs that it starts are checked separately."""
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
        verb = words[0].text if words else None
        return verb in _GIT_LOOKS and _is_harmless(_GIT_GREP if verb == "grep" else _GIT, words[1:])
    return program in _BUT and _is_harmless(_BUT[program], words)


def is_quiet(variable: str) -> bool:
    """Whether the environment variable changes only how output is displayed."""
    return variable in _QUIET or variable.startswith("LC_")


def _is_harmless(but: _But, words: Sequence[ShellWord]) -> bool:
    ends = next((at for at, word in enumerate(words) if word.text == "--"), len(words))
    if any(_may_be_option(word) for word in words[:ends]):
        return False
    args = [word.text or "" for word in words[:ends]]
    files = [word for word in args if word[:1] != "-" and not word.isdigit()] + [""] * (len(words) - ends)
    too_many = but.most is not None and len(files) > but.most
    return not too_many and not any(_is_of(but, word) for word in args)


def _may_be_option(word: ShellWord) -> bool:
    """Whether the word may be an option, because its text is generated while the script runs or by file
    names."""
    text = word.text
    return text is None or (word.glob and text[:1] in ("*", "?", "[")) or ("{" in text and "," in text)


def _is_of(but: _But, word: str) -> bool:
    """Whether the word is one of these options: a letter in a bundle, or an unambiguous abbreviation."""
    if word.startswith(but.words or ("\0",)):
        return True
    if word.startswith("--"):
        name = word.partition("=")[0]
        return len(name) > 2 and name not in _EXACT and any(one.startswith(name) for one in but.longs)
    return word[:1] == "-" and bool(set(but.letters).intersection(word[1:]))
