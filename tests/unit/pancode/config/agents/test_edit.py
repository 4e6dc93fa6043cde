"""One value is set in a file that a user wrote, and every other byte of it stays."""

from __future__ import annotations

import difflib

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from pancode.config.agents.edit import set_value, with_value
from pancode.kernel.errors import ConfigError

TEXT = """\
# My agents.  Do not touch.
agents:

  # the quick one
  x:   # called x
    readonly: false   # why not
    tools:
      - read
      - edit   # last

    # trailing of x
  "y": {readonly: true, 'tags': [a]}
  z:
    system_prompt: |
      First line.

      é😀 third.

    tier: mid
    limits:
      wall: 5m # short
# the end
"""


def changed(before: str, after: str) -> list[str]:
    diff = difflib.ndiff(before.splitlines(keepends=True), after.splitlines(keepends=True))
    return [line.rstrip("\n") for line in diff if line[0] in "+-"]


@pytest.mark.parametrize(
    ("path", "value", "lines"),
    [
        ("x.readonly", True, ["-     readonly: false   # why not", "+     readonly: true   # why not"]),
        ("x.tier", "mid", ["+     tier: mid"]),
        (
            "x.tools",
            ["read"],
            ["-     tools:", "+     tools: [read]", "-       - read", "-       - edit   # last"],
        ),
        ("x.limits.wall", "2h", ["+     limits:", "+       wall: 2h"]),
        (
            "y.tier",
            "any",
            [
                "-   \"y\": {readonly: true, 'tags': [a]}",
                "+   \"y\": {readonly: true, 'tags': [a], tier: any}",
            ],
        ),
        ("z.limits.wall", "2h", ["-       wall: 5m # short", "+       wall: 2h # short"]),
        ("z.limits.idle", "1m", ["+       idle: 1m"]),
        ("z.tier", "any", ["-     tier: mid", "+     tier: any"]),
        ("scout.model", "a: b", ["+   scout:", "+     model: 'a: b'"]),
        (
            "z.system_prompt",
            "One.\nTwo.\n",
            [
                "-     system_prompt: |",
                "-       First line.",
                "- ",
                "-       é😀 third.",
                '+     system_prompt: "One.\\nTwo.\\n"',
            ],
        ),
    ],
)
def test_only_the_value_changes(path: str, value: object, lines: list[str]) -> None:
    after = set_value(TEXT, ("agents", *path.split(".")), value, "f")
    assert sorted(changed(TEXT, after)) == sorted(lines)
    for comment in ("# My agents.  Do not touch.", "# the quick one", "# trailing of x", "# the end"):
        assert comment in after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "agents:\n  x:\n    limits:\n      wall: 7m\n"),
        ("# all\n# comments", "# all\n# comments\nagents:\n  x:\n    limits:\n      wall: 7m\n"),
        ("agents:\n", "agents: {x: {limits: {wall: 7m}}}\n"),
        ("agents: {}  # none\n", "agents: {x: {limits: {wall: 7m}}}  # none\n"),
        ("agents:\n  x:\n  y: ~\n", "agents:\n  x: {limits: {wall: 7m}}\n  y: ~\n"),
        ("---\nagents: {x: {limits: {wall: 5m}}}", "---\nagents: {x: {limits: {wall: 7m}}}"),
        (
            "agents:\n  x:\n    system_prompt: |\n      hi",
            "agents:\n  x:\n    system_prompt: |\n      hi\n    limits:\n      wall: 7m\n",
        ),
        ("agents: {x: {tags: [a],}}\n", "agents: {x: {tags: [a],limits: {wall: 7m}}}\n"),
        (
            "agents:\n  x:\n    limits:  # mine\n    - a\n    - b: c\n      d: e # f\n    tier: mid\n",
            "agents:\n  x:\n    limits: {wall: 7m}  # mine\n    tier: mid\n",
        ),
        ("agents:\r\n  x: {tier: mid}\r\n", "agents:\r\n  x: {tier: mid, limits: {wall: 7m}}\r\n"),
    ],
)
def test_files_of_every_form(before: str, after: str) -> None:
    assert set_value(before, ("agents", "x", "limits", "wall"), "7m", "f") == after


@pytest.mark.parametrize(
    "text",
    [
        "agents:\n  a: &one {tier: mid}\n  x: *one\n",
        "agents:\n  a: {tier: &t mid}\n  x: {tier: *t}\n",
    ],
)
def test_what_cannot_be_changed_alone_is_left_to_a_user(text: str) -> None:
    with pytest.raises(ConfigError, match=r"agents\.x\.tier") as caught:
        set_value(text, ("agents", "x", "tier"), "any", "f")
    assert "pancode config check --kind agents" in caught.value.fix


def test_a_word_that_begins_with_a_colon_is_one_within_braces_too() -> None:
    after = set_value("agents: {a: {tier: [x]}}\n", ("agents", "a", "tier"), ":å", "f")
    assert yaml.safe_load(after) == {"agents": {"a": {"tier": ":å"}}}
    assert set_value("a: {model: x}\n", ("a", "model"), "o/q:8b", "f") == "a: {model: o/q:8b}\n"


def test_what_is_no_yaml_is_told_with_its_line() -> None:
    with pytest.raises(ConfigError, match="f:2: .*YAML"):
        set_value("agents:\n  x: [", ("agents", "x", "tier"), "any", "f")


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)
VALUES = st.one_of(
    WORDS,
    st.text(max_size=20).filter(str.isprintable),
    st.booleans(),
    st.integers(),
    st.lists(WORDS, max_size=3),
)
NAMES = st.sampled_from(["a", "b", "c-d"])
FIELDS = st.sampled_from(["tier", "tools", "model", "system_prompt"])


@example(agents={"a": {"model": "m"}}, style=True, name="a", field="tier", value="0[")
@given(
    agents=st.dictionaries(NAMES, st.dictionaries(FIELDS, VALUES, max_size=3), max_size=3),
    style=st.booleans(),
    name=NAMES,
    field=FIELDS,
    value=VALUES,
)
def test_whatever_stands_there_the_value_is_set_and_nothing_else(
    agents: dict[str, dict[str, object]], style: bool, name: str, field: str, value: object
) -> None:
    text = "# head\n" + yaml.safe_dump({"agents": agents}, default_flow_style=style, allow_unicode=True)
    after = set_value(text, ("agents", name, field), value, "f")
    before = yaml.safe_load(text)
    assert yaml.safe_load(after) == with_value(before, ("agents", name, field), value)
    assert after.startswith("# head\n")
