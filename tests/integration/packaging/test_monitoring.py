"""What Prometheus is given, judged by its own tool: the figures, its configuration, the rules for alerts."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from pancode.reports.figures import FIGURES
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.runs.world import Puppet

PROMETHEUS = Path(__file__).parents[3] / "deploy/prometheus"


def promtool(*words: str, told: str = "", folder: Path = PROMETHEUS) -> subprocess.CompletedProcess[str]:
    argv = ["promtool", *words]
    return subprocess.run(
        argv, input=told, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


def rules() -> dict[str, str]:
    """Expression by the name of the alert."""
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def test_the_figures_are_what_prometheus_reads(tmp_path: Path) -> None:
    """Also of a fleet whose owner thinks little of letters."""
    world = World(tmp_path)
    Puppet(world.context, 'n "2"\\\n').breathe()
    world.dispatch(node=world.node.name)
    world.node.deliver(world.claim())
    world.context.turn()
    text = world.http.get("/v1/metrics").json()["text"]
    assert 'node="n \\"2\\"\\\\\\n"' in text and "pancode_runs_ended_total{" in text
    judged = promtool("check", "metrics", told=text)
    assert (judged.returncode, judged.stdout, judged.stderr) == (0, "", "")


def test_its_configuration_is_one() -> None:
    judged = promtool("check", "config", "prometheus.yml")
    assert judged.returncode == 0, judged.stderr


def test_the_rules_alert_for_what_they_are_about() -> None:
    judged = promtool("test", "rules", "alerts_test.yml")
    assert judged.returncode == 0, judged.stdout + judged.stderr


@pytest.mark.parametrize("alert", rules())
def test_every_rule_has_a_test_that_fails_without_it(alert: str, tmp_path: Path) -> None:
    made = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
    for group in made["groups"]:
        group["rules"] = [rule for rule in group["rules"] if rule["alert"] != alert]
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(made))
    (tmp_path / "alerts_test.yml").write_text((PROMETHEUS / "alerts_test.yml").read_text())
    assert promtool("test", "rules", "alerts_test.yml", folder=tmp_path).returncode != 0


def test_rules_ask_for_figures_that_there_are() -> None:
    """With labels that those have: a wrong one would be an alert that never comes."""
    for alert, expression in rules().items():
        asked = re.findall(r"(pancode_\w+)(?:\{(.*?)\})?", expression)
        assert asked or alert == "PancodeNotScraped"
        for name, labels in asked:
            assert name in FIGURES, alert
            assert set(re.findall(r"(\w+)[=!]", labels)) <= set(FIGURES[name].labels), alert


def test_the_page_names_every_alert() -> None:
    page = (PROMETHEUS.parents[1] / "docs/howto/monitoring.md").read_text()
    assert re.findall(r"^\| `(Pancode\w+)` \|", page, re.MULTILINE) == list(rules())
