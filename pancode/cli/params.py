"""Values of options: durations, money, key=value; each with an error that shows the right form."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    _Whole = click.ParamType[int]
    _Text = click.ParamType[str]
    _Two = click.ParamType[tuple[str, str]]
else:  # not generic in every version of click that will do
    _Whole = _Text = _Two = click.ParamType

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(B|KB|MB|GB|KiB|MiB|GiB)")
_UNITS_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_LONGEST = 40
"""Of what a person writes; a longer number is none that a machine holds."""
_MONEY = re.compile(r"\$?(\d{1,9}(?:\.\d{1,9})?)")


class Duration(_Whole):
    """Milliseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value).strip().replace(" ", "")
        parts = _PART.findall(text)
        if not parts or "".join(n + u for n, u in parts) != text or len(text) > _LONGEST:
            self.fail(f"{value!r} is not a duration; write 90s, 15m or 1h30m", param, ctx)
        return round(sum(float(number) * _UNITS_MS[unit] for number, unit in parts))


class Money(_Text):
    """USD as a decimal string."""

    name = "usd"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        match = _MONEY.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"{value!r} is not an amount of USD; write 0.75 or 10", param, ctx)
        return match[1]


class Pair(_Two):
    """KEY=VALUE."""

    name = "key=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value[0], value[1]
        key, equals, rest = str(value).partition("=")
        if not equals or not key or not rest:
            self.fail(f"{value!r} is not KEY=VALUE, as in gpu=24g", param, ctx)
        return key, rest


class Size(_Whole):
    """Bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = _SIZE.fullmatch(str(value).strip())
        if match is None or len(match[0]) > _LONGEST:
            self.fail(f"{value!r} is not a size; write 64MiB, 2GiB or 500KB", param, ctx)
        return round(float(match[1]) * _UNITS_BYTES[match[2]])


DURATION, MONEY, PAIR = Duration(), Money(), Pair()
SIZE = Size()

link_option = click.option(
    "--link",
    type=click.Choice(("ssh", "direct")),
    help="How it comes to Redis and the depot: a tunnel, or TLS to the address direct.listen.",
)
