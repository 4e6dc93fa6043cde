"""Checks how the steps of a workflow hang together: needs, loops, and outputs that tasks take. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pancode.config.workflows.entries import StepEntry
from pancode.config.workflows.problems import FileProblems
from pancode.config.workflows.templates import FORMS, StepOutput, outputs_in
from pancode.domain.names import nearest

_UNTIL = re.compile(r"""\s*([A-Za-z_][A-Za-z0-9_]*)\s*==\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*""")


@dataclass(frozen=True, slots=True)
class PlacedStep:
    """One step, its key in the file, and the steps that it waits for."""

    key: str
    name: str
    entry: StepEntry
    needs: tuple[str, ...]


def until_of(text: str) -> tuple[str, str] | None:
    """Field and value of `verdict == "approved"`; None for anything else."""
    found = _UNTIL.fullmatch(text)
    return None if found is None else (found[1], found[2] or found[3] or found[4] or "")


class StepGraph:
    """All steps of a file, by name."""

    def __init__(self, steps: Iterable[PlacedStep], problems: FileProblems) -> None:
        self._steps = {step.name: step for step in steps}
        self._problems = problems

    def check(self) -> None:
        for step in self._steps.values():
            self._check_needs(step)
        self._check_cycles()
        for step in self._steps.values():
            self._check_loop(step)
            self._check_templates(step)

    def ancestors(self, name: str) -> set[str]:
        """Every step that must end before this one begins."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            step = self._steps.get(waiting.pop())
            for need in step.needs if step else ():
                if need not in found:
                    found.add(need)
                    waiting.append(need)
        return found

    def _check_needs(self, step: PlacedStep) -> None:
        for need in dict.fromkeys(step.needs):
            if need not in self._steps:
                self._unknown(f"{step.key}.needs", f"step {step.name} needs {need!r}", need)
        if len(set(step.needs)) < len(step.needs):
            self._problems.add(
                f"{step.key}.needs", f"step {step.name} names a need twice", fix="keep one of them"
            )

    def _unknown(self, key: str, what: str, name: str) -> None:
        near = nearest(name, self._steps)
        fix = f"did you mean {near}?" if near else f"there are {', '.join(self._steps)}"
        self._problems.add(key, what, "there is no such step", fix)

    def _check_cycles(self) -> None:
        """Each ring of steps is one problem, at the step that is written first."""
        told: set[str] = set()
        for name, step in self._steps.items():
            if name in told or name not in self.ancestors(name):
                continue
            ring = {one for one in self._steps if one in self.ancestors(name) and name in self.ancestors(one)}
            told |= ring
            self._problems.add(
                f"{step.key}.needs",
                f"steps wait for each other: {' -> '.join(_path(name, self._steps))}",
                "none of them could ever begin",
                "take one `needs` out; a loop is written with until, max and back-to",
            )

    def _check_loop(self, step: PlacedStep) -> None:
        entry, key = step.entry, step.key
        if entry.until is None:
            for field in ("max", "back_to"):
                if getattr(entry, field) is not None:
                    word = field.replace("_", "-")
                    self._problems.add(
                        f"{key}.{word}", f"step {step.name} has {word} and no until", fix=_WRITE_UNTIL
                    )
            return
        if entry.max is None:
            self._problems.add(
                f"{key}.until", f"step {step.name} has until and no max", fix="say how many rounds: max: 3"
            )
        self._check_until(step, entry.until)
        back = entry.back_to
        if back is not None and back not in self._steps:
            self._unknown(f"{key}.back-to", f"step {step.name} goes back to {back!r}", back)
        elif back is not None and back != step.name and back not in self.ancestors(step.name):
            why = f"{back} does not come before {step.name}"
            fix = f"needs: [{back}], or go back to a step that comes before"
            self._problems.add(f"{key}.back-to", f"step {step.name} cannot go back to {back}", why, fix)

    def _check_until(self, step: PlacedStep, text: str) -> None:
        key, verdict, said = f"{step.key}.until", step.entry.verdict, until_of(text)
        if said is None:
            self._problems.add(
                key, f"step {step.name}: until cannot be read: {text!r}", "no code is run here", _WRITE_UNTIL
            )
        elif verdict is None:
            fix = f"verdict: {{schema: {{{said[0]}: [{said[1]}, ...]}}}}"
            why = "a verdict is a file that the step must write, checked against its schema"
            self._problems.add(key, f"step {step.name} has until and no verdict", why, fix)
        elif said[0] not in verdict.fields:
            near = nearest(said[0], verdict.fields) or ", ".join(verdict.fields)
            what = f"step {step.name}: the verdict has no field {said[0]!r}"
            self._problems.add(key, what, fix=f"its schema has {near}")
        elif said[1] not in verdict.fields[said[0]]:
            what = f"step {step.name}: {said[0]} is never {said[1]!r}"
            self._problems.add(key, what, fix=f"its schema has {', '.join(verdict.fields[said[0]])}")

    def _check_templates(self, step: PlacedStep) -> None:
        key = f"{step.key}.task"
        for text in (step.entry.task, *(step.entry.argv or ())):
            for output in outputs_in(text):
                if isinstance(output, str):
                    what = f"step {step.name}: {output} names nothing"
                    self._problems.add(key, what, fix=f"write {FORMS}; ${{{{ }}}} stays as it is")
                else:
                    self._check_output(step, output, key)

    def _check_output(self, step: PlacedStep, output: StepOutput, key: str) -> None:
        what = f"step {step.name}: {output.written} names nothing"
        if output.step not in self._steps:
            self._unknown(key, what, output.step)
            return
        source = self._steps[output.step]
        if output.step not in self.ancestors(step.name) | set(self._later_in_loop(step.name)):
            why = f"{step.name} does not wait for {output.step}"
            self._problems.add(key, what, why, f"needs: [{output.step}]")
        elif output.file is not None and output.file not in _files(source.entry):
            near = nearest(output.file, _files(source.entry))
            fix = f"did you mean {near}?" if near else f"files: [{output.file}] at step {output.step}"
            self._problems.add(key, what, f"{output.step} keeps no such file", fix)

    def _later_in_loop(self, name: str) -> Iterator[str]:
        """Steps whose outputs of the round before are there when this one is done again."""
        for last in self._steps.values():
            back = last.entry.back_to
            if back is None:
                continue
            inside = self.ancestors(last.name) | {last.name}
            members = {one for one in inside if one == back or back in self.ancestors(one)}
            if name in members:
                yield from members


def _files(entry: StepEntry) -> list[str]:
    return [*entry.files, *([entry.verdict.file] if entry.verdict is not None else [])]


def _path(start: str, steps: Mapping[str, PlacedStep]) -> list[str]:
    """A way from the step over its needs back to itself, the shortest."""
    ways = [[start]]
    seen = set[str]()
    for way in ways:
        step = steps.get(way[-1])
        for need in step.needs if step else ():
            if need == start:
                return [*way, start]
            if need not in seen:
                seen.add(need)
                ways.append([*way, need])
    return [start, start]


_WRITE_UNTIL = 'write it like this: until: verdict == "approved"'
