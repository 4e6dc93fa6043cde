"""Any value that a message may have, from the schema of its model: a new field is covered by itself.

It likes the ends of each range, and texts that somebody has to escape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from random import Random  # noqa: TID251 - seeded, which is the point
from typing import Any

from node_agent.wire.signing import Signed

parser: Any = import_module("re._parser")
ops: Any = import_module("re._constants")

Schema = Mapping[str, Any]
NASTY = ("\x1b[2J", "\u202e", "\n", '"', "\\", "é😀", "{0}%s", "\u2028", "<b>", "a", "Z", "7", "\x07", "'")
WITHOUT_BOUND = 400
"""So many of what has no bound."""
BIG_TEXT = 200_000


class AnyValue:
    """Raw JSON of one kind of message; the same seed gives the same value."""

    def __init__(self, kind: type[Signed], seed: int) -> None:
        self._random = Random(seed)
        self._schema = schema_of(kind)
        self._defs: Schema = self._schema.get("$defs", {})

    def make(self) -> dict[str, Any]:
        made: dict[str, Any] = self._any(self._schema)
        return made

    def _any(self, schema: Schema) -> Any:
        if "$ref" in schema:
            return self._any(self._defs[schema["$ref"].rpartition("/")[2]])
        if "const" in schema or "enum" in schema:
            return self._random.choice(schema.get("enum") or [schema["const"]])
        if several := schema.get("anyOf") or schema.get("oneOf"):
            return self._any(self._random.choice(several))
        make = {
            "object": self._object,
            "array": self._array,
            "string": self._text,
            "integer": self._whole,
            "number": self._real,
            "boolean": lambda _: self._random.random() < 0.5,
            "null": lambda _: None,
        }
        return make[schema["type"]](schema)

    def _object(self, schema: Schema) -> dict[str, Any]:
        required = set(schema.get("required", ()))
        made = {
            name: self._any(one)
            for name, one in schema.get("properties", {}).items()
            if name in required or "const" in one or self._random.random() < 0.8
        }
        if isinstance(more := schema.get("additionalProperties"), Mapping):
            names = schema.get("propertyNames", {"type": "string", "maxLength": 20})
            count = self._number_of(schema, "maxProperties")
            made |= {f"{self._any(names)}"[:190] + str(n): self._any(more) for n in range(count)}
        return made

    def _array(self, schema: Schema) -> list[Any]:
        """Few different ones, over and over: what many cost is the reader's."""
        if "prefixItems" in schema:
            return [self._any(one) for one in schema["prefixItems"]]
        count = max(self._number_of(schema, "maxItems"), schema.get("minItems", 0))
        different = [self._any(schema["items"]) for _ in range(min(count, 3))]
        return [different[n % len(different)] for n in range(count)]

    def _number_of(self, schema: Schema, bound: str) -> int:
        most = schema.get(bound, WITHOUT_BOUND)
        few = self._random.choice((0, 1, 1, 2, 3)) if self._random.random() < 0.9 else WITHOUT_BOUND
        return int(min(most, few))

    def _text(self, schema: Schema) -> str:
        pattern = schema.get("pattern")
        if pattern is not None and pattern != r"^[^\x00]*$":
            return self._match(parser.parse(pattern))[: schema.get("maxLength")]
        most = schema.get("maxLength", BIG_TEXT)
        length = self._random.choice((0, 1, 7, 40)) if self._random.random() < 0.9 else BIG_TEXT
        length = max(schema.get("minLength", 0), min(most, length))
        word = "".join(self._random.choice(NASTY) for _ in range(12))
        return (word * (length // len(word) + 1))[:length]

    def _whole(self, schema: Schema) -> int:
        low, high = (
            schema.get("minimum", schema.get("exclusiveMinimum", -(2**70))),
            schema.get("maximum", 2**70),
        )
        picks = (low, high, 0, 1, 2**31, 2**53 - 1, 2**63, self._random.randint(low, high))
        return int(self._random.choice([one for one in picks if low <= one <= high]))

    def _real(self, schema: Schema) -> float:
        low, high = schema.get("minimum", -1e308), schema.get("maximum", 1e308)
        finite = self._random.random() < 0.9
        return float(self._random.choice((low, high, max(low, 0.5)) if finite else (math.nan, math.inf)))

    def _match(self, parsed: Any) -> str:
        return "".join(self._one(op, value) for op, value in parsed)

    def _one(self, op: Any, value: Any) -> str:
        """A text that fits one part of an expression; what is repeated is there least or most often."""
        match op:
            case ops.LITERAL:
                return chr(value)
            case ops.IN:
                return self._one_in(value)
            case ops.MAX_REPEAT:
                low, high, inner = value
                return "".join(
                    self._match(inner) for _ in range(self._random.choice((low, min(int(high), 200))))
                )
            case ops.SUBPATTERN:
                return self._match(value[-1])
            case ops.BRANCH:
                return self._match(self._random.choice(value[1]))
            case ops.AT:
                return ""
        raise NotImplementedError(f"{op} of an expression: say here what fits it")

    def _one_in(self, inside: Sequence[Any]) -> str:
        op, value = self._random.choice(inside)
        return chr(self._random.randint(*value)) if op is ops.RANGE else chr(value)


@cache
def schema_of(kind: type[Signed]) -> Schema:
    return kind.model_json_schema(by_alias=True)


def without_bound(schema: Schema, path: str = "") -> list[str]:
    """Where a value may be as large or as long as its sender likes."""
    found = [path] if _is_open(schema) else []
    for name, one in [*schema.get("properties", {}).items(), *schema.get("$defs", {}).items()]:
        found += without_bound(one, f"{path}.{name}")
    inner = [schema.get("items"), schema.get("additionalProperties"), schema.get("propertyNames")]
    for one in [*inner, *schema.get("anyOf", ()), *schema.get("oneOf", ())]:
        if isinstance(one, Mapping):
            found += without_bound(one, path)
    return found


def _is_open(schema: Schema) -> bool:
    match schema.get("type"):
        case "string":
            return not schema.keys() & {"maxLength", "enum", "const"} and not _ends(
                schema.get("pattern", "*")
            )
        case "integer" | "number":
            return not {"minimum", "maximum"} <= schema.keys() and "const" not in schema
        case "array":
            return not schema.keys() & {"maxItems", "prefixItems"}
        case "object":
            return isinstance(schema.get("additionalProperties"), Mapping) and "maxProperties" not in schema
    return False


def _ends(pattern: str) -> bool:
    return pattern.startswith("^") and pattern.endswith("$") and not {"*", "+"} & set(pattern)
