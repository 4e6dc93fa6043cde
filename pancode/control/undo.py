"""A transaction whose failure also takes back what was noted in memory while it lasted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pancode.control.core import Core
from pancode.ports import Transaction

_NOTED = ("asked", "doubted", "freed", "given_up_ms", "refusals", "sent_ms", "strays")
"""Of `Live`: what a word of a node changes, but for what is only ever looked up in the ledger, and `floors`,
which can be too high but never too low."""


@contextmanager
def all_or_nothing(core: Core) -> Iterator[Transaction]:
    """As the ledger's own: else what was said in vain would count as said, and the second pass drop it."""
    lines = len(core.live.stages)
    before = {name: _copied(getattr(core.live, name)) for name in _NOTED}
    try:
        with core.ports.ledger.transaction() as tx:
            yield tx
    except BaseException:
        for name, noted in before.items():
            setattr(core.live, name, noted)
        del core.live.stages[lines:]
        raise


def _copied(noted: dict[str, object]) -> dict[str, object]:
    """With the dicts and sets in it."""
    return {key: value.copy() if isinstance(value, dict | set) else value for key, value in noted.items()}
