"""Steps as data: nothing of a step is lost, and what may not be shown is marked."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

from pancode.fleet.bundle.archive import Bundle
from pancode.fleet.ssh import steps
from pancode.fleet.ssh.external_bringup import step_json
from pancode.fleet.ssh.scripts.install import UNPACK
from pancode.fleet.ssh.steps import HomeFile, RemoteScript, StepName
from tests.unit.pancode.fleet.ssh.test_readiness import GOOD
from tests.unit.pancode.fleet.ssh.test_steps import BUNDLE, PLACE, PYTHON


def test_a_password_is_marked_as_secret_and_a_public_key_is_not() -> None:
    files = [HomeFile("key/redis.password", b"p\n"), HomeFile("key/coordinator.pub", b"k\n", 0o644)]
    password, public = step_json(steps.enrol_step(PLACE, files))["acts"]
    assert (password["secret"], public["secret"], public["mode"]) == (True, False, "644")
    assert base64.b64decode(password["content"]) == b"p\n"


def test_the_archive_is_named_and_not_carried_along(tmp_path: Path) -> None:
    archive = tmp_path / "x.tar.gz"
    archive.write_bytes(b"x")
    bundle: Bundle = replace(BUNDLE, path=archive)
    step = step_json(steps.bundle_step(PLACE, GOOD, bundle, PYTHON))
    assert step["acts"][0]["source"] == str(archive) and "content" not in step["acts"][0]
    assert json.loads(json.dumps(step)) == step


def test_a_start_says_what_it_is_after_a_change_and_after_which() -> None:
    keep, again = (steps.start_step(PLACE, GOOD, PYTHON.path, restart) for restart in (False, True))
    step = step_json(keep, again)
    assert "keep" in step["acts"][0]["args"] and "restart" in step["again"][0]["args"]
    assert step["again_after"] == ["bundle", "enrol", "unit"]


def test_every_script_that_changes_something_can_be_looked_for_first() -> None:
    """But for the unpacking, which is there only when there is something to unpack, and the proof."""
    first = steps.first_steps(PLACE, GOOD, replace(BUNDLE, path=Path(__file__)), PYTHON)
    start = steps.start_step(PLACE, GOOD, PYTHON.path, restart=False)
    key = steps.install_key_step("line", "mark")
    every = [*first, steps.unit_step(PLACE, GOOD, PYTHON.path), start, key, *steps.remove_steps(PLACE, "m")]
    blind = [
        (step.name, act.text == UNPACK)
        for step in every
        for act in step.acts
        if isinstance(act, RemoteScript) and not act.look
    ]
    assert blind == [(StepName.BUNDLE, True), (StepName.PROVE, False)]
