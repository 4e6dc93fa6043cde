"""Explains a wrong value in a person's words: what it would have to be, and how to write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import ErrorDetails

from pancode.core.names import nearest

Words = tuple[str, str]
"""(why, fix)."""
_FORMS = {
    r"^[a-z0-9][a-z0-9_-]{0,63}$": "a name of at most 64 small letters, digits, - and _ is expected",
    r"^[A-Za-z_][A-Za-z0-9_]{0,127}$": "the name of a variable is expected: letters, digits and _",
    r"^(redis|rediss|unix)://": "an address is expected that begins with redis://, rediss:// or unix://",
    r"^.+:[0-9]{1,5}$": "an address of this machine and a port are expected, as in 10.0.0.5:7843",
}
_KINDS = {
    "bool": "true or false is expected",
    "int": "a whole number is expected",
    "float": "a number is expected",
    "decimal": "a number is expected",
    "is": "a number is expected",
    "finite": "a number is expected",
    "string": "text is expected, in quotes where it looks like a number or like yes and no",
    "dict": "keys with values are expected below it",
    "mapping": "keys with values are expected below it",
}
"""By how the type of an error begins."""


def words_of(error: ErrorDetails, path: str, known: list[str]) -> Words:
    """`known`: the keys of the group, where a value stands in the place of one."""
    key, value = path.rpartition(".")[2], error["input"]
    match error["type"]:
        case "tuple_type" | "list_type":
            return "a list is expected here", f"write {key}: [{value!r}]"
        case "model_type" | "model_attributes_type":
            return "keys with values are expected below it", f"known are {', '.join(known)}"
        case _ if value is None:
            return f"nothing is written after {key}:", f"correct {path}: write a value, or take {key} out"
        case "enum" | "literal_error":
            return _choice(value, path, error["ctx"])
        case "value_error":
            return error["msg"].removeprefix("Value error, "), f"correct {path}"
    return _bounds(error["type"], error.get("ctx", {})) or error["msg"], f"correct {path}"


def _choice(value: object, path: str, about: Mapping[str, Any]) -> Words:
    words = [word.strip().strip("'") for word in str(about["expected"]).replace(" or ", ", ").split(",")]
    near = nearest(str(value), words)
    listed = f"there are {', '.join(words)}"
    if near is None:
        return listed, f"correct {path}: write one of them"
    return f"did you mean {near}? {listed}", f"write {path.rpartition('.')[2]}: {near}"


def _bounds(kind: str, about: Mapping[str, Any]) -> str:
    """In words, what the number or text would have to be; empty for what has no words yet."""
    match kind:
        case "greater_than":
            return f"it must be more than {about['gt']}"
        case "greater_than_equal":
            return f"it must be {about['ge']} or more"
        case "less_than_equal":
            return f"it must be {about['le']} or less"
        case "string_pattern_mismatch":
            return _FORMS.get(str(about["pattern"]), f"it must be of the form {about['pattern']}")
        case "too_short" | "string_too_short":
            return "it must not be empty"
        case "decimal_max_places":
            return f"at most {about['decimal_places']} digits after the point are read"
    return _KINDS.get(kind.partition("_")[0], "")
