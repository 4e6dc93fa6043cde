"""Finds the command inside a command: `env`, `xargs`, `sh -c`, `find -exec` and similar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from node_agent.policy.commands.tree import ShellWord
from node_agent.wire.policy import ActionClass

A = ActionClass
Words = Sequence[ShellWord]


@dataclass(frozen=True, slots=True)
class Inside:
    """The calls that a call starts: `calls` by their words, `scripts` by their text.

    `own`: the class of the call itself; unknown if it runs a script that is generated at run time. `sets`:
    the variables that the call sets for the calls in it.
    """

    calls: tuple[tuple[ShellWord, ...], ...] = ()
    scripts: tuple[str, ...] = ()
    own: ActionClass = A.SHELL
    sets: tuple[tuple[str, ShellWord], ...] = ()


_UNKNOWN = Inside(own=A.UNKNOWN)
_SHELLS = frozenset("sh bash dash ash zsh ksh mksh fish rbash".split())
_PREFIXES: dict[str, tuple[str, int]] = {
    "env": ("-u --unset -C --chdir -a --argv0", 0),
    "nice": ("-n --adjustment", 0),
    "ionice": ("-c -n -p", 0),
    "timeout": ("-s --signal -k --kill-after", 1),
    "nohup": ("", 0),
    "setsid": ("", 0),
    "stdbuf": ("-i -o -e --input --output --error", 0),
    "unbuffer": ("", 0),
    "time": ("-f --format -o --output", 0),
    "taskset": ("", 1),
    "chrt": ("", 1),
    "command": ("", 0),
    "builtin": ("", 0),
    "exec": ("-a", 0),
    "coproc": ("", 0),
    "busybox": ("", 0),
    "toybox": ("", 0),
    "xargs": ("-a -d -E -I -i -L -l -n -P -s --arg-file --delimiter --max-args --max-procs --replace", 0),
    "sudo": ("-u -g -h -p -C -r -t -T -U -D -R --user --group --host --prompt --chdir --chroot", 0),
    "doas": ("-u -C", 0),
    "run0": ("-u --user", 0),
    "pkexec": ("--user", 0),
    "strace": ("-e -o -p -s -u", 0),
    "ltrace": ("-e -o -p -s -u", 0),
    "flock": ("-w --timeout -E", 1),
    "noglob": ("", 0),
    "nocorrect": ("", 0),
}
"""For each program: its options that take the next word, and the number of its own words before the
command."""
_ASKS_ONLY = ("-v", "-V")


def find_inner(program: str, words: Words, fed: bool) -> Inside | None:
    """Return the commands inside the call; None if the program starts no command from its arguments."""
    name = program.rstrip("0123456789.") if program.startswith(("bash", "zsh", "ksh")) else program
    if name in _SHELLS:
        return _shell(words, fed)
    special = _SPECIAL.get(program)
    if special is not None:
        return special(words)
    if program in _PREFIXES:
        return _read_prefix(program, words)
    return None


def _shell(words: Words, fed: bool) -> Inside:
    """Return the command of `sh -c SCRIPT` or `sh FILE`, or of a shell that reads its input."""
    for number, word in enumerate(words):
        if word.text is None:
            return _UNKNOWN
        if word.text in ("-s", "-"):
            return _UNKNOWN
        if word.text[:1] in "-+" and word.text[:2] != "--":
            if "c" in word.text[1:]:
                return _read_script(words[number + 1 : number + 2])
            continue
        if not word.text.startswith("--"):
            return Inside()
    return _UNKNOWN if fed else Inside()


def _read_script(words: Words) -> Inside:
    text = words[0].text if words else None
    return _UNKNOWN if text is None else Inside(scripts=(text,))


def _read_prefix(program: str, words: Words) -> Inside:
    valued, own = _PREFIXES[program]
    at = _after_options(words, valued.split(), program == "env")
    if program == "env" and any(
        (word.text or "").startswith(("-S", "--split")) for word in words[: (at or 0) + 1]
    ):
        return _split(words)
    if program in ("command", "exec") and words and words[0].text in _ASKS_ONLY:
        return Inside()
    if at is None:
        return _UNKNOWN
    rest = tuple(words[at + own :])
    action = A.SYSTEM if program in ("sudo", "doas", "run0", "pkexec") else A.SHELL
    if program == "flock" and rest and rest[0].text == "-c":
        return _read_script(rest[1:2])
    if program == "xargs" and rest:
        rest = (*rest, ShellWord(None))
    pairs = [(word.text or "").partition("=") for word in words[:at]] if program == "env" else []
    sets = tuple((name, ShellWord(value)) for name, sign, value in pairs if sign and name[:1] != "-")
    return Inside(calls=(rest,) if rest else (), own=action, sets=sets)


def _after_options(words: Words, valued: Sequence[str], assigns: bool) -> int | None:
    """Return the index at which the inner command begins; None if this is unknown before a real run."""
    at = 0
    while at < len(words):
        text = words[at].text
        if text is None:
            return None
        if text == "--":
            return at + 1
        is_option = text.startswith("-") and text != "-"
        if not is_option and not (assigns and "=" in text):
            return at
        at += 2 if text in valued else 1
    return at


def _split(words: Words) -> Inside:
    """Return the command in `env -S 'CMD ARG'`."""
    args = [word.text or "" for word in words]
    for number, text in enumerate(args):
        if text in ("-S", "--split-string"):
            return _read_script(words[number + 1 : number + 2])
        if text.startswith(("-S", "--split-string=")):
            return Inside(scripts=(text.removeprefix("--split-string=").removeprefix("-S"),))
    return _UNKNOWN


def _find(words: Words) -> Inside:
    """Return the commands of `-exec CMD ... ;`, which may occur several times, with `-delete` as find's own
    action."""
    calls, at = [], 0
    args = [word.text for word in words]
    while at < len(words):
        if args[at] in ("-exec", "-execdir", "-ok", "-okdir"):
            ends = [n for n in range(at + 1, len(words)) if args[n] in (";", "+")]
            end = ends[0] if ends else len(words)
            calls.append(tuple(words[at + 1 : end]))
            at = end
        at += 1
    own = A.SHELL_DESTRUCTIVE if "-delete" in args else A.SHELL
    return Inside(calls=tuple(call for call in calls if call), own=own)


def _read_fd(words: Words) -> Inside:
    """Return the command in `fd PATTERN -x CMD ...`."""
    for number, word in enumerate(words):
        if word.text in ("-x", "-X", "--exec", "--exec-batch"):
            return Inside(calls=(tuple(words[number + 1 :]),) if words[number + 1 :] else ())
    return Inside()


def _read_eval(words: Words) -> Inside:
    args = [word.text for word in words]
    return _UNKNOWN if None in args else Inside(scripts=(" ".join(text or "" for text in args),))


def _read_trap(words: Words) -> Inside:
    operands = [word for word in words if word.text not in ("--", "-")]
    return (
        Inside()
        if len(operands) < 2 or (operands[0].text or "-").startswith("-") and operands[0].text
        else _read_script(operands)
    )


def _read_alias(words: Words) -> Inside:
    """Return an unknown call: an alias renames a command, so later calls of that name cannot be checked."""
    return _UNKNOWN if any(word.text is None or "=" in word.text for word in words) else Inside()


def _calls_back(words: Words) -> Inside:
    """Read `mapfile -C`, `compgen -C` and `-W`, `complete -C`, which run or expand a word later."""
    options = [word.text for word in words if word.text is None or word.text[:1] == "-"]
    return _UNKNOWN if any(one is None or set("CFW") & set(one) for one in options) else Inside()


def _read_source(words: Words) -> Inside:
    return _UNKNOWN if not words or words[0].text is None else Inside()


def _mark_unknown(words: Words) -> Inside:
    """Return an unknown call: `watch`, `parallel`, `entr` and `script -c` have too many forms to parse."""
    return _UNKNOWN


_SPECIAL: dict[str, Callable[[Words], Inside]] = {
    "find": _find,
    "fd": _read_fd,
    "fdfind": _read_fd,
    "eval": _read_eval,
    "trap": _read_trap,
    "alias": _read_alias,
    **dict.fromkeys(("mapfile", "readarray", "compgen", "complete"), _calls_back),
    "source": _read_source,
    ".": _read_source,
    **dict.fromkeys(("watch", "parallel", "entr", "script", "expect", "screen", "tmux"), _mark_unknown),
}
