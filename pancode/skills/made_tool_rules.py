"""Validates a tool that a run proposes, and builds a skill and a trial script from it."""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from dataclasses import dataclass
from typing import Any

from node_agent.wire.skill import ABOUT, TOOL, TOOLS, JobSkill, digest_of, mark_executable, pack_files
from pancode.kernel.errors import UsageError
from pancode.kernel.formatting import escape_line

RUN = "run"
MOST_SECONDS, USUAL_SECONDS, MOST_NAME, MOST_ABOUT, MOST_TESTS = 120, 30, 40, 300, 10
_TYPES = ("string", "integer", "number", "boolean", "array", "object")
_FACTS = ("type", "description", "enum", "items", "minimum", "maximum")
_KEYS = ("about", "input", "seconds")


@dataclass(frozen=True, slots=True)
class SoundTool:
    """A valid tool. `digest`: the digest of the files that runs get; a run's receipt contains it."""

    name: str
    about: str
    schema: dict[str, Any]
    seconds: int
    files: dict[str, bytes]
    tests: tuple[str, ...]
    """Names of the tool's test cases: `tests/NAME.in` is the input, `tests/NAME.out` the expected output."""

    @property
    def laid(self) -> dict[str, tuple[bytes, bool]]:
        """Return the tool's files, plus the files that make it a skill that an agent program finds."""
        own = {**self.files, ABOUT: self._format_about().encode(), "SKILL.md": self._format_skill().encode()}
        return mark_executable(own)

    @property
    def digest(self) -> str:
        return digest_of(self.laid)

    def ordered(self) -> JobSkill:
        return JobSkill(
            name=f"{TOOL}{self.name}", digest=self.digest, place=TOOLS, packed=pack_files(self.laid)
        )

    def _format_about(self) -> str:
        fields = {"about": self.about, "input": self.schema, "seconds": self.seconds}
        return json.dumps(fields, indent=1, sort_keys=True) + "\n"

    def _format_skill(self) -> str:
        return (
            f"---\nname: {TOOL}{self.name}\ndescription: {json.dumps(self.about)}\n---\n\n"
            f"A tool of this project. Run `{RUN}`, which lies beside this file, in the checkout, with its "
            "input as one JSON object on standard input:\n\n"
            f"```json\n{json.dumps(self.schema, indent=1)}\n```\n"
        )

    def trial(self) -> str:
        """Return a script that writes the tool into $HOME and runs its tests; exit status 0 if all passed."""
        mark, lines = f"END-{self.digest}", [f"# Tries the tool {self.name}.", 'tool="$HOME/tool"']
        for path, data in sorted(self.files.items()):
            lines.append(f'mkdir -p "$tool"/{shlex.quote(posixpath.dirname(path))}')
            lines += [
                f"cat >\"$tool\"/{shlex.quote(path)} <<'{mark}'",
                data.decode().removesuffix("\n"),
                mark,
            ]
            lines += [f'chmod +x "$tool"/{shlex.quote(path)}'] if data.startswith(b"#!") else []
        return "\n".join([*lines, _TRIES])


_TRIES = f"""\
failed=0
for given in "$tool"/tests/*.in; do
  case=${{given%.in}}
  if "$tool/{RUN}" <"$given" >"$HOME/said" 2>"$HOME/told" &&
    [ "$(cat "$HOME/said")" = "$(cat "$case.out")" ]; then
    echo "passed  ${{case##*/}}"
  else
    failed=1
    echo "FAILED  ${{case##*/}}: it printed:"
    head -c 2000 "$HOME/said" "$HOME/told"
  fi
done
exit "$failed"
"""


def tool_of(name: str, digest: str, packed: str) -> SoundTool:
    """Return the tool packed in `packed`. UsageError if it is invalid and so cannot be kept."""
    try:
        whole = JobSkill(name=name, digest=digest, packed=packed)
        files = {path: data for path, data in whole.files().items() if path != "SKILL.md"}
        _require_rule(len(name) <= MOST_NAME, f"the tool's name is longer than {MOST_NAME} characters")
        for path, data in files.items():
            _require_rule(data.decode("utf-8", "replace").encode() == data, f"{path} is not text")
            _require_rule(
                re.fullmatch(r"[\w./-]{1,100}", path) is not None, "a file name has invalid characters"
            )
        fields = _parse_object(files.get(ABOUT), ABOUT)
        _require_rule(not fields.keys() - set(_KEYS), f"{ABOUT} must have only the fields {', '.join(_KEYS)}")
        about, seconds = fields.get("about"), fields.get("seconds", USUAL_SECONDS)
        plain = isinstance(about, str) and 0 < len(about) <= MOST_ABOUT and escape_line(about) == about
        _require_rule(plain, f"about must be one line of at most {MOST_ABOUT} characters")
        whole_s = isinstance(seconds, int) and not isinstance(seconds, bool) and 1 <= seconds <= MOST_SECONDS
        _require_rule(whole_s, f"`seconds` must be 1 to {MOST_SECONDS}")
        _require_rule(files.get(RUN, b"").startswith(b"#!"), f"{RUN} is missing or does not begin with #!")
        return SoundTool(
            name, str(about), _parse_schema(fields.get("input")), seconds, files, _list_tests(files)
        )
    except ValueError as wrong:
        why, fix = escape_line(str(wrong))[:300], "ask the agent to repair it, or write the tool yourself"
        raise UsageError(f"tool {name} is not valid", why=why, fix=fix, code="bad_tool") from wrong


def _require_rule(holds: bool, words: str) -> None:
    if not holds:
        raise ValueError(words)


def _parse_object(data: bytes | None, path: str) -> dict[str, Any]:
    try:
        value = json.loads(data or b"")
    except (ValueError, RecursionError) as wrong:
        raise ValueError(f"{path} is not JSON") from wrong
    _require_rule(isinstance(value, dict), f"{path} is not a JSON object")
    return dict(value)


def _parse_schema(value: object) -> dict[str, Any]:
    """Return the value as a schema of one object with simple properties, which every model server accepts."""
    _require_rule(
        isinstance(value, dict) and value.get("type") == "object",
        "`input` must be a JSON schema of an object",
    )
    assert isinstance(value, dict)
    properties, needs = value.get("properties", {}), value.get("required", [])
    known = value.keys() <= {"type", "properties", "required", "additionalProperties", "description"}
    _require_rule(
        known and isinstance(properties, dict) and len(properties) <= 20,
        "`input` may only have type, properties, required, additionalProperties, description",
    )
    for name, one in properties.items():
        fits = isinstance(one, dict) and one.get("type") in _TYPES and one.keys() <= set(_FACTS)
        _require_rule(
            fits and re.fullmatch(r"\w{1,40}", name) is not None,
            f"`input`: {name} is not a property with a type",
        )
    _require_rule(
        isinstance(needs, list) and all(one in properties for one in needs),
        "`required` names an unknown property",
    )
    return {"type": "object", "properties": properties, "required": needs, "additionalProperties": False}


def _list_tests(files: dict[str, bytes]) -> tuple[str, ...]:
    cases = tuple(path[6:-3] for path in sorted(files) if path.startswith("tests/") and path.endswith(".in"))
    _require_rule(
        0 < len(cases) <= MOST_TESTS,
        f"the tool must have 1 to {MOST_TESTS} tests: tests/NAME.in and tests/NAME.out",
    )
    for case in cases:
        _parse_object(files[f"tests/{case}.in"], f"tests/{case}.in")
        _require_rule(f"tests/{case}.out" in files, f"tests/{case}.out is missing")
    return cases
