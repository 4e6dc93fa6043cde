"""Values with a unit that are larger than anything."""

from __future__ import annotations

import click
import pytest

from pancode.config.units import duration_ms, size_bytes
from pancode.interfaces.cli.parameters import parse_duration, size_of


@pytest.mark.parametrize("text", ["366d", "99999999h", f"{'9' * 400}h"])
def test_no_duration_is_longer_than_a_year(text: str) -> None:
    with pytest.raises(ValueError, match="the maximum is 365d"):
        duration_ms(text)
    assert duration_ms("365d") == 365 * 86_400_000


def test_no_size_is_larger_than_a_disk() -> None:
    for size in ("1048577GiB", 2**51):
        with pytest.raises(ValueError, match="the maximum is"):
            size_bytes(size)


def test_an_option_of_endless_digits_is_a_wrong_option() -> None:
    for parser, text in ((parse_duration, f"{'9' * 400}h"), (size_of, f"{'9' * 400}GiB")):
        with pytest.raises(click.BadParameter):
            parser(text)
