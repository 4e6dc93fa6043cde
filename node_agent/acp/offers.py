"""The choices that a program offers: modes, models and efforts, in both forms that the protocol has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from node_agent.runtimes.lines import dict_of, list_of, text_of
from node_agent.wire.policy import is_bypass_mode

MOST_TOLD = 12
_LISTS = {
    "mode": ("modes", "availableModes", "id", "currentModeId"),
    "model": ("models", "availableModels", "modelId", "currentModelId"),
}
"""For each kind of choice: the path of its list, and the field with a value's name."""
_CATEGORIES = {"mode": "mode", "model": "model", "thought_level": "effort"}
_METHODS = {"mode": ("session/set_mode", "modeId"), "model": ("session/set_model", "modelId")}


@dataclass(frozen=True, slots=True)
class ProgramOffer:
    """The choices of one kind. `option`: the option that sets them; empty: a separate method sets them."""

    kind: str
    values: tuple[str, ...]
    now: str
    option: str = ""

    def choice(self, value: str) -> tuple[str, dict[str, str]]:
        """Return the method that sets this value, and the method's parameters."""
        if self.option:
            return "session/set_config_option", {"configId": self.option, "value": value}
        method, name = _METHODS[self.kind]
        return method, {name: value}


def offers_of(begun: Mapping[str, Any]) -> dict[str, ProgramOffer]:
    """Return the offers by kind: `mode`, `model`, `effort`. Modes without permission requests are left
    out."""
    found = dict[str, ProgramOffer]()
    for kind, (field, listed, name, now) in _LISTS.items():
        offers = dict_of(begun.get(field))
        values = tuple(text_of(dict_of(one).get(name)) for one in list_of(offers.get(listed)))
        if values:
            found[kind] = ProgramOffer(kind, _select_allowed(kind, values), text_of(offers.get(now)))
    for option in map(dict_of, list_of(begun.get("configOptions"))):
        kind = _CATEGORIES.get(text_of(option.get("category")), "")
        if kind and kind not in found:
            values = _select_allowed(kind, tuple(_list_values(option)))
            found[kind] = ProgramOffer(
                kind, values, text_of(option.get("currentValue")), text_of(option.get("id"))
            )
    return found


def format_offers(offers: Mapping[str, ProgramOffer]) -> str:
    """Return the offers as text; empty if there are none."""
    lists = []
    for offer in offers.values():
        more = f" and {len(offer.values) - MOST_TOLD} more" if len(offer.values) > MOST_TOLD else ""
        lists.append(f"{offer.kind}: {', '.join(offer.values[:MOST_TOLD])}{more}")
    return "; ".join(lists)


def _select_allowed(kind: str, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(one for one in values if one and not (kind == "mode" and is_bypass_mode(one)))


def _list_values(option: Mapping[str, Any]) -> Iterator[str]:
    """Yield the values of an option, which may be in groups."""
    for one in map(dict_of, list_of(option.get("options"))):
        if "options" in one:
            yield from _list_values(one)
        else:
            yield text_of(one.get("value"))


_MARKS, _WAITS = {"completed": "\u2713", "in_progress": "\u25cf"}, "\u25cb"


def news_of(update: Mapping[str, Any]) -> str:
    """Return the plan or current mode that the program reports in an update during a turn; empty: neither."""
    if mode := text_of(update.get("currentModeId")):
        return f"is in mode {mode}"
    entries = map(dict_of, list_of(update.get("entries")))
    steps = [
        f"{_MARKS.get(text_of(one.get('status')), _WAITS)} {text_of(one.get('content'))}" for one in entries
    ]
    return f"plans: {'; '.join(steps)}" if steps else ""
