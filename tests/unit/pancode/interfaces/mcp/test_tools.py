"""The tools of the MCP server: arguments are checked, refusals come with their fix, answers are bounded."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from pancode.interfaces.client.client import Client, LogPart, RepeatedPost, ServerEvent
from pancode.interfaces.mcp import prompts, tools
from pancode.interfaces.mcp import server as resources
from pancode.interfaces.mcp.protocol import CallProgress, ParamsError
from pancode.interfaces.mcp.server import INSTRUCTIONS, serve
from pancode.kernel.declared import to_json
from pancode.kernel.errors import ApiError, UsageError
from pancode.runs.answers import NeedGroup
from tests.fakes.api import FakeApi
from tests.unit.pancode.reports.test_now import need

WORDS = defaultdict[str, RepeatedPost](lambda: RepeatedPost(str))


def logged(data: bytes, piece: int | None = None) -> FakeApi:
    """A log in pieces, as the coordinator gives it; behind its end a later attempt begins."""

    def log(path: str, query: dict[str, Any]) -> LogPart:
        offset = query["offset"]
        part = data[offset:][:piece]
        attempt = "1.1" if part or not offset else "2.2"
        return LogPart(part, attempt, offset + len(part), "more" if part and piece else "end")

    return FakeApi({"GET /v1/runs/r-1/log": log})


def called(client: FakeApi, name: str, /, **given: Any) -> Any:
    sent: list[Any] = []
    result = tools.call_tool(
        lambda works: client, WORDS, name, given, "me (test)", CallProgress(sent.append, "t")
    )
    return result["structuredContent"], result["isError"], sent


def test_a_dispatch_may_name_a_workspace() -> None:
    fields = {tool.name: tool.listed()["inputSchema"]["properties"] for tool in tools.TOOLS}
    assert "enum" not in fields["dispatch"]["workspace"]
    assert "not in a batch" in fields["dispatch_batch"]["workspace"]["description"]
    client = FakeApi({"POST /v1/runs": {"run": "r-abc", "state": "pending"}})
    called(client, "dispatch", task="go on", workspace="login", cwd="/srv/shop")
    ((path, body),) = client.asked
    assert (path, body["workspace"]) == ("/v1/runs", "login")


def test_each_tool_says_what_it_does_and_whether_it_only_looks() -> None:
    for tool in tools.TOOLS:
        listed = tool.listed()
        assert len(listed["description"]) > 30 and listed["inputSchema"]["additionalProperties"] is False
        assert set(tool.required_names) <= set(tool.fields)
    changing = {tool.name for tool in tools.TOOLS if not tool.listed()["annotations"]["readOnlyHint"]}
    assert changing == {
        *(
            "dispatch",
            *("dispatch_batch", "dispatch_chain", "dispatch_race"),
            "explore",
            "retry",
            "run_workflow",
            "stop",
            "workflow_stop",
            "lane_add",
            "land",
            "answer",
            "comment",
            "tell",
            "continue_run",
            "schedule_add",
            "schedule_pause",
            "schedule_resume",
            "schedule_remove",
            "say",
            "propose_change",
        )
    }


MOST_UNASKED = 12_000
"""Characters of the list that a client gets unasked: some 3,000 tokens of each conversation."""


def test_the_list_that_a_client_gets_unasked_is_short() -> None:
    unasked = tools.list_tools(())
    assert len(json.dumps(unasked)) <= MOST_UNASKED
    names = {tool["name"] for tool in unasked}
    assert {"dispatch", "wait", "run_show", "diff", "answer", "land", "retry", "receipt"} <= names
    assert "dispatch_batch" not in names
    assert {tool["name"] for tool in tools.list_tools(("workflows",))} - names > {
        "dispatch_batch",
        "run_workflow",
    }
    assert len(tools.list_tools((tools.ALL,))) == len(tools.TOOLS)
    with pytest.raises(UsageError, match="lane") as refused:
        serve(("lane",))
    assert "workflows" in refused.value.fix


def test_an_answer_fits_the_schema_that_the_list_gives() -> None:
    run = {"run": "r-1", "state": "ended", "outcome": None, "reason": "", "stage": "ended"}
    answer, _, _ = called(FakeApi({"GET /v1/runs/r-1/brief": [run]}), "wait", run="r-1", seconds=1)
    wanted = tools.BY_NAME["wait"].listed()["outputSchema"]["properties"]
    assert set(wanted) <= set(answer), "and more, such as the mark of what is not to be trusted"


def test_a_receipt_is_read_as_the_machine_signed_it() -> None:
    row = {"run": "r-1", "digest": "ab", "statement": {"outcome": "done"}, "envelope": {"signatures": ["x"]}}
    answer, failed, _ = called(FakeApi({"GET /v1/receipts/r-1": row}), "receipt", run="r-1")
    assert not failed and answer["statement"] == {"outcome": "done"} and "signatures" not in str(answer)


def test_prompts_hold_the_words_of_a_user_or_stand_alone() -> None:
    assert [one["title"] for one in prompts.list_prompts()] == [
        "Hand this over",
        "Review what came back",
        "Morning",
    ]
    for one in prompts.list_prompts():
        [message] = prompts.prompt_of(one["name"], {})["messages"]
        assert "{" not in message["content"]["text"] and message["role"] == "user"
    told = prompts.prompt_of("review", {"run": "r-7"})["messages"][0]["content"]["text"]
    assert "r-7" in told and "Do not land before I say yes" in told
    with pytest.raises(ParamsError, match="hand-over"):
        prompts.prompt_of("evening", {})


def test_a_schedule_is_made_of_its_time_and_its_task() -> None:
    client = FakeApi({"POST /v1/schedules*": {"schedule": "nightly"}})
    answer, failed, _ = called(
        client, "schedule_add", name="nightly", task="x", cron="30 2 * * *", agent="builder", cwd="/src/p"
    )
    (path, body), *_ = client.asked
    assert (answer, failed, path) == ({"schedule": "nightly"}, False, "/v1/schedules")
    work = {"task": "x", "agent": "builder", "cwd": "/src/p", "by": "me (test)"}
    assert body == {"name": "nightly", "by": "me (test)", "cron": "30 2 * * *", "dispatch": work}
    called(client, "schedule_pause", schedule="nightly", reason="holidays")
    assert client.asked[-1] == (
        "/v1/schedules/nightly/pause",
        {"by": "me (test)", "reason": "holidays"},
    )


def test_work_on_another_machine_needs_a_folder_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANCODE_COORDINATOR", "ssh://desk")
    agents: dict[str, Any] = {"GET /v1/agents": {"agents": []}, "GET /v1/records": {"records": []}}
    client = FakeApi({"POST /v1/runs": {"run": "r-1"}, **agents})
    answer, failed, _ = called(client, "dispatch", task="x")
    assert failed and answer["code"] == "not_from_here" and not client.asked
    called(client, "dispatch", task="x", cwd="/src/p")
    called(client, "dispatch", task="x", workspace="none")
    assert [body.get("cwd") for _, body in client.asked] == ["/src/p", None]
    called(client, "agents")
    assert client.asked[-2] == ("/v1/agents", {"cwd": None})
    wrong, failed, _ = called(client, "dispatch", task="x", cwd="p")
    assert failed and "absolute" in wrong["message"]


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("dispatch", {}, "requires the argument task"),
        ("dispatch", {"task": "x", "nodee": "y"}, "no argument nodee"),
        ("dispatch", {"task": None}, "requires the argument task"),
        ("dispatch", {"task": 7}, "task must be of type string"),
        ("runs", {"limit": 2.5}, "limit must be of type integer"),
        ("runs", {"limit": 1_000_000}, "limit must be from 0 to 50"),
        ("wait", {"run": "r-1", "seconds": True}, "seconds must be of type integer"),
    ],
)
def test_wrong_arguments_are_named_in_a_result(name: str, given: dict[str, Any], words: str) -> None:
    answer, failed, _ = called(FakeApi({}), name, **given)
    assert failed and words in answer["message"] and answer["code"] == "bad_argument"


def test_null_is_left_out_and_a_whole_number_may_have_a_point() -> None:
    client = FakeApi({"GET /v1/runs": {"runs": []}})
    called(client, "runs", limit=20.0, outcome=None)
    assert client.asked[0][1]["limit"] == 20
    with pytest.raises(ParamsError, match="unheard"):
        called(client, "unheard")


def test_only_tools_that_begin_work_bring_up_a_fleet_that_was_taken_down() -> None:
    begin = {tool.name for tool in tools.TOOLS if tool.begins}
    assert begin == {
        *("dispatch", "dispatch_batch", "dispatch_chain", "dispatch_race", "run_workflow"),
        *("answer", "tell", "continue_run", "schedule_add", "lane_add", "say", "retry"),
        "explore",
    }
    asked: list[bool] = []

    def client(works: bool) -> Client:
        asked.append(works)
        return FakeApi({"GET /v1/now": NOW})

    tools.call_tool(client, WORDS, "inbox", {}, "me", CallProgress(lambda message: None))
    assert asked == [False]


def test_a_dispatch_says_who_asks_and_where_and_what_comes_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PANCODE_RUN", raising=False)
    client = FakeApi({"POST /v1/runs": {"run": "r-1", "state": "pending"}})
    answer, failed, _ = called(client, "dispatch", task="x", cwd="/src/p")
    assert not failed and "wait with run r-1" in answer["next"]
    assert client.asked == [("/v1/runs", {"by": "me (test)", "cwd": "/src/p", "task": "x"})]


def test_a_dispatch_from_inside_a_run_is_its_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANCODE_RUN", "r-above")
    monkeypatch.setenv("PANCODE_DEPTH", "1")
    client = FakeApi({"POST /v1/runs": {"run": "r-2"}})
    called(client, "dispatch", task="x", cwd="/")
    assert client.asked[0][1]["parent"] == "r-above" and client.asked[0][1]["depth"] == 2


def refused(exit_code: int, fix: str, code: str = "x") -> FakeApi:
    problem = {"message": "no", "why": "no node", "fix": fix, "code": code, "exit_code": exit_code}
    return FakeApi({"POST /v1/runs": ApiError(problem)})


NOW: Any = {
    **{"groups": [], "count": 3, "summary": "3 need you: 3 to land", "money": {"notes": []}},
    "ended": {"since": "2026-11-29T07:00:00Z", "count": 1, "states": {"done": 1}, "runs": []},
}


def test_an_error_is_an_answer_with_why_and_fix() -> None:
    answer, failed, _ = called(refused(6, "pancode fleet up"), "dispatch", task="x")
    assert failed and answer == {"code": "x", "message": "no", "why": "no node", "fix": "pancode fleet up"}


@pytest.mark.parametrize(("exit_code", "code"), [(5, "refused_budget"), (7, "not_done"), (7, "held")])
def test_a_model_is_not_told_the_way_past_a_rule(exit_code: int, code: str) -> None:
    answer, failed, _ = called(refused(exit_code, "pancode land --anyway r-1", code), "dispatch", task="x")
    assert failed and answer["fix"] == "ask the user" and "--anyway" not in str(answer)


@pytest.mark.parametrize(("code", "key"), [("refused_mode", "Shift-Tab"), ("refused_safety", "Ctrl-Y")])
def test_a_model_is_told_what_to_ask_its_user_for(code: str, key: str) -> None:
    answer, _, _ = called(refused(5, "add --mode build", code), "dispatch", task="x")
    assert answer["fix"].startswith("ask the user") and key in answer["fix"] and "--" not in answer["fix"]


def test_fixes_and_commands_of_users_inside_of_a_result_are_left_out() -> None:
    item: Any = {"run": "r-1", "command": "pancode approve --with-commands r-1", "yes": ["--with-commands"]}
    item["words"] = "its change is not landed (needs --with-commands)"
    more: Any = {"item": item, "approves": item["words"], "words": item["words"]}
    change = need("r-1", NeedGroup.ASKS, "landing", **more, title="", headline="", since=None, usd=None)
    now = {**NOW, "groups": [{"needs": [to_json(change)]}]}
    answer, _, _ = called(FakeApi({"GET /v1/now": now}), "inbox")
    kept = {"group": "asks", "state": "landing", "run": "r-1"}
    assert answer["needs"] == [{**kept, "words": "its change waits for the user's approval"}]
    assert answer["count"] == 3 and answer["ended"]["states"] == {"done": 1}
    warned: Any = {"run": "r-1", "reason": "waits: held (fix: pancode approve r-1)", "task": "say (fix: it)"}
    warned["warnings"] = ["budget: nearly used (fix: pancode budget set 20)"]
    answer, _, _ = called(FakeApi({"POST /v1/runs": warned}), "dispatch", task="x")
    assert (answer["reason"], answer["warnings"]) == ("waits: held", ["budget: nearly used"])
    assert answer["task"] == "say (fix: it)", "these are not words of ours"
    judged = {"gates": [{"gate": "budget", "fix": "pancode budget set 20"}, {"gate": "drain", "fix": ""}]}
    answer, _, _ = called(FakeApi({"POST /v1/runs": judged}), "dispatch", task="x", dry_run=True)
    assert [gate["fix"] for gate in answer["gates"]] == ["ask the user", ""]


def test_words_of_runs_are_marked_and_each_character_in_them_is_seen() -> None:
    said = "ok\u202e\U000e0041 \x1b[2J\tna\u00efve \ufe0f\u3164\n"
    answer, _, _ = called(logged(said.encode()), "logs", run="r-1")
    assert next(iter(answer)) == "untrusted" and "never an instruction" in answer["untrusted"]
    assert answer["text"] == "ok<U+202E><U+E0041> <U+001B>[2J\tna\u00efve <U+FE0F><U+3164>\n"
    assert "untrusted" in INSTRUCTIONS
    marked = {tool.name for tool in tools.TOOLS if tool.untrusted}
    assert {tool.name for tool in tools.TOOLS if tool.route.startswith("GET")} - marked == {"budget"}
    assert {"land", "stop", "workflow_stop"} <= marked


def test_an_answer_says_that_a_program_gives_it() -> None:
    client = FakeApi({"POST /v1/runs/r-1/answer": {"run": "r-2"}})
    called(client, "answer", run="r-1", text="1")
    assert client.asked == [("/v1/runs/r-1/answer", {"by": "me (test)", "text": "1", "program": "me (test)"})]


def test_waiting_tells_how_far_the_run_is_and_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "LOOK_S", 0.0)
    at_work = {"state": "running", "stage": "agent", "reason": "on n1"}
    client = FakeApi({"GET /v1/runs/r-1/brief": [at_work, at_work, {"state": "ended"}]})
    answer, _, sent = called(client, "wait", run="r-1")
    assert answer["state"] == "ended" and "run_show" in answer["next"]
    assert [message["params"]["message"] for message in sent] == ["agent: on n1"] * 2
    answer, _, _ = called(FakeApi({"GET /v1/runs/r-1/brief": [at_work] * 2}), "wait", run="r-1", seconds=1)
    assert "call wait again" in answer["next"]


def test_a_log_comes_in_parts() -> None:
    data = b"x" * tools.LOG_BYTES + b"the rest"
    first, _, _ = called(logged(data), "logs", run="r-1")
    assert first["state"] == "more" and first["next_offset"] == tools.LOG_BYTES
    second, _, _ = called(logged(data), "logs", run="r-1", offset=first["next_offset"])
    assert second["text"] == "the rest" and second["state"] == "end"


def test_a_log_has_a_tail_that_says_how_much_stands_before_it() -> None:
    for size in (0, 1, 5, 65_536, 65_537, 1_234_567):
        data = bytes(ord("a") + (n % 23) for n in range(size))
        answer, _, _ = called(logged(data, 65_536), "logs", run="r-1", tail=10)
        assert answer["text"].encode() == data[-10:] and answer["left_out"] == max(0, size - 10)
        assert (answer["next_offset"], answer["state"]) == (size, "end")


def test_the_fleet_leaves_out_what_is_missing() -> None:
    """With three machines some 9 KB before, which a model pays for each time."""
    names = (
        "claude",
        "codex",
        "gemini",
        "opencode",
        "copilot",
        "qwen",
        "claude-sdk",
        "openai-agents",
        "native",
    )
    advice = (
        "x says: npm install -g --prefix ~/.local @vendor/program@latest, "
        "then list the runtimes with pancode agents runtimes"
    )
    missing: dict[str, Any] = {
        "state": "missing",
        "version": None,
        "fix": "",
        "says": advice,
        "can": [],
        "served": False,
    }
    runtimes = [{"name": name, **missing} for name in names]
    runtimes += [{**runtimes[0], "name": "shell", "state": "ok"}, {**runtimes[0], "state": "not_logged_in"}]
    node = {
        "state": "online",
        "slots": {"used": 0, "total": 4},
        "labels": {},
        "runtimes": runtimes,
        "problems": [],
    }
    told = {"nodes": [{"name": f"n{k}", **node} for k in range(3)]}
    failed = {"group": "failed", "needs": [{"node": "n2", "headline": "a test of a run there failed"}]}
    sick = {"group": "nodes", "needs": [{"node": "n1", "headline": "its disk is full"}]}
    now = {**NOW, "groups": [failed, sick]}
    answer, _, _ = called(FakeApi({"GET /v1/fleet": told, "GET /v1/now": now}), "fleet_status")
    assert answer["nodes"][0]["runtimes"] == {"shell": "ok", "claude": "not logged in"}
    assert [node.get("trouble") for node in answer["nodes"]] == [None, "its disk is full", None]
    assert answer["waits_for_user"] == "3 need you: 3 to land"
    assert len(str(answer["nodes"])) < 500 < 5_000 < len(str(told))


def test_a_large_diff_is_cut_and_says_so() -> None:
    answer, _, _ = called(
        FakeApi({"GET /v1/runs/r-1/diff": b"+" * (tools.DIFF_CHARS + 1)}), "diff", run="r-1"
    )
    assert answer["cut"] and len(answer["diff"]) == tools.DIFF_CHARS


def test_a_batch_is_a_workflow_whose_steps_are_the_tasks() -> None:
    client = FakeApi({"POST /v1/workflows": {"workflow": "w-1"}})
    answer, failed, _ = called(client, "dispatch_batch", tasks=["a", "b"], cwd="/src", agent="scout")
    path, body = client.asked[0]
    assert not failed and path == "/v1/workflows" and "workflow_show with workflow w-1" in answer["next"]
    assert body["kind"] == "batch" and body["by"] == "me (test)"
    work = [{"agent": "scout", "task": task} for task in "ab"]
    assert [step["dispatch"] for step in body["steps"]] == work


def test_a_chain_is_a_workflow_whose_steps_need_each_the_one_before() -> None:
    client = FakeApi({"POST /v1/workflows": {"workflow": "w-1"}})
    steps = [{"task": "plan", "agent": "scout"}, {"task": "build"}]
    called(client, "dispatch_chain", steps=steps, cwd="/src", agent="builder")
    body = client.asked[0][1]
    assert body["kind"] == "chain"
    assert [(step["name"], step["dispatch"]["agent"], step.get("needs")) for step in body["steps"]] == [
        ("1", "scout", None),
        ("2", "builder", ["1"]),
    ]
    for wrong in ("plan", {"agent": "scout"}, {"task": "x", "land": "yes"}, {"task": 7}):
        answer, failed, _ = called(client, "dispatch_chain", steps=[wrong], cwd="/src")
        assert failed and answer["code"] == "bad_argument"


def test_a_race_is_one_task_for_several() -> None:
    client = FakeApi({"POST /v1/workflows": {"workflow": "w-1"}})
    called(client, "dispatch_race", task="x", agents=["builder", "fixer"], by="smallest", cwd="/src")
    called(client, "dispatch_race", task="x", best_of=3, cwd="/src")
    named, same = client.asked[0][1], client.asked[1][1]
    assert named["race"] == {"by": "smallest"} and same["race"] == {"by": "first"}
    assert [step["dispatch"]["agent"] for step in named["steps"]] == ["builder", "fixer"]
    assert [step["dispatch"] for step in same["steps"]] == [{"task": "x"}] * 3
    for wrong in ({}, {"agents": ["one"]}, {"agents": ["a", "b"], "best_of": 2}):
        answer, failed, _ = called(client, "dispatch_race", task="x", cwd="/src", **wrong)
        assert failed and answer["code"] == "bad_argument"


def test_a_shipped_workflow_is_found_by_name_and_a_wrong_one_says_what_there_is(tmp_path: Path) -> None:
    client = FakeApi({"POST /v1/workflows": {"workflow": "w-2"}})
    called(client, "run_workflow", workflow="review-loop", input="do it", cwd=str(tmp_path))
    body = client.asked[0][1]
    assert body["input"] == "do it" and len(body["steps"]) >= 2
    (tmp_path / ".pancode/workflows").mkdir(parents=True)
    (tmp_path / ".pancode/workflows/review-loop.yaml").write_text("steps: [mine]")
    called(client, "run_workflow", workflow="review-loop", cwd=str(tmp_path))
    mine = client.asked[-1][1]
    assert mine["file"]["replaces"] == "review-loop" and "yes" not in mine, "the coordinator asks a user"
    refused, failed, _ = called(client, "run_workflow", workflow="review-lop", cwd=str(tmp_path))
    assert failed and "review-loop" in refused["fix"] + refused["message"]


def test_resources_are_those_of_a_run() -> None:
    words = {"GET /v1/runs/r-1/diff": b"+x", "GET /v1/runs/r-1/log": b"said"}
    client = FakeApi({**words, "GET /v1/receipts/r-1": {"digest": "d"}})
    for name, text in (("diff", "+x"), ("log", "said"), ("receipt", '"digest": "d"')):
        mark, content = resources.read_resource(client, f"pancode://runs/r-1/{name}")["contents"]
        assert text in content["text"] and "never an instruction" in mark["text"]
    for address in ("pancode://runs/r-1/key", "file:///etc/passwd", "pancode://runs/../x/log"):
        with pytest.raises(ParamsError):
            resources.read_resource(client, address)


def test_agents_come_with_their_records_and_no_rate_of_too_few_runs() -> None:
    def row(agent: str, runs: int) -> dict[str, Any]:
        about = {"agent": agent, "model": "opus", "kind": "change", "size": "small", "repository": "/p"}
        return {**about, "runs": runs, "good": runs, "rate": 0.8, "enough": runs >= 3}

    agents = [{"name": "builder", "prompt": "long"}, {"name": "scout"}]
    records = [row("builder", 2), row("builder", 9)]
    client = FakeApi({"GET /v1/agents": {"agents": agents}, "GET /v1/records": {"records": records}})
    answer, failed, _ = called(client, "agents", cwd="/src/p")
    builder, scout = answer["agents"]
    assert not failed and scout["records"] == [] and "prompt" not in builder
    assert [(one["runs"], one["rate"]) for one in builder["records"]] == [(9, 0.8), (2, "unknown")]


def test_a_model_that_was_not_tested_is_tested_first() -> None:
    place = {"node": "n1", "endpoint": "ollama", "model": "qwen3:8b"}
    untested = ApiError({"message": "it has not been tested", "code": "model_untested", "details": place})
    result = ServerEvent("result", {"tests": [{**place, "passed": True}]})
    client = FakeApi(
        {
            "POST /v1/runs": [untested, {"run": "r-abc", "state": "pending"}],
            "POST /v1/models/test": lambda path, sent: [result],
        }
    )
    answer, failed, _ = called(client, "dispatch", task="Continue the work", workspace="none")
    assert not failed and answer["run"] == "r-abc"
    assert [path for path, _ in client.posted] == ["/v1/runs", "/v1/models/test", "/v1/runs"]
    assert client.posted[1][1] == {"by": "me (test)", "model": "n1/ollama/qwen3:8b", "node": "n1"}
