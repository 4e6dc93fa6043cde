"""Reads a Containerfile: its stages, and of each its steps and what an image of it says of itself."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

KNOWN = frozenset(
    "ADD ARG COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK RUN STOPSIGNAL USER VOLUME WORKDIR".split()
)


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction. `words`: an argument list, or one text for a shell."""

    name: str
    words: tuple[str, ...] | str
    flags: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Stage:
    """`of`: the stage or the image that it begins with."""

    name: str
    of: str
    steps: list[Step] = field(default_factory=list)

    def last(self, name: str) -> tuple[str, ...]:
        """The words of the last such instruction; it has to be there, as a list."""
        found = [step.words for step in self.steps if step.name == name]
        assert found and isinstance(found[-1], tuple), f"{self.name} has no {name} as a list"
        return found[-1]

    def environ(self) -> dict[str, str]:
        pairs = [word for step in self.steps if step.name == "ENV" for word in shlex.split(str(step.words))]
        return dict(pair.split("=", 1) for pair in pairs)

    def user(self) -> tuple[int, int]:
        uid, _, gid = next(str(s.words) for s in reversed(self.steps) if s.name == "USER").partition(":")
        return int(uid), int(gid)


def read(path: Path) -> dict[str, Stage]:
    """The stages by name. AssertionError for what we do not write."""
    stages: dict[str, Stage] = {}
    text = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE))
    for line in filter(None, (line.strip() for line in text.splitlines())):
        name, _, rest = line.partition(" ")
        assert name in KNOWN, f"{path.name}: {name}"
        if name == "FROM":
            image, word, stage = rest.split()
            assert word == "AS" and stage not in stages
            stages[stage] = Stage(stage, image)
        elif stages:
            stages[next(reversed(stages))].steps.append(_step(name, rest))
    return stages


def _step(name: str, rest: str) -> Step:
    flags: dict[str, str] = {}
    while rest.startswith("--"):
        flag, _, rest = rest.partition(" ")
        key, _, value = flag[2:].partition("=")
        flags[key] = value
    if name == "HEALTHCHECK":
        assert rest.startswith("CMD "), "a healthcheck is a command"
        rest = rest.removeprefix("CMD ")
    return Step(name, tuple(json.loads(rest)) if rest.startswith("[") else rest.strip(), flags)
