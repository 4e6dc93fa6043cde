"""Classifies a git command: its effect on history, the server, files, and its own configuration."""

from __future__ import annotations

from collections.abc import Sequence

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
_PLAIN = frozenset(
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
"""Verbs, with the letters and words with which they remove commits, or the only names of commits."""
_LATER_SCRIPT = {("bisect", "run"), ("submodule", "foreach")}


def git_action(words: Sequence[ShellWord]) -> ActionClass:
    """The class of a git command. `words`: the words after `git`."""
    rest = list(words)
    while rest and (rest[0].text or "").startswith("-"):
        option = rest.pop(0).text or ""
        if option.split("=")[0] in ("-c", "--config-env", "--exec-path"):
            if option == "-c" and rest and not _starts(rest[0].text):
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
    return A.UNKNOWN if verb is None else _verb(verb, rest[1:])


def _starts(setting: str | None) -> bool:
    """Check whether `key=value` makes git run something."""
    key = (setting or "alias.").partition("=")[0].lower()
    return any(key.startswith(end) if end.endswith(".") else key.endswith(end) for end in _STARTS_PROGRAMS)


def _verb(verb: str, words: Sequence[ShellWord]) -> ActionClass:
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
        return _config(args)
    hidden = (verb, args[0] if args else "") in _LATER_SCRIPT or any(
        word.startswith("--exec") for word in args
    )
    return A.SHELL if verb in _PLAIN and not hidden else A.UNKNOWN


def _push(args: Sequence[str], known: bool) -> ActionClass:
    """The class of a push. An unknown argument could be `--force`."""
    gone = ("--force", "--mirror", "--delete", "--prune")
    for word in args:
        if word.startswith(gone) or word[:1] == "+" or (word[:1] == ":" and len(word) > 1):
            return A.GIT_DESTRUCTIVE
        if word[:1] == "-" and word[:2] != "--" and set("fd").intersection(word[1:]):
            return A.GIT_DESTRUCTIVE
    return A.GIT_PUSH if known else A.UNKNOWN


def _is_rewrite(verb: str, args: Sequence[str]) -> bool:
    """Check whether commits are lost, or the only names by which they are found."""
    letters, words = _REWRITING.get(verb, ("", ()))
    if verb == "branch" and "--delete" in args and "--force" in args:
        return True
    return (bool(letters) and _letter(args, letters)) or any(w.split("=")[0] in words for w in args)


def _throws_away(verb: str, args: Sequence[str]) -> bool:
    """Check whether uncommitted work is lost."""
    if verb == "checkout":
        return "--" in args or "--force" in args or _letter(args, "f") or "." in args
    if verb == "switch":
        return "--force" in args or "--discard-changes" in args or _letter(args, "f")
    return verb == "restore" and ("--staged" not in args or "--worktree" in args)


def _config(args: Sequence[str]) -> ActionClass:
    if any(word in ("--global", "--system") for word in args):
        words = [word for word in args if not word.startswith("-")]
        return A.SYSTEM if len(words) > 1 or _letter(args, "e") else A.SHELL
    keys = [word for word in args if "." in word]
    return A.UNKNOWN if any(_starts(key) for key in keys) and len(args) > 1 else A.SHELL


def _letter(args: Sequence[str], letters: str) -> bool:
    return any(w[:1] == "-" and w[:2] != "--" and bool(set(letters).intersection(w[1:])) for w in args)
