"""Checks and guesses names: the name that a user meant, the run for a prefix, and reserved names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pancode.kernel.errors import NotFoundError, UsageError
from pancode.kernel.formatting import first_few

LAST = "last"
ORCHESTRATOR = "panos"
"""The agent of a chat if the user names none."""
FLEET = "the fleet"
"""The sender of messages that inform an orchestrator how its runs ended."""
GATES = "the gates"
"""The sender of messages about failed gates."""
TRACKER = "the tracker"
"""The sender of an issue's text, and the creator of work on an issue that starts automatically."""
HEALTH_WATCH = "pancode health"
"""The sender of messages to an agent that shows no activity."""
OWN_NAMES = (FLEET, GATES, TRACKER, HEALTH_WATCH)
"""The senders of messages that do not come from a user; no user may have such a name."""
PLANNER = "planner"
KEY_LOST = "key/LOST"
"""A file in the home that says: the key of this fleet is lost for good, so create another one."""
PRD, README = "docs/PRD.md", "README.md"
PRDS = (PRD, "PRD.md", README)
"""The files in which a repository may have its requirements; the first one found is used, also in lower
case."""


def plan_file(name: str) -> str:
    """Return the path of a plan in the repository. `name`: the name of the plan's workspace."""
    return f"docs/{name}-plan.md"


def questions_file(name: str) -> str:
    """Return the path, in the repository, of the conversation that led to a plan."""
    return f"docs/{name}-plan.questions.md"


LONGEST_WORD, LONGEST_LINE = 63, 500
_NODE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:-]*")
_PLAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
RUNNING = "running"
"""The name that means the newest run."""
OF_AGENT = "agent:"
"""Prefix of an agent's name: means that agent's only active run, and never a run of the same name."""
_SHOWN = 8
_ID = re.compile(r"[rw]-[a-z0-9]{6}")
_BEGUN = 3
"""The number of letters from which on the unique beginning of a name matches that name."""


def find_nearest(word: str, names: Iterable[str]) -> str | None:
    """Return the one of these names that `word` was probably meant to be, or None. An id is random, so it
    must be closer than a word; of two keys in one group, only their last parts are compared."""
    from difflib import get_close_matches

    by_lower = {name.lower(): name for name in names}
    begun = [name for name in by_lower if len(word) >= _BEGUN and name.startswith(word.lower())]
    same = [name for name in by_lower if sorted(name) == sorted(word.lower())]  # two letters were swapped
    only = next((found for found in (begun, same) if len(found) == 1), None)
    found = only or get_close_matches(word.lower(), by_lower, n=1, cutoff=0.65)
    if found and not only:
        group = f"{word.lower().rpartition('.')[0]}."
        cutoff, tails = 0.8 if _ID.fullmatch(found[0]) else 0.5, [word.lower(), found[0]]
        tails = [one[len(group) :] for one in tails] if found[0].startswith(group) else tails
        found = found if get_close_matches(tails[0], tails[1:], cutoff=cutoff) else []
    return by_lower[found[0]] if found else None


LEAST_SECRET = 4
"""The fewest characters of a secret. A secret is hidden wherever it occurs, so a shorter one hides words."""


def must_be_hideable(value: str) -> None:
    """Raise UsageError for a secret that is so short that hiding it would hide parts of ordinary words."""
    if len(value.strip()) < LEAST_SECRET:
        raise UsageError(
            f"the secret has fewer than {LEAST_SECRET} characters",
            why="its value is hidden in every log, so it would hide parts of ordinary words",
            fix="use a longer secret; a value that is not secret can be a variable of the node agent",
            code="secret_too_short",
        )


def clean_user_name(text: str) -> str:
    """Return the user's name. Raises ValueError for a name that PanCode itself uses as a sender."""
    if " ".join("".join(filter(str.isprintable, text)).lower().split()) in OWN_NAMES:
        raise ValueError(f"{text!r} is reserved for PanCode's own messages")
    return text


def is_readme(path: str) -> bool:
    """Whether the file is a README, which serves as the requirements only if there is no PRD."""
    return path.lower() == README.lower()


def node_name(text: str) -> str:
    """Return a node's name. ValueError for a name not valid in tables, paths or command lines."""
    if not _NODE.fullmatch(text) or len(text) > LONGEST_WORD:
        raise ValueError(
            f"{text[:80]!r} is not a valid name: use 1 to {LONGEST_WORD} letters, digits and . _ - "
            "@ :, and start with a letter, a digit or _"
        )
    return text


def plain_name(kind: str, text: str, fix: str) -> str:
    """Return the text if it is a valid name of this kind; else raise UsageError with this fix."""
    if not _PLAIN.fullmatch(text):
        why = "use at most 63 lowercase letters, digits and . _ -, starting with a letter or a digit"
        raise UsageError(f"{text[:80]!r} is not a valid {kind} name", why=why, fix=fix, code="bad_name")
    return text


def label_word(text: str) -> str:
    """Return the key or value of a label. Raises ValueError for spaces, control characters, `=` and `,`."""
    if not text or len(text) > LONGEST_WORD or not text.isprintable() or set(text) & set(" =,"):
        raise ValueError(
            f"{text[:80]!r} is not valid in a label: use 1 to {LONGEST_WORD} characters, without "
            "spaces, control characters, = and ,"
        )
    return text


def one_line(text: str) -> str:
    """Return a reason as tables show it; empty means no reason. Raises ValueError for more than one line."""
    if not text:
        return text
    if not text.strip() or not text.isprintable() or len(text) > LONGEST_LINE:
        raise ValueError(
            f"{text[:80]!r} is not a valid reason: give one line of at most {LONGEST_LINE} "
            "characters, without control characters"
        )
    return text.strip()


def not_found(kind: str, word: str, names: Iterable[str], fix: str) -> NotFoundError:
    """Return an error with the nearest name, or with all names if none is near. `fix`: the command that lists
    the names."""
    known, details = sorted(names), dict[str, str]()
    near = find_nearest(word, known)
    if near is not None:
        details = {"typed": word, "near": near}
        why, fix = f"did you mean {near}?", f"use {near}, or see: {fix}"
    elif known:
        why = f"there {'is only' if len(known) == 1 else 'are'} {first_few(known, _SHOWN)}"
    else:
        why = f"there is no {kind} yet"
    what, code = f"{kind} {word!r} not found", f"{kind.replace(' ', '_')}_not_found"
    return NotFoundError(what, why=why, fix=fix, code=code, details=details)


def pick_run(text: str, newest_first: Sequence[str]) -> str:
    """Return the run's id for its id, an unambiguous prefix (with or without `r-`), or `last`. NotFoundError
    if no run matches, UsageError with the candidates if several do."""
    fix = "pancode runs"
    if text == LAST:
        if not newest_first:
            raise NotFoundError("there are no runs yet", fix="pancode dispatch TASK", code="run_not_found")
        return newest_first[0]
    prefix = text if text.startswith("r-") else f"r-{text}"
    found = [run for run in newest_first if run.startswith(prefix)] if text else []
    if prefix in found:
        return prefix
    if len(found) > 1:
        listed = ", ".join(found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
        what, fix = f"{text!r} matches {len(found)} runs", "type more characters of the run id"
        raise UsageError(what, why=listed, fix=fix, code="run_ambiguous")
    if not found:
        if text.startswith("w-"):
            what, why = f"{text[:80]} is not a run", "it is the id of a workflow, which has several runs"
            raise NotFoundError(what, why=why, fix=f"pancode runs show {text[:80]}", code="run_not_found")
        known = (LAST, *newest_first[:200]) if newest_first else ()
        word = text if find_nearest(text, known) else prefix
        if newest_first and find_nearest(word, known) is None:  # a list of ids tells nothing
            why = f"no id begins with it; the newest run is {newest_first[0]}"
            raise NotFoundError(f"run {text!r} not found", why=why, fix=fix, code="run_not_found")
        raise not_found("run", word, known, fix)
    return found[0]
