"""A coordinator with a wrong clock does not blame the machines."""

from __future__ import annotations

import pytest

from pancode.fleet.fleet import judge_clocks


@pytest.mark.parametrize(
    ("skews", "here", "ahead_s", "own", "blamed"),
    [
        ({"a": 0.1, "b": -2.0}, (), 0, "", {}),
        ({"a": 0.1, "b": -90.0}, (), 0, "", {"b": "its clock is -90 s off"}),
        ({"a": 90.0, "b": -90.0}, (), 0, "", {"a": "its clock is +90 s off", "b": "its clock is -90 s off"}),
        ({"a": 3600.0, "b": 3601.0}, (), 0, "-3600 s off", {}),
        ({"a": -3600.0, "b": -3601.0, "c": -7200.0}, (), 0, "+3601 s off", {"c": "its clock is -3599 s off"}),
        ({"own": 0.0, "a": 3600.0, "b": 3600.0}, ("own",), 0, "-3600 s off", {}),
        ({"a": 3600.0}, (), 0, "", {"a": "differ by +3600 s; either may be wrong"}),
        ({"own": 0.0, "a": 3600.0}, ("own",), 0, "", {"a": "either may be wrong"}),
        ({"a": 3600.0}, (), 3_599, "-3600 s off", {}),
        ({"a": -3600.0}, (), 3_599, "", {"a": "either may be wrong"}),
        ({"own": 90.0}, ("own",), 0, "", {"own": "its clock is +90 s off"}),
        ({}, (), 9_999, "", {}),
    ],
)
def test_whose_clock_is_wrong(
    skews: dict[str, float], here: tuple[str, ...], ahead_s: float, own: str, blamed: dict[str, str]
) -> None:
    verdict = judge_clocks(skews, here, ahead_s)
    assert own in (verdict.own or {"what": ""})["what"] and bool(own) == (verdict.own is not None)
    assert verdict.nodes.keys() == blamed.keys()
    assert all(words in verdict.nodes[name]["what"] for name, words in blamed.items())
