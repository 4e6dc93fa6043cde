"""Settings of an earlier version stop nothing, are named with what to do, and hold automatic landings."""

from __future__ import annotations

import pytest

from pancode.config.load import ConfigPlaces
from pancode.kernel.errors import UsageError
from pancode.kernel.states import LandRule
from tests.unit.pancode.config.test_settings_writer import kept
from tests.unit.pancode.conftest import Load


def test_a_removed_setting_is_left_out_and_named_with_its_place(loaded: Load, places: ConfigPlaces) -> None:
    found = loaded(user="dispatch:\n  agent: scout\n  verify_on: other\n")
    assert found.settings.dispatch.agent == "scout"
    (words,) = found.warnings
    assert words.startswith(f"{places.home}/pancode.yaml:3: dispatch.verify_on is left out: ")
    assert words.endswith("remove it; gates run on the run's own node, on a checkout of the result")
    assert found.defaults().landings_held == words
    assert not any(key == "dispatch.verify_on" for key, _, _ in found.rows())


def test_one_without_a_value_sets_nothing(loaded: Load) -> None:
    found = loaded(user="dispatch: {verify_on: null, land: ask}")
    assert found.warnings == () and found.defaults().landings_held == ""


def test_a_removed_value_has_an_heir_and_lands_nothing_by_itself(loaded: Load, places: ConfigPlaces) -> None:
    found = loaded(user="dispatch: {land: when-verified}")
    assert found.settings.dispatch.land is LandRule.WHEN_PASSED
    assert f"{places.home}/pancode.yaml:1: dispatch.land: when-verified is left out" in found.warnings[0]
    assert "no change lands by itself" in found.defaults().landings_held
    assert loaded(user="dispatch: {land: when-passed}").defaults().landings_held == ""


@pytest.mark.parametrize("value", ["when-verified"])
def test_it_cannot_be_set_again(places: ConfigPlaces, value: str) -> None:
    places.home.mkdir(exist_ok=True)
    with pytest.raises(UsageError) as refused:
        kept(places.home).change("dispatch.land", value)
    assert refused.value.fix.endswith("pancode config set dispatch.land when-passed")
    assert "two nodes" in refused.value.why and not (places.home / "settings.json").exists()
