"""Steps are values: what they would do is known before anything is done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pancode.fleet.bundle.archive import Bundle
from pancode.fleet.ssh import steps
from pancode.fleet.ssh.bringup import authorized_line, format_marker
from pancode.fleet.ssh.probe import Python
from pancode.fleet.ssh.steps import HomeFile, NodeLocation, Put, RemoteScript
from pancode.fleet.ssh.unit import quote_argument
from tests.unit.pancode.fleet.ssh.test_readiness import GOOD

PLACE = NodeLocation.of("f1", GOOD)
PYTHON = Python("/usr/bin/python3.11", (3, 11, 2))
BUNDLE = Bundle("ab" * 32, Path("/bundles/x.tar.gz"), (3, 11), "0.1.0", "cd" * 32)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMtL8jLEu/a6cJZTn+PFC5C/WmctCxUsUoiMrlzbk5a9 me@desk"


def test_a_fresh_node_gets_archive_then_unpacked_then_current() -> None:
    step = steps.bundle_step(PLACE, GOOD, BUNDLE, PYTHON)
    put, unpack, point = step.acts
    assert isinstance(put, Put) and put.path == f"{PLACE.node_home}/bundles/{BUNDLE.name}.tar.gz"
    assert isinstance(unpack, RemoteScript) and unpack.args == (
        PLACE.node_home,
        BUNDLE.name,
        PYTHON.path,
        BUNDLE.sha256,
    )
    assert isinstance(point, RemoteScript) and point.args == (PLACE.node_home, BUNDLE.name)


def test_a_bundle_that_is_there_is_not_sent() -> None:
    there = replace(GOOD, bundles=(BUNDLE.name,), current="bundles/other")
    assert [type(a) for a in steps.bundle_step(PLACE, there, BUNDLE, PYTHON).acts] == [RemoteScript]
    current = replace(there, current=f"bundles/{BUNDLE.name}")
    assert steps.bundle_step(PLACE, current, BUNDLE, PYTHON).acts == ()


def test_the_agent_sees_nothing_of_the_machines_packages() -> None:
    assert PLACE.command("/p", "run") == (
        *("/p", "-I", "-S", "-B", "-OO", f"{PLACE.node_home}/current/start.py"),
        *("run", "--home", PLACE.node_home),
    )


def test_with_and_without_user_services() -> None:
    (start,) = steps.start_step(PLACE, GOOD, "/p", restart=True).acts
    assert isinstance(start, RemoteScript) and start.args == (
        PLACE.node_home,
        "pancode-node-f1.service",
        "restart",
    )
    plain = replace(GOOD, user_services="Failed to connect to bus")
    assert steps.unit_step(PLACE, plain, "/p").acts == ()
    (start,) = steps.start_step(PLACE, plain, "/p", restart=False).acts
    assert isinstance(start, RemoteScript) and start.args[:2] == (PLACE.node_home, "keep")
    assert start.args[2:] == PLACE.command("/p", "run")


def test_enrolment_keeps_what_is_the_owners() -> None:
    step = steps.enrol_step(PLACE, [HomeFile("node.json", b"{}"), HomeFile("ceiling.json", b"", keep=True)])
    assert [(a.path.rpartition("/")[2], a.keep) for a in step.acts if isinstance(a, Put)] == [
        ("node.json", False),
        ("ceiling.json", True),
    ]


def test_every_change_lies_where_removal_looks() -> None:
    made = [
        steps.home_step(PLACE),
        steps.bundle_step(PLACE, GOOD, BUNDLE, PYTHON),
        steps.key_step(PLACE, "/p"),
        steps.enrol_step(PLACE, [HomeFile("node.json", b"{}")]),
        steps.unit_step(PLACE, GOOD, "/p"),
    ]
    unit = PLACE.unit("/p").path(PLACE.home)
    for path in (p for step in made for p in step.changes):
        assert path == PLACE.node_home or path.startswith(PLACE.node_home + "/") or path == unit
    removal = steps.remove_steps(PLACE, format_marker("f1"))
    assert all(isinstance(a, RemoteScript) and unit.endswith(a.args[2]) for s in removal for a in s.acts)


def test_the_unit_leaves_attempts_alone() -> None:
    text = PLACE.unit("/usr/bin/python3.11").text()
    assert "\nKillMode=process\n" in text and "\nRestart=always\n" in text
    assert (
        f'ExecStart="/usr/bin/python3.11" "-I" "-S" "-B" "-OO" "{PLACE.node_home}/current/start.py" "run"'
        in text
    )


@pytest.mark.parametrize(
    ("word", "text"),
    [("a b", '"a b"'), ("100%", '"100%%"'), ("$HOME", '"$$HOME"'), ('"', '"\\""'), ("\\", '"\\\\"')],
)
def test_unit_words_are_not_expanded(word: str, text: str) -> None:
    assert quote_argument(word) == text


def test_the_fleet_key_may_only_forward_and_run() -> None:
    line = authorized_line(KEY, "f1")
    assert line.startswith("restrict,port-forwarding ssh-ed25519 AAAA") and line.endswith(" pancode fleet f1")
    assert "me@desk" not in line


@pytest.mark.parametrize("fleet", ["", "a b", "x$", "a\nb", ".*"])
def test_no_fleet_id_becomes_a_pattern(fleet: str) -> None:
    with pytest.raises(ValueError, match="fleet"):
        format_marker(fleet)


def test_no_key_no_line() -> None:
    with pytest.raises(ValueError, match="key"):
        authorized_line("command=rm ssh-ed25519", "f1")
