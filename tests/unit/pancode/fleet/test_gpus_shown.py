"""What a user, a model and a monitor are shown of a machine's GPUs, and the owner's word about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.identity import AttemptId
from node_agent.wire.node import GpuFact, GpuLoad
from pancode.fleet.commands.fleet import _format_fleet
from pancode.fleet.commands.nodes import node_page
from pancode.interfaces.tui.page import PageMoment
from pancode.interfaces.tui.pages.nodes import draw_node, draw_nodes
from pancode.kernel.formatting import format_gpus
from tests.fakes.api import FakeApi
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.interfaces.mcp.test_tools import called
from tests.unit.pancode.runs.world import facts

GIB = 1 << 30
HOLDER = AttemptId(run="r-0001", attempt=1, lease=1)


def gpu(number: int, name: str = "NVIDIA H100 80GB HBM3", memory: int = 80 * GIB) -> GpuFact:
    return GpuFact(index=number, uuid=f"GPU-{number}", name=name, memory=memory, driver="580.1")


def told(tmp_path: Path, gpus: tuple[GpuFact, ...], *loads: GpuLoad) -> World:
    world = World(tmp_path)
    world.node.facts = facts(gpus=gpus)
    world.context.turn(world.context.rules.heartbeat_ms)
    world.node.heartbeat(gpus=loads)
    world.context.turn()
    return world


@pytest.fixture
def world(tmp_path: Path) -> World:
    free = GpuLoad(uuid="GPU-0", memory_free=78 * GIB, busy=7)
    return told(tmp_path, (gpu(0), gpu(1)), free, GpuLoad(uuid="GPU-1", unknown_since_ms=5, holder=HOLDER))


def node_of(world: World) -> dict[str, Any]:
    (node,) = world.http.get("/v1/fleet").json()["nodes"]
    return dict(node)


def test_the_table_sums_kinds_and_free_memory_and_says_what_is_not_known(world: World) -> None:
    assert format_gpus(node_of(world)) == "2x H100 80G, 78G free, 1 held, 1 UNKNOWN"
    table = _format_fleet(world.http.get("/v1/fleet").json())
    assert "GPUS" in table and "2x H100 80G, 78G free" in table
    kinds = [{"short": "L4", "memory": 24 * GIB}, {"short": "H100", "memory": 80 * GIB}]
    one = {"memory_free": None, "unknown_since": None, "holder": None}
    assert format_gpus({"gpus": [{**kind, **one} for kind in kinds]}) == "1x L4 24G, 1x H100 80G"


def test_a_fleet_without_any_has_no_column(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert "GPUS" not in _format_fleet(world.http.get("/v1/fleet").json())
    answers = {"fleet": world.http.get("/v1/fleet").json()}
    assert "GPUS" not in draw_nodes(answers, "", PageMoment.of(1)).head


def test_a_machines_page_has_a_line_for_each(world: World) -> None:
    page = node_page(world.http.get("/v1/nodes/n1").json())
    assert "GPUs:         NVIDIA H100 80GB HBM3, 80 G, 78 G free, 7 % busy, driver 580.1, GPU-0\n" in page
    assert "its driver has not responded since" in page and "held by r-0001" in page
    assert "GPUs go to:   every run, except GPUs reserved by a run" in page
    assert "GPU labels:   gpu=80g, gpu.count=2, gpu.name=H100\n" in page


def test_top_has_the_column_and_the_page_of_the_machine_the_line(world: World) -> None:
    answers = {"fleet": world.http.get("/v1/fleet").json(), "node": world.http.get("/v1/nodes/n1").json()}
    now = PageMoment.of(1_790_000_000_000)
    page = draw_nodes(answers, "", now)
    assert page.rows[0].cells[page.head.index("GPUS")] == "2x H100 80G, 78G free, 1 held, 1 UNKNOWN"
    assert "2x H100 80G" in str(draw_node(answers, "n1", now).lines)


def test_a_model_is_told_of_them(world: World) -> None:
    answers = {f"GET {path}": world.http.get(path).json() for path in ("/v1/fleet", "/v1/now")}
    answer, _, _ = called(FakeApi(answers), "fleet_status")
    assert answer["nodes"][0]["gpus"] == "2x H100 80G, 78G free, 1 held, 1 UNKNOWN"


def test_a_monitor_gets_a_gauge_for_each_that_is_known(world: World) -> None:
    told = world.http.get("/v1/metrics").json()["figures"]
    found = {(one["name"], one["labels"].get("gpu")): one for one in told if "_gpu_" in one["name"]}
    free = found["pancode_node_gpu_memory_free_bytes", "0"]
    assert free["value"] == 78 * GIB and free["labels"] == {"node": "n1", "gpu": "0", "name": "H100"}
    assert found["pancode_node_gpu_busy_ratio", "0"]["value"] == 0.07
    assert ("pancode_node_gpu_memory_free_bytes", "1") not in found
    held = {gpu: found["pancode_node_gpu_held", gpu]["value"] for gpu in ("0", "1")}
    assert held == {"0": 0, "1": 1}


def test_the_owner_says_who_gets_them_and_a_label_that_contradicts_them_is_a_problem(world: World) -> None:
    shape = world.http.post("/v1/nodes/n1/set", {"gpus": "asked", "labels": {"gpu": "24g"}}).json()
    assert shape["gpu_rule"] == "asked"
    (problem,) = [one for one in shape["problems"] if "contradicts" in one["what"]]
    assert "gpu=24g of n1 contradicts its hardware: gpu=80g was found" in problem["what"]
    assert problem["fix"].startswith("pancode node set n1 --unlabel gpu")
    assert world.problem("POST", "/v1/nodes/n1/set", {})["fix"].startswith("give --slots, --gpus")
    assert world.problem("POST", "/v1/nodes/n1/set", {"gpus": "some"})["status"] == 400
