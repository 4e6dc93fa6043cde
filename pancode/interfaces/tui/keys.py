"""The keys: what each does; the footer and the palette are made from this table."""

from __future__ import annotations

from textual.binding import Binding

LEAVE = Binding("ctrl+c", "app.quit", show=False, priority=True)


def _act(key: str, name: str, tooltip: str, label: str = "", short: str = "") -> Binding:
    """Return a key that acts on the marked thing. `short`: its words in the footer; empty: not there."""
    return Binding(key, f"act({name!r})", short, bool(short), label or key, tooltip=tooltip)


def _view(key: str, name: str, tooltip: str, short: str = "") -> Binding:
    return Binding(key, f"view({name!r})", short, bool(short), key, tooltip=tooltip)


def _do(
    key: str, name: str, tooltip: str, label: str = "", short: str = "", priority: bool = False
) -> Binding:
    return Binding(key, name, short, bool(short), label or key, tooltip=tooltip, priority=priority)


KEYS = (
    _do("enter", "go_in", "go in: to the run, node, question ...; talk with a session", "Enter"),
    _do("escape", "back", "go back; end a filter", "Esc"),
    _do("space", "mark", "mark the run for an act on several; the question names each", "Space"),
    _do("equals_sign", "compare", "compare the two marked runs", "="),
    _act("D", "drain", "drain the node, or resume it (asks)", short="drain"),
    _act("a", "approve", "answer the question, or approve the change (asks)", short="answer"),
    _do("n", "log('n')", "in a log: to the next line with the word of the last filter"),
    _do("N", "log('N')", "in a log: to the line before with that word"),
    _act("n", "deny", "deny: say no (asks)", short="no"),
    _act("b", "begin", "begin work on the issue (asks)", short="begin"),
    _view("w", "why", "why: every decision about the run", "why"),
    _view("l", "log", "the log of the run, as it grows", "log"),
    _view("d", "diff", "the diff: what the run changed", "diff"),
    _view("v", "receipt", "verify the receipt of the run"),
    _act("s", "stop", "stop the run or the workflow (asks)", short="stop"),
    _act("ctrl+k", "stop", "as s", "Ctrl-K"),
    _act("r", "retry", "retry the run or the workflow (asks)", short="retry"),
    _act("L", "land", "land the change of the run (asks)", short="land"),
    _act("c", "continue", "continue with your message, or with what failed (asks)"),
    _act("C", "resolve", "let an agent settle the conflict of the landing (asks)"),
    _act("x", "drop", "drop the change (asks)"),
    _act("t", "tell", "send the agent of the run a message"),
    # With priority, the prompt is open before the next key of the same burst (a paste, a slow link) is read.
    _do("colon", "ask_resource", "go to a resource; Tab completes", ":", "go", priority=True),
    _do("slash", "ask_filter", "filter what is shown", "/", "find", priority=True),
    _do("question_mark", "palette", "these keys; typing filters them", "?", "keys"),
    _do("q", "leave", "leave, as :quit and Ctrl-C", short="quit"),
    _do("o", "order(False)", "order the rows by the next column; behind the last one as they come"),
    _do("O", "order(True)", "turn the order round"),
    _do("y", "copy", "copy the id to the clipboard (OSC 52)"),
    _do("i", "inbox", "the inbox"),
    _do("R", "again", "read everything again now"),
    _do("j", "down", "down one line", "j / Down"),
    _do("k", "up", "up one line; a log stops following", "k / Up"),
    _do("h", "back", "go back, as Esc"),
    _do("g", "top", "to the beginning", "g / Home"),
    _do("G", "bottom", "to the end; a log follows again", "G / End"),
    _do("e", "log('e')", "in a log: to the next line with an error"),
    _do("f", "log('f')", "in a log: to the end, and follow it"),
    _do("z", "log('z')", "in a log: wrap long lines, or cut them"),
    _do("S", "log('S')", "in a log: save it as RUN.log in this folder"),
    _do("left", "left", "a wide text sideways", "Left / Right"),
)
"""`down`, `up`, `top`, `bottom` and `left` are done by the widget that has the focus."""


def label_of(key: Binding) -> str:
    return key.key_display or key.key
