"""The keys: what each does, and where; the footer and the help are made from this table."""

from __future__ import annotations

from dataclasses import dataclass

from pancode.interfaces.tui.page import Line

_RUN = frozenset({"run"})


@dataclass(frozen=True, slots=True)
class Key:
    """A key, by its name in Textual (`press`). `kinds`: of things it acts on; empty: it acts on none.

    `act`: its name in `ACTS`. `view`: the view that it opens. `moves`: another binding handles the key.
    """

    press: str
    label: str
    words: str
    kinds: frozenset[str] = frozenset()
    act: str = ""
    view: str = ""
    in_footer: bool = True
    moves: bool = False


KEYS: tuple[Key, ...] = (
    Key("enter", "Enter", "go in: to the run, machine, question ...; talk with a session", in_footer=False),
    Key("escape", "Esc", "go back; end a filter", in_footer=False),
    Key("colon", ":", "go to a resource; Tab completes"),
    Key("slash", "/", "filter what is shown"),
    Key("question_mark", "?", "these keys; typing filters them"),
    Key("D", "D", "drain the machine, or resume it (asks)", frozenset({"node"}), act="drain"),
    Key("a", "a", "answer the question, or approve the change (asks)", frozenset({"item"}), act="approve"),
    Key("n", "n", "deny: say no (asks)", frozenset({"item"}), act="deny"),
    Key("b", "b", "begin work on the issue, as pancode work (asks)", frozenset({"issue"}), act="begin"),
    Key("w", "w", "why: every decision about the run", _RUN, view="why"),
    Key("l", "l", "the log of the run, as it grows", _RUN, view="log"),
    Key("d", "d", "the diff: what the run changed", _RUN, view="diff"),
    Key("v", "v", "verify the receipt of the run", _RUN, view="receipt", in_footer=False),
    Key("s", "s", "stop the run or the workflow (asks)", frozenset({"run", "workflow"}), act="stop"),
    Key("ctrl+k", "Ctrl-K", "as s", frozenset({"run", "workflow"}), act="stop", in_footer=False),
    Key("r", "r", "retry the run or the workflow (asks)", frozenset({"run", "workflow"}), act="retry"),
    Key("L", "L", "land the change of the run (asks)", _RUN, act="land"),
    Key(
        "c",
        "c",
        "continue with your message, or with what failed (asks)",
        frozenset({"run", "workflow"}),
        act="continue",
        in_footer=False,
    ),
    Key(
        "C",
        "C",
        "let an agent settle the conflict of the landing (asks)",
        _RUN,
        act="resolve",
        in_footer=False,
    ),
    Key("V", "V", "let another node run the gates (asks)", _RUN, act="verify", in_footer=False),
    Key("x", "x", "put the change aside: nobody wants it (asks)", _RUN, act="drop", in_footer=False),
    Key("t", "t", "tell the agent of the run something", _RUN, act="tell", in_footer=False),
    Key("o", "o", "order the rows by the next column; behind the last one as they come", in_footer=False),
    Key("O", "O", "turn the order round", in_footer=False),
    Key("y", "y", "copy the id to the clipboard (OSC 52)", in_footer=False),
    Key("i", "i", "the inbox", in_footer=False),
    Key("R", "R", "read everything again now", in_footer=False),
    Key("j", "j / Down", "down one line", in_footer=False, moves=True),
    Key("k", "k / Up", "up one line; a log stops following", in_footer=False, moves=True),
    Key("h", "h", "go back, as Esc", in_footer=False, moves=True),
    Key("g", "g / Home", "to the begin", in_footer=False, moves=True),
    Key("G", "G / End", "to the end; a log follows again", in_footer=False, moves=True),
    Key("left", "Left / Right", "a wide text sideways", in_footer=False, moves=True),
    Key("q", "q", "leave, as :quit and Ctrl-C"),
)


_SHORT = {
    "colon": "go to", "slash": "filter", "question_mark": "keys", "w": "why", "l": "log", "d": "diff",
    "s": "stop", "r": "retry", "L": "land", "D": "drain", "a": "answer", "n": "deny",
    "b": "begin", "q": "quit",
}  # fmt: skip


def list_footer_keys(kinds: frozenset[str]) -> list[tuple[Key, str]]:
    """Return the keys that fit a thing of these kinds, each with its short words."""
    fitting = [key for key in KEYS if key.in_footer and (not key.kinds or key.kinds & kinds)]
    return [(key, _SHORT[key.press]) for key in fitting]


def help_lines(word: str) -> list[Line]:
    """Return a line for each key, or for those whose words contain this one."""
    wanted = word.casefold()
    found = [key for key in KEYS if wanted in f"{key.label} {key.words}".casefold()]
    return [((f"  {key.label:<14}", "bold"), (key.words, "")) for key in found] or [
        (("  no such key", "dim"),)
    ]
