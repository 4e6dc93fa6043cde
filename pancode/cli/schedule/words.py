"""How schedules look in words."""

from __future__ import annotations

from typing import Any

from pancode.cli.output.render import safe, short_time
from pancode.cli.output.tables import table


def listed(found: list[dict[str, Any]]) -> str:
    if not found:
        return "no schedule yet; try: pancode schedule add nightly --cron '30 2 * * *' \"...\"\n"
    rows = [
        (
            one["schedule"],
            _state(one),
            one["words"],
            one["next"][0] if one["next"] and one["paused"] is None else None,
            _last(one),
            one["task"],
        )
        for one in found
    ]
    head = ("SCHEDULE", "STATE", "FIRES", "NEXT", "LAST", "WORK")
    below = [[f"  {line}" for line in (*_at(one), *_troubles(one))] for one in found]
    return table(head, rows, toned=("STATE",), spare=("WORK",), cut="WORK", below=below)


def shown(one: dict[str, Any]) -> str:
    """The schedule with its next times and its last firings."""
    lines = [f"{one['schedule']}  {_state(one)}  {safe(one['words'])}", f"begins  {safe(one['task'])}"]
    overlap = "may overlap" if one["overlap"] else "never two at once"
    lines += [f"missed times  {one['missed']}; {overlap}"]
    lines += [f"paused  {safe(one['paused'])}"] if one["paused"] else []
    lines += [f"webhook  POST {safe(one['url'])}"] if one.get("url") else []
    lines += [f"secret, shown once: {safe(one['secret'])}"] if one.get("secret") else []
    lines += [f"next  {text}" for text in one["next"]]
    lines += _troubles({**one, "firings": []})
    rows = [
        (short_time(f["due_at"]), f["state"], f["run"] or f["workflow"], _cause(f), f["reason"])
        for f in one["firings"]
    ]
    head = ("AT", "STATE", "BEGAN", "ON", "WHY")
    firings = table(head, rows, toned=("STATE",)) if rows else ""
    return "".join(f"{line}\n" for line in lines) + firings


def warned(one: dict[str, Any]) -> list[str]:
    return [f"warning: {safe(text)}" for text in one["warnings"]]


def _state(one: dict[str, Any]) -> str:
    if one["paused"] is not None:
        return "paused"
    if one["running"] is not None:
        return "running"
    over = not one["next"] and one["trigger"]["kind"] in ("cron", "at")
    return "over" if over else "waiting"


def _last(one: dict[str, Any]) -> str | None:
    if not one["firings"]:
        return None
    last = one["firings"][0]
    what = last["run"] or last["workflow"] or last["state"]
    return f"{short_time(last['due_at'])} {what}"


def _cause(firing: dict[str, Any]) -> str:
    cause = firing["cause"]
    if "by" in cause:
        return f"asked by {safe(str(cause['by']))}"
    what = str(cause.get("run") or cause.get("commit") or cause.get("kind") or "")[:12]
    return what or ("late" if firing["late"] else "")


def _at(one: dict[str, Any]) -> list[str]:
    """The address at which it is called, or the reason why it cannot be."""
    return [f"POST {safe(one['url'])}"] if one.get("url") else [safe(text) for text in one["warnings"]]


def _troubles(one: dict[str, Any]) -> list[str]:
    """What a person has to mend."""
    found = [f"cannot look: {safe(one['trouble'])}"] if one["trouble"] else []
    for firing in one["firings"][:1]:
        if firing["state"] in ("refused", "failed"):
            fix = f" (fix: {safe(firing['fix'])})" if firing["fix"] else ""
            found.append(f"last firing {firing['state']}: {safe(firing['reason'])}{fix}")
    return found
