"""Reads a whole shell script: its most serious action, its commands as plain lines, the paths that it names.

A part that cannot be analyzed is `unknown`, which no level allows: a program or script that is generated
while the script runs; code in another language; a shell with input; an alias. A named program counts as the
program of that name. The work of a program (a build, a test, a script in a file) is not analyzed: the sandbox
confines it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from node_agent.policy.commands.effects import git_action, is_quiet, only_looks
from node_agent.policy.commands.programs import Touched, Use, find_touched, plain_action
from node_agent.policy.commands.tree import MOST_CALLS, Redirect, ShellWord, parse_script
from node_agent.policy.commands.wrappers import find_inner
from node_agent.wire.policy import ActionClass

A = ActionClass
GRAVITY = (A.SYSTEM, A.GIT_DESTRUCTIVE, A.UNKNOWN, A.GIT_PUSH, A.SHELL_DESTRUCTIVE, A.FILE_DELETE, A.SHELL)
"""The action classes, the most serious first."""
MOST_NESTED = 8
_COMMAND_VARIABLES = ("_COMMAND", "EDITOR", "PAGER", "ASKPASS", "GIT_SSH", "EXTERNAL_DIFF")
_HIDING_VARIABLES = ("BASH_ENV", "ENV", "LD_PRELOAD", "LD_AUDIT", "GIT_CONFIG", "GIT_EXEC_PATH")
_RESERVED = frozenset(
    "if then else elif fi for while until do done case esac in select function { } [[ ]] !".split()
)
"""The shell's reserved words; if one is in a program's position, the shell and the parser read the script
differently."""
_REWRITTEN = re.compile(r"\(\(|\$\[|\[\[|\[ [^]]*-[vR] |\$\{[^}]*[^A-Za-z0-9_}]|\bfor\s+[a-z_]*[A-Z]")
"""Arithmetic, and texts made from a variable, whose content might be run; also a loop that might set PATH."""
_EVALUATED = re.compile(r"[^\[]*\[.*?(\$+\(|`|\$\{[\s|]|@P\})", re.DOTALL)
"""A literal with a substitution after a `[`: if bash evaluates the literal as arithmetic, it runs that."""
_NAMERS = frozenset("let declare typeset local export readonly read unset wait mapfile readarray".split())
_NAMERS_BY_OPTION = frozenset("printf test [".split())
"""Shell builtins that evaluate a subscript in a word, either always or only with `-v` or `-R`."""
_NUMBERS = ("RANDOM", "OPTIND", "HISTCMD", "SECONDS", "LINENO")
_HARMLESS = ("/dev/null", "/dev/stdout", "/dev/stderr", "/dev/tty", "/dev/zero", "/dev/fd")
_OF_SYSTEM = (
    "/etc",
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/boot",
    "/sys",
    "/proc",
    "/dev",
    "/opt",
    "/root",
)


@dataclass(frozen=True, slots=True)
class CommandAction:
    """One call: its class, and its words as one line, with `?` for a word that is generated while the script
    runs.

    `looks`: whether the call changes nothing.
    """

    action: ActionClass
    line: str
    looks: bool = False


@dataclass(slots=True)
class ScriptReading:
    """What a script does, as far as this can be determined."""

    acts: list[CommandAction] = field(default_factory=list)
    touches: list[Touched] = field(default_factory=list)
    plain: bool = True
    """Whether nothing in the script changes the meaning of its calls or writes to an unknown place."""
    literals: list[str] = field(default_factory=list)
    sums: bool = False
    """Whether the script evaluates text as arithmetic, or as a name with a subscript."""

    @property
    def gravest(self) -> CommandAction:
        """Return the most serious action; an empty one for a script that does nothing."""
        return min(self.acts, key=lambda act: GRAVITY.index(act.action), default=CommandAction(A.SHELL, ""))

    @property
    def action(self) -> ActionClass:
        return self.gravest.action

    @property
    def only_looks(self) -> bool:
        """Whether the script changes nothing: every call is known to be harmless."""
        looking = self.plain and all(act.looks for act in self.acts)
        return looking and all(one.use is Use.READ or one.path == "/dev/null" for one in self.touches)


def read_command(text: str) -> ScriptReading:
    """Return the reading of a shell script or any other text; never raises."""
    reading = ScriptReading()
    _read_script(reading, text, 0)
    if reading.sums:
        for hidden in filter(_EVALUATED.match, tuple(reading.literals)):
            reading.acts.append(CommandAction(A.UNKNOWN, hidden[:500]))
            _read_script(reading, f': "{hidden}"', 1)  # the part of the text that bash runs
    return reading


def _read_script(reading: ScriptReading, text: str, depth: int) -> None:
    script = parse_script(text)
    reading.literals += script.literals
    reading.sums = reading.sums or script.sums
    reading.plain = reading.plain and _REWRITTEN.search(text) is None
    if not script.whole or depth > MOST_NESTED or len(reading.acts) > MOST_CALLS:
        reading.acts.append(CommandAction(A.UNKNOWN, " ".join(text.split())[:500]))
    if depth <= MOST_NESTED and len(reading.acts) <= MOST_CALLS:
        for call in script.calls:
            for name, value in call.sets:
                _read_variable(reading, name, value, depth)
            for redirect in call.redirects:
                _read_redirect(reading, redirect)
            if call.words:
                _read_words(reading, call.words, call.fed, depth)


def _read_variable(reading: ScriptReading, name: str, value: ShellWord, depth: int) -> None:
    """Record that a variable is set: some variables are commands, or name files that are run."""
    reading.sums = reading.sums or name in _NUMBERS
    traced = name == "PS4" and (value.text is None or "$(" in value.text or "`" in value.text)
    if traced or name.startswith(_HIDING_VARIABLES[4:]) or name in _HIDING_VARIABLES:
        reading.acts.append(CommandAction(A.UNKNOWN, f"{name}={value.text or '?'}"))
    elif name.endswith(_COMMAND_VARIABLES):
        if value.text is None:
            reading.acts.append(CommandAction(A.UNKNOWN, f"{name}=?"))
        else:
            _read_script(reading, value.text, depth + 1)
    elif not is_quiet(name):
        reading.plain = False


def _read_redirect(reading: ScriptReading, redirect: Redirect) -> None:
    path = redirect.target.text
    if path is None:
        reading.plain = reading.plain and not redirect.writes
        return  # the command writes an unknown file, which shells may do
    use = Use.WRITE if redirect.writes else Use.READ
    reading.touches.append(Touched(path, use, redirect.target.glob))
    if redirect.writes:
        _add_place(reading, path, f"> {path}")


def _add_place(reading: ScriptReading, path: str, line: str) -> None:
    grave = grave_place(path)
    if grave is not None:
        reading.acts.append(CommandAction(grave, line))


def grave_place(path: str) -> ActionClass | None:
    """Return the class of a change to a sensitive path, such as git's own or the system's files; None for
    others."""
    folded = posixpath.normpath(path)
    if ".git" in folded.split("/"):
        return A.GIT_DESTRUCTIVE
    if not folded.startswith(_HARMLESS) and any(_is_below(folded, top) for top in _OF_SYSTEM):
        return A.SYSTEM
    return None


def _is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(top + "/")


def _read_words(reading: ScriptReading, words: Sequence[ShellWord], fed: bool, depth: int) -> None:
    line, first = " ".join("?" if word.text is None else word.text for word in words)[:2_000], words[0]
    if first.text is None or first.glob or _is_no_program(first.text) or depth > MOST_NESTED:
        reading.acts.append(CommandAction(A.UNKNOWN, line))
        return
    program = first.text.rpartition("/")[2]
    by_option = any((word.text or "-v")[:2] in ("-v", "-R") for word in words[1:])
    reading.sums = reading.sums or program in _NAMERS or (program in _NAMERS_BY_OPTION and by_option)
    found = find_inner(program, words[1:], fed)
    if found is None:
        own = _classify_program(program, words[1:], fed)
        reading.acts.append(CommandAction(own, line, own is A.SHELL and only_looks(first.text, words[1:])))
        _touch(reading, program, words[1:], line)
        return
    looks = found.own is A.SHELL and only_looks(first.text, words[1:])
    reading.acts.append(CommandAction(found.own, line, looks))
    for name, value in found.sets:
        _read_variable(reading, name, value, depth)
    for call in found.calls:
        _read_words(reading, call, fed, depth + 1)
    for text in found.scripts:
        reading.literals = [one for one in reading.literals if one != text]  # the text is checked as a script
        _read_script(reading, text, depth + 1)
    if not (found.calls or found.scripts) or program in ("find", "fd", "fdfind"):
        _touch(reading, program, words[1:], line)


def _is_no_program(name: str) -> bool:
    return name in _RESERVED or "=" in name


def _classify_program(program: str, words: Sequence[ShellWord], fed: bool) -> ActionClass:
    return git_action(words) if program == "git" else plain_action(program, words, fed)


def _touch(reading: ScriptReading, program: str, words: Sequence[ShellWord], line: str) -> None:
    for one in _find_paths(program, words):
        reading.touches.append(one)
        if one.use is not Use.READ:
            _add_place(reading, one.path, line)


def _find_paths(program: str, words: Sequence[ShellWord]) -> Iterator[Touched]:
    if program == "git" and words and words[0].text in ("rm", "mv"):
        yield from find_touched(words[0].text, words[1:])
    elif program == "find" and any(word.text == "-delete" for word in words):
        yield from (Touched(one.path, Use.DELETE, one.glob) for one in find_touched(program, words))
    else:
        yield from find_touched(program, words)
