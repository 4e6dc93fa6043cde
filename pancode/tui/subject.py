"""The thing that a key acts on: the marked row, or what the page shows."""

from __future__ import annotations

from dataclasses import dataclass

from pancode.tui.page import Json, Page, PagePlace, PageRow

_IDS = {"run": "run", "node": "name", "workflow": "workflow", "item": "id"}
_SHOWS = {"machine": "node", "workflow": "workflow", "item": "item"}


@dataclass(frozen=True, slots=True)
class KeySubject:
    """`kinds`: as what keys may take it; an item of the inbox is its run, too."""

    kinds: frozenset[str]
    shape: Json

    def name(self, kind: str) -> str:
        return str(self.shape[_IDS[kind]])

    @property
    def copied(self) -> str:
        """The id that `y` copies; empty: it has none."""
        order = ("run", "workflow", "node") if "item" in self.kinds else ("workflow", "node", "run")
        return next((self.name(kind) for kind in order if kind in self.kinds), "")

    def kind_for(self, kinds: frozenset[str]) -> str:
        """The kind as which it is taken; empty: none of these kinds."""
        found = sorted(self.kinds & kinds, key=lambda kind: kind == "run")
        return found[0] if found else ""


def subject(page: Page, row: PageRow | None, place: PagePlace) -> KeySubject:
    """An empty one where a key has nothing to act on."""
    if row is None:
        kinds = {_SHOWS[place.view]} if place.view in _SHOWS and page.shape else set[str]()
        return KeySubject(frozenset(_with_run(kinds, page.shape)), page.shape)
    kinds = {row.kind} if row.kind in _IDS else set[str]()
    return KeySubject(frozenset(_with_run(kinds, row.shape)), row.shape)


def _with_run(kinds: set[str], shape: Json) -> set[str]:
    return {*kinds, "run"} if shape.get("run") else kinds


def way_of(shape: Json) -> str:
    """How an item of the inbox is said yes to: in words, or by an approval."""
    return "answer" if shape["kind"] == "question" else "approve"
