"""What a node's own program finds when it tries the way, and what a user is told of it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pancode.fleet.direct.authority import Authority
from pancode.fleet.ssh.errors import ConnectError, LinkFault
from pancode.fleet.ssh.links import check_trial
from pancode.fleet.ssh.remote import Completed
from pancode.fleet.ssh.tunnel import Generation, Pass
from tests.integration.direct.conftest import DAY_MS, House, Shifted, Visitor


class Trial:
    """The node's home, and its `pancode-node reach` as bring-up runs it."""

    def __init__(self, node: Visitor, within: tuple[str, ...] = ()) -> None:
        """`within`: the command in whose world the node's program runs."""
        self.node, self.home, self.within = node, node.house.folder / "home", within
        key = self.home / "key"
        key.mkdir(parents=True, mode=0o700)
        (key / "node.key").write_text(node.key.text())
        (key / "node.key").chmod(0o600)
        self.password(node.password)
        login = {"user": f"node-{node.tag}", "password_file": "key/redis.password"}
        settings = {"fleet": "f-test", "name": node.name, "tag": node.tag, "slots": 1, "redis": login}
        (self.home / "node.json").write_text(json.dumps(settings))

    def password(self, text: str) -> None:
        (self.home / "key/redis.password").write_text(text)

    def by(self, authority: Authority | None = None, believed: Authority | None = None) -> Pass:
        house = self.node.house
        issued = (authority or house.authority()).node(self.node.tag, self.node.key.public)
        ca, now = (believed or house.authority()).ca, Shifted().wall_ms()
        return Pass(
            str(house.place), ca, issued.cert, now, issued.renew_ms, issued.until_ms, "x.yaml:2", "anna"
        )

    def run(self, by: Pass) -> Completed:
        ends = [f"tls:{by.address}"] * 2
        pointer = Generation("g", "/nowhere", ends[0], ends[1], by).pointer()
        words = ("-m", "node_agent", "reach", "--offered", "--json", "--home", str(self.home))
        argv = [*self.within, sys.executable, *words]
        done = subprocess.run(argv, input=pointer.encode(), capture_output=True, timeout=120)
        return Completed(tuple(argv), done.returncode, done.stdout, done.stderr)

    def told(self, by: Pass, place: str = "") -> ConnectError:
        with pytest.raises(ConnectError) as caught:
            check_trial(self.run(by), by)
        assert caught.value.fault is LinkFault.NOT_DIRECT
        assert (place or str(self.node.house.place)) in str(caught.value)
        return caught.value


@pytest.fixture
def trial(anna: Visitor) -> Trial:
    return Trial(anna)


def test_a_way_that_is_open(house: House, trial: Trial) -> None:
    house.open()
    check_trial(trial.run(by := trial.by()), by)
    shown = trial.home / "key/direct.pem"
    assert shown.stat().st_mode & 0o777 == 0o600


def test_nobody_listens(trial: Trial) -> None:
    said = trial.told(trial.by())
    assert "refused" in said.why
    for words in ("x.yaml:2", "openssl s_client -connect 127.0.0.1:", "fleet up anna --link ssh"):
        assert words in said.fix


def test_a_certificate_that_has_run_out_on_either_side(house: House, trial: Trial, tmp_path: Path) -> None:
    house.open(authority=house.authority(Shifted(-40)))
    said = trial.told(by := trial.by())
    assert "certificate has expired" in said.why and "pancode fleet down" in said.fix
    done = trial.run(by)
    years = json.loads(done.text) | {"wall_ms": Shifted(4000).wall_ms()}
    with pytest.raises(ConnectError) as caught:
        check_trial(replace(done, stdout=json.dumps(years).encode()), by)
    assert "clock of anna" in caught.value.fix


def test_its_own_has_run_out(house: House, trial: Trial) -> None:
    house.open()
    said = trial.told(trial.by(house.authority(Shifted(-40))))
    assert "our certificate" in said.why and "recreate it: " in said.fix


def test_somebody_else_is_there(house: House, trial: Trial) -> None:
    house.open()
    said = trial.told(trial.by(believed=house.authority(name="another")))
    assert (
        "CERTIFICATE_VERIFY_FAILED" in said.why
        and "a server other than this coordinator answers" in said.fix
        and "x.yaml:2" in said.fix
    )


def test_a_password_and_a_quarantine(house: House, trial: Trial) -> None:
    house.open()
    trial.password("another")
    said = trial.told(trial.by())
    assert "Redis: WRONGPASS" in said.why and "pancode fleet up anna" in said.fix
    house.out["anna"] = "anna is quarantined: it flooded Redis"
    assert "it flooded Redis" in trial.told(trial.by()).why


def test_a_program_that_does_not_know_the_question(house: House, trial: Trial) -> None:
    with pytest.raises(ConnectError) as caught:
        check_trial(Completed((), 2, b"", b"invalid choice: 'reach'"), trial.by())
    assert "older version" in caught.value.why and caught.value.fix == "pancode fleet up anna"


def test_when_another_certificate_is_due(house: House, trial: Trial) -> None:
    by = trial.by()
    assert by.outlives(trial.by())
    assert not by.outlives(replace(trial.by(), issued_ms=by.issued_ms + 21 * DAY_MS))
    assert not by.outlives(replace(trial.by(), address="10.0.0.5:1"))
    assert not by.outlives(trial.by(believed=house.authority(name="another")))
