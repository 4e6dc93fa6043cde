"""Writes the results of the gates in a receipt as SARIF 2.1.0, which a forge shows in the code."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(reports: list[dict[str, Any]]) -> dict[str, Any] | None:
    """One run for each SARIF file that was read; None without any."""
    read = [one for one in reports if one["form"] == "sarif" and not one["unread"]]
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": list(map(_run, read))} if read else None


def _run(report: dict[str, Any]) -> dict[str, Any]:
    return {
        "tool": {"driver": {"name": report["tool"] or "unknown"}},
        "automationDetails": {"id": f"pancode/{report['file']}/"},
        "properties": {"found": sum(report["counts"].values()), "listed": len(report["results"])},
        "results": [_result(one) for one in report["results"]],
    }


def _result(one: dict[str, Any]) -> dict[str, Any]:
    result = {"level": one["level"], "message": {"text": one["text"] or one["rule"] or "no text"}}
    result |= {"ruleId": one["rule"]} if one["rule"] else {}
    if one["file"]:
        place: dict[str, Any] = {"artifactLocation": {"uri": quote(one["file"], safe="/:%")}}
        place |= {"region": {"startLine": one["line"]}} if one["line"] else {}
        result["locations"] = [{"physicalLocation": place}]
    return result
