"""A copy of a home, whose coordinator would work with the key of the first: one of them at a time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pancode.kernel.host.single_instance import holder_of
from pancode.kernel.processes import ProcessId
from pancode.queue.valkey.process import ServerRecord, read_record
from tests.integration.faces.conftest import Shell, until

pytestmark = pytest.mark.slow


@pytest.fixture
def first(pancode: Shell) -> Iterator[Shell]:
    yield pancode
    pancode("fleet", "down", "--now")


@pytest.fixture
def second(first: Shell) -> Iterator[Shell]:
    """Nothing is in its place yet."""
    copy = replace(first, home=first.home.with_name(f"{first.home.name}-b"), begun=[])
    yield copy
    copy("fleet", "down", "--now")
    shutil.rmtree(copy.home, ignore_errors=True)


def _copy(of: Shell, to: Shell) -> None:
    """All of it, as users do: pid files and sockets as well."""
    subprocess.run(["cp", "-a", str(of.home), str(to.home)], check=True)


def _holder(coordinator: Shell) -> ProcessId:
    holder = holder_of(coordinator.home)
    assert holder is not None
    return holder


def _server(home: Path) -> ServerRecord:
    record = read_record(home / "valkey/server.json")
    assert record is not None and record.alive()
    return record


def test_a_copy_starts_nothing_beside_the_first_and_goes_on_after_it(first: Shell, second: Shell) -> None:
    assert first("budget", "set", "7").status == 0
    works, server = _holder(first), _server(first.home)
    _copy(first, second)

    refused = second("budget", "--json")
    assert refused.status == 6 and refused.error["code"] == "copy_at_work"
    assert f"pid {works.pid}" in refused.error["message"] and refused.error["fix"]
    assert works.alive() and _server(first.home) == server, "the first one has lost its Redis"
    assert first("budget", "--json").data["scopes"][0]["ceiling_usd"] == "7"
    assert first("fleet", "down").status == 0
    after = second("budget", "--json")
    assert after.status == 0 and after.data["scopes"][0]["ceiling_usd"] == "7"
    back = first("serve", "--background")
    assert back.status == 6 and "already has a coordinator" in back.err


def test_what_a_killed_coordinator_has_left_is_not_ended_by_a_copy(first: Shell, second: Shell) -> None:
    """Its Redis outlives it on purpose, and the copy has the record of that Redis."""
    assert first("budget", "set", "7").status == 0
    works, server = _holder(first), _server(first.home)
    os.kill(works.pid, signal.SIGKILL)
    until(lambda: not works.alive(), "it is gone")
    _copy(first, second)

    assert "no coordinator is running" in second("fleet", "down", "--now").out and server.alive()
    assert second("serve", "--background").status == 0, "nobody works with the key now"
    assert server.alive() and _server(second.home).pid != server.pid
