"""Pure rules of reviews: the lines of a diff, the message of a round, and the answers in a report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pancode.agents.prompts import present_material
from pancode.kernel.errors import UsageError
from pancode.kernel.formatting import count_noun, format_title
from pancode.reviews.model import ReviewComment

SIDES = ("new", "old")
MOST_QUOTE, MOST_NAMED = 200, 12
"""The most characters of a quoted line, and the most files or ranges that an error names."""
_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_ROUND = re.compile(r"^Round \d+: ")
_ANSWER = re.compile(r"^\W*#?(\d{1,3})\W*[:.)]\W*((?:not )?done\b.*)$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class FileLines:
    """The lines of a file that a diff shows, by number: on the new side, and on the old one."""

    new: dict[int, str] = field(default_factory=dict)
    old: dict[int, str] = field(default_factory=dict)


def read_lines(diff: str) -> Mapping[str, FileLines]:
    """Return the lines that a diff shows, by the file's path now, or before if it was removed."""
    found: dict[str, FileLines] = {}
    file, new, old, left = FileLines(), 0, 0, [0, 0]
    before = ""
    for line in diff.split("\n"):
        if line[:1] == "\\":  # a note of git on the line before
            continue
        if any(count > 0 for count in left):
            if line[:1] != "+":
                file.old[old], old, left[0] = line[1:], old + 1, left[0] - 1
            if line[:1] != "-":
                file.new[new], new, left[1] = line[1:], new + 1, left[1] - 1
        elif line.startswith("diff --git "):
            file, before = FileLines(), ""
            both = line.removeprefix("diff --git ")
            found[_plain_name(both[len(both) // 2 + 1 :])] = file
        elif line.startswith("--- "):
            before = _plain_name(line[4:])
        elif line.startswith("+++ "):
            name = _plain_name(line[4:])
            found = {key: one for key, one in found.items() if one is not file}
            found[before if name == "/dev/null" else name] = file
        elif (hunk := _HUNK.match(line)) is not None:
            old, new = int(hunk[1]), int(hunk[3])
            left = [int(hunk[2] or 1), int(hunk[4] or 1)]
    return found


def _plain_name(text: str) -> str:
    """Return the path in a line of a diff's head, without its side."""
    name = text.rstrip("\t").strip('"')
    return name[2:] if name[:2] in ("a/", "b/") else name


def quote_line(diff: str, file: str, line: int, last: int, side: str) -> str:
    """Return the line to which a comment belongs; empty for a whole file, or the whole change. UsageError for
    a place that is not in the change, with the places that are."""
    if not file:
        return ""
    known = read_lines(diff)
    if file not in known:
        names = ", ".join([*known][:MOST_NAMED]) or "no file"
        raise UsageError(
            f"{file[:200]!r} is not in the change",
            why=f"it has {names}{' ...' if len(known) > MOST_NAMED else ''}",
            fix="comment on one of these files, or on the whole change",
            code="not_in_change",
        )
    if not line:
        return ""
    lines = known[file].old if side == "old" else known[file].new
    wrong = [number for number in range(line, max(line, last) + 1) if number not in lines][:1]
    if wrong or last and last < line:
        shown = ", ".join(_ranges(lines)[:MOST_NAMED]) or "none on this side"
        raise UsageError(
            f"line {(wrong or [last])[0]} of {file} is not in the change",
            why=f"lines of the {side} side that are: {shown}",
            fix="comment on one of these lines, or on the whole file",
            code="not_in_change",
        )
    return lines[line][:MOST_QUOTE]


def _ranges(numbers: Iterable[int]) -> list[str]:
    """Return the numbers as ranges: `1-3`, `9`."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return [f"{first}" if first == last else f"{first}-{last}" for first, last in found]


def write_round(number: int, task: str, comments: Sequence[ReviewComment], words: str) -> str:
    """Return the message that starts round `number`. `task`: that of the round before. `comments`: numbered,
    in this order. What people wrote is an order; what programs with a token wrote is material."""
    orders = [one for one in comments if one.is_person]
    others = [one for one in comments if not one.is_person]
    title = _ROUND.sub("", format_title(task))
    parts = [f"Round {number}: {title}", words.strip() or "Your change was reviewed."]
    if orders:
        parts += ["Settle these remarks, and change nothing beside that.", *map(_format_comment, orders)]
    if others:
        what = f"{count_noun(len(others), 'remark')} of programs, which may be wrong"
        parts.append(present_material(what, "\n\n".join(map(_format_comment, others))).rstrip())
    if comments:
        parts.append(
            "End your report with one line for each number: `1: done in FILE`, or `1: not done: REASON`."
        )
    return "\n\n".join(parts)


def _format_comment(one: ReviewComment) -> str:
    quote = f"\n> {one.quote}" if one.quote else ""
    return f"{one.number}. {one.place}{quote}\n{one.words}"


def read_answers(report: str) -> Mapping[int, str]:
    """Return the answers in an agent's report by number; of several for a number, the last one."""
    return {int(number): " ".join(text.split()) for number, text in _ANSWER.findall(report)}
