"""Formats untrusted text, money, sizes, counts and durations for terminals, pages and messages."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any

from pancode.kernel.errors import UsageError

_GOOD = {"done", "to land", "landed", "online", "PASS", "passed", "yes"}
_BAD = {
    "error", "verify_failed", "gate failed", "infra", "lost", "timeout", "stalled",
    "policy_violation", "budget_exceeded", "failed", "TAMPERED", "UNSIGNED", "UNKNOWN_KEY", "NOT_FOUND",
    "unreachable", "refused",
}  # fmt: skip
_WARN = {
    "asks you", "waiting for you", "conflict", "interrupted", "stopped",
    "suspect", "question", "permission", "call", "draining", "drained", "halted", "interrupting", "new",
    "warning", "unknown", "unverified",
}  # fmt: skip

BLANK = frozenset(
    map(chr, (0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x2800, 0x3164, 0xFFA0))
) | frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
"""Letters and marks that are invisible although their Unicode category is that of visible characters."""

HIDING = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")
"""Unicode categories of invisible or text-reversing characters; must equal the web console's `words.js`."""

_TONES = ((_GOOD, "green"), (_BAD, "red"), (_WARN, "yellow"))
GLYPHS = {
    "?": "question permission call asks_you", "±": "dispatch budget policy change landing",
    "◐": "running preparing verifying delivering stopping interrupting works asks", "◇": "to_land review",
    "◷": "waiting placed pending queued starting",
    "●": "online waiting_for_you waits_for_you rests suspended",
    "✓": "done passed PASS no_change verified", "○": "unverified draining drained", "◆": "landed",
    "✗": "gate_failed verify_failed failed refused conflict",
    "■": "stopped skipped answered interrupted ended",
    "!": "error timeout stalled infra broken over policy_violation budget_exceeded",
    "◌": "unknown lost suspect unreachable new",
}  # fmt: skip
"""The symbol of each state. Every symbol is one terminal cell wide."""
_GLYPHS = {word.replace("_", " "): glyph for glyph, words in GLYPHS.items() for word in words.split()}
_OF_DIFF = {"+++": "bold", "---": "bold", "diff ": "bold", "@@": "cyan", "+": "green", "-": "red"}


def pip_install(*packages: str) -> str:
    """Return the command that adds packages to PanCode's environment; PanCode is on no package index."""
    import shlex

    return shlex.join((sys.executable, "-m", "pip", "install", *packages))


def escape_line(text: str) -> str:
    """Return one line that cannot control the terminal: control characters are shown as text."""
    return "".join((" " if c in "\r\n\t" else _escape_char(c)) for c in text)


def reveal_invisible(text: str) -> str:
    """Return the text with its lines unchanged and each invisible character spelled out as <U+XXXX>."""
    return text if text.isascii() and text.isprintable() else "".join(map(_reveal_char, text))


def _reveal_char(char: str) -> str:
    return f"<U+{ord(char):04X}>" if char not in "\n\t" and (_is_hidden(char) or char in BLANK) else char


def escape_text(text: str, indent: str = "") -> str:
    """Return the whole text for a user who approves it: line ends stay, other controls become visible."""
    return "\n".join(indent + "".join(map(_escape_char, one)) for one in text.split("\n"))


def _escape_char(char: str) -> str:
    return f"\\x{ord(char):02x}" if _is_hidden(char) else char


def _is_hidden(char: str) -> bool:
    return unicodedata.category(char) in HIDING


def measure_width(text: str) -> int:
    """Return the width of the text in terminal columns; wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)


def clip_columns(text: str, columns: int) -> str:
    """Return the text cut to at most this many columns, with `...` at the cut."""
    if measure_width(text) <= columns:
        return text
    kept, room = "", columns - 3
    for char in text:
        room -= measure_width(char)
        if room < 0:
            break
        kept += char
    return kept + "..."


def format_usd(usd: str | Decimal | None) -> str:
    """Format an amount of USD with cents, or below one dollar with four digits; `unknown` for None."""
    if usd is None:
        return "unknown"
    amount, sign = abs(float(usd)), "-" if float(usd) < 0 else ""
    if 0 < amount < 0.0001:
        return f"{sign}<$0.0001"
    whole, _, part = (f"{amount:.2f}" if amount >= 1 else f"{amount:.4f}").partition(".")
    return f"{sign}${whole}.{part.rstrip('0').ljust(2, '0')}"


def format_count(number: float) -> str:
    """Format the number in short form: 3100 is 3.1 k."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number:.0f}"


def format_bytes(number: int | None) -> str:
    """Format a number of bytes in short form, such as 82 G; - for None."""
    if number is None:
        return "-"
    for power, unit in ((2**40, "T"), (2**30, "G"), (2**20, "M"), (2**10, "k")):
        if number >= power:
            return f"{number / power:.0f} {unit}"
    return f"{number} B"


def disk_of(node: Mapping[str, Any]) -> str:
    """Format the free bytes of a node's disk; if the disk is low, also what of PanCode uses most of it."""
    free, most = format_bytes(node["disk_free"]), node["disk_most"]
    return free if most is None else f"{free}, {escape_line(most['what'])} {format_bytes(most['bytes'])}"


def format_gpus(node: Mapping[str, Any]) -> str:
    """Format a node's GPUs, such as `1x H100 80G, 78G free`, with the numbers reserved and unknown."""
    gpus = node.get("gpus", ())
    kinds = Counter((escape_line(one["short"]), format_bytes(one["memory"]).replace(" ", "")) for one in gpus)
    words = [f"{many}x {name} {memory}" for (name, memory), many in kinds.items()]
    free = [one["memory_free"] for one in gpus if one["memory_free"] is not None]
    words += [f"{format_bytes(sum(free)).replace(' ', '')} free"] if free else []
    silent, held = (
        sum(one["unknown_since"] is not None for one in gpus),
        sum(bool(one["holder"]) for one in gpus),
    )
    words += [f"{held} held"] if held else []
    words += [f"{silent} UNKNOWN"] if silent else []
    return ", ".join(words)


def format_tokens(number: int | None) -> str:
    """Format a context size in tokens: 32k, 4k, 900; "" if unknown."""
    if number is None:
        return ""
    return f"{number // 1024}k" if number >= 1024 else str(number)


def format_seconds(seconds: float) -> str:
    """Return a duration as one number and its unit: 0.4 s, 40 s, 12 min, 3 h, 2 d."""
    if 0 < seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f} s"
    whole = int(seconds)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if whole >= 2 * size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


STATUSES = {
    "verify_failed": "gate_failed",
    "interrupted": "stopped",
    "blocked": "asks_you",
    "rests": "suspended",
}
"""The status that every interface shows for an outcome or a session's state, if the two differ."""


def format_landing(run: str, outcome: str | None) -> str:
    """Return the command that lands the run's change; that of a failed run is landed only with flags."""
    flags = {"done": "", "verify_failed": "--anyway --no-gates "}  # failed gates would fail again
    return f"pancode land {flags.get(outcome or '', '--anyway ')}{run}"


def format_outcome(outcome: str) -> str:
    """Return the status of a run with this outcome, as text: `gate failed`."""
    return STATUSES.get(outcome, outcome).replace("_", " ")


def format_status(run: Mapping[str, Any]) -> str:
    """Return the status of a run as text: `gate failed`, `asks you`."""
    return str(run["status"]).replace("_", " ")


def format_result(run: Mapping[str, Any]) -> str:
    """Return the status of a run for a list, which has no room for notes: `unverified` without gates."""
    status, seen = format_status(run), run["verification"]
    is_untested = seen is not None and seen["state"] == "unverified" and status in ("done", "to land")
    return "unverified" if is_untested else status


def format_title(task: str) -> str:
    """Return the first line of a task that has text in it; interfaces show it as the run's title."""
    lines = (line.strip().lstrip("#").strip() for line in task.splitlines())
    return next((line for line in lines if line and not line.startswith("!")), "")


def cost_of(run: Mapping[str, Any]) -> str:
    """Format the cost of a run; an unknown cost is `unknown` after the run's end, and `-` before."""
    amount = run["usage"]["cost_usd"]
    if amount is None:
        return "unknown" if run["outcome"] is not None else "-"
    return format_usd(amount)


SILENT_STATES = ("suspect", "unreachable", "lost")
"""The states of a node that is not heard."""


def slots_of(node: Mapping[str, Any]) -> str:
    """Format the used slots of a node as `1/4`, or as `?/4` if it is not heard; if the node takes fewer runs
    now, as `1/2 of 4`."""
    slots = node["slots"]
    used = "?" if node["state"] in SILENT_STATES else slots["used"]
    now, total = slots.get("now", slots["total"]), slots["total"]
    return f"{used}/{total}" if now >= total else f"{used}/{now} of {total}"


def gate_state(gate: Mapping[str, Any]) -> str:
    """Return how a gate ended: passed, not judged, or failed with an exit status."""
    if gate["passed"]:
        return "passed"
    if not gate.get("judged", True):
        return "not judged"
    already = ", already fails without the change" if gate.get("already_fails") else ""
    return f"failed{already}" if gate["exit_code"] is None else f"failed, exit {gate['exit_code']}{already}"


def style_of(word: str) -> str:
    """Return the color of a state or verdict; empty if it has none."""
    return next((colour for words, colour in _TONES if word in words), "")


def draw_glyph(state: str) -> str:
    """Return the symbol of a state; `·` for a state without a symbol."""
    return _GLYPHS.get(state.replace("_", " "), "·")


def diff_style(line: str) -> str:
    """Return the style of a line of a diff; empty if it has none."""
    return next((style for start, style in _OF_DIFF.items() if line.startswith(start)), "")


def format_ordinal(number: int) -> str:
    """Return the number as `1st`, `2nd`, `11th`."""
    ends = {1: "st", 2: "nd", 3: "rd"}
    return f"{number}{'th' if number % 100 in (11, 12, 13) else ends.get(number % 10, 'th')}"


def count_noun(number: int, noun: str) -> str:
    """Return the number and the noun, with an s for the plural."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def first_few(names: Sequence[str], most: int, between: str = ", ") -> str:
    """Return at most `most` of the names as text, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{between.join(names[:most])}{more}"


def zone_of(name: str) -> tzinfo:
    """Return the time zone with this name. Raises UsageError for an unknown name."""
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError) as exc:
        raise UsageError(
            f"time zone {name[:80]!r} not found",
            why="the database of time zones has no such name",
            fix="use a name such as Europe/Berlin, America/New_York or UTC",
            code="bad_zone",
        ) from exc


# Match up to the last `@`, so that a password with an unencoded `@` is hidden completely.
_USER = re.compile(r"(?<=//)([^:/@]*:)(.+)(?=@)")
_QUERY = re.compile(r"([?&](?:ssl)?password=)([^&#]+)")


def find_passwords(url: str) -> list[str]:
    """Return the passwords in a URL: in its user part and in its parameters."""
    return [found[2] for pattern in (_USER, _QUERY) for found in pattern.finditer(url)]


def mask_passwords(text: str) -> str:
    """Return the text with each password replaced by three asterisks."""
    return _QUERY.sub(r"\1***", _USER.sub(r"\1***", text))


def format_optional_iso(ms: int | None) -> str | None:
    """Return the time in ISO 8601, UTC, with milliseconds; None if `ms` is None or out of range."""
    if ms is None:
        return None
    try:
        moment = datetime.fromtimestamp(ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def format_iso(ms: int) -> str:
    """Return the time as `format_optional_iso` does; for times that are always known."""
    return format_optional_iso(ms) or ""
