"""Our program's talk with others: what they ask, how their turns end, and what else they may do."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from node_agent.acp import conversation
from node_agent.acp.calls import MOST_KEPT, MOST_OPEN, AcpCalls
from node_agent.acp.conversation import AcpConversation
from node_agent.chat.limits import Over
from node_agent.native.equipment import WorkerHeartbeat, pause
from node_agent.native.interactive_run import TurnOver
from node_agent.native.loop import ModelDeclined
from node_agent.native.tools.offer import Deeds
from node_agent.native.tools.shell import CHILDREN
from node_agent.runtimes.acp import AcpWay
from node_agent.runtimes.starting import HEAD
from node_agent.shim.process import read_stat
from node_agent.wire.failure import FailureKind
from node_agent.wire.receipt import TurnStop
from tests.crowd import until
from tests.unit.node_agent.native.test_loop import Script, Stage

PEER = Path(__file__).with_name("peer.py")
INSTALL = "npm install -g peer@latest"
Makes = Callable[..., AcpConversation]


class Talks:
    """Conversations with the small program, each in a checkout of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.all = folder, list[AcpConversation]()
        self.stage = Stage(folder, Script())

    def __call__(self, case: str, session: str = "", **way: Any) -> AcpConversation:
        loop, work = self.stage.loop, self.stage.loop.box.tree.top
        start = (sys.executable, "-I", str(PEER), case, str(self._folder / "x"))
        talk = AcpConversation(
            way=AcpWay(name="peer", argv=start, install=INSTALL, **way),
            env=os.environ,
            folder=work,
            model="m",
            session=session,
            voice=loop.voice,
            clock=loop.clock,
            limits=loop.limits,
            deeds=Deeds(loop.box, loop.voice),
            heartbeat=WorkerHeartbeat(pause),
        )
        self.all.append(talk)
        return talk

    def told(self, kind: str) -> list[dict[str, Any]]:
        return self.stage.told(kind)

    @property
    def starts(self) -> int:
        return (self._folder / "starts").stat().st_size


@pytest.fixture
def talks(tmp_path: Path) -> Iterator[Talks]:
    made = Talks(tmp_path)
    yield made
    for talk in made.all:
        talk.end()


def test_words_are_answered_and_the_session_is_told(talks: Talks) -> None:
    talk = talks("plain")
    talk.begin()
    assert [talk.run("one"), talk.run("two")] == ["you said one", "you said two"]
    assert not talk.remembers and talk.session == "s-1"
    (told,) = talks.told("session")
    assert (told["session"], told["version"], told["model"]) == ("s-1", "7", "m")
    assert talks.told("usage")[-1]["input"] == 10 and talks.starts == 1


def test_a_program_that_is_started_again_finds_what_was_laid_and_what_it_remembers(
    talks: Talks, tmp_path: Path
) -> None:
    """Its agent may have put settings beside them, from which it would ask nobody, and have killed it."""
    home, outside = tmp_path / "home", tmp_path / "outside"
    for name in (".peer/settings.json", ".peer/talks/1", "words-r-1.1.1/1", "tmp/x", "policy.toml"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("laid")
    outside.mkdir()
    (outside / "kept").write_text("theirs")
    talk = talks("plain", memory=(".peer/talks",), folders=(".peer",))
    talk.home = str(home)
    talk.begin()
    talk.run("one")
    for name in (".peer/plugins/x.js", ".peer/talks/2", ".peer.rc", "words-r-1.1.1/2", ".other/a"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("put there")
    (home / ".peer/link").symlink_to(outside)
    talk.end()
    assert talk.run("two") == "you said two" and talks.starts == 2
    left = {str(path.relative_to(home)) for path in home.rglob("*") if not path.is_dir()}
    of_ours = {"words-r-1.1.1/1", "words-r-1.1.1/2", "tmp/x", "policy.toml"}
    assert left == {".peer/settings.json", ".peer/talks/1", ".peer/talks/2", *of_ours}
    assert (outside / "kept").read_text() == "theirs"


def test_words_of_the_program_itself_are_no_answer_and_the_last_of_them_can_be_a_failure(
    talks: Talks,
) -> None:
    notices = ("Info: ", "Error: ")
    talk = talks("notices", notices=notices)
    talk.begin()
    with pytest.raises(Over, match="HTTP 401") as over:
        talk.run("fail")
    assert over.value.kind is FailureKind.MODEL_AUTH
    assert talk.run("go on") == "the answer", "what the model says behind it is an answer"
    assert [one["text"] for one in talks.told("noted")][0] == "[peer: Info: asks again]"


def test_a_failure_that_an_adapter_tells_beside_its_words_fails_the_turn_and_one_it_got_over_does_not(
    talks: Talks,
) -> None:
    talk = talks("codex")
    talk.begin()
    with pytest.raises(Over, match="429") as over:
        talk.run("fail")
    assert over.value.kind is FailureKind.MODEL_BUSY
    assert talks.told("said") == [], "it is not a word of the model"
    assert talk.run("go on") == "the answer"


def test_an_adapter_of_another_version_is_refused_and_finds_the_program_that_it_starts(talks: Talks) -> None:
    with pytest.raises(Over, match=r"7.*2\.6\.x.*npm install"):
        talks("plain", known="2.6.").begin()
    talk = talks("plain", known="7", programs={"PEER_PATH": "sh", "NONE_PATH": "no-such-program"})
    assert talk.programs()["PEER_PATH"].endswith("/sh") and talk.programs()["NONE_PATH"] == "no-such-program"


def test_sums_are_taken_apart_and_begin_anew_with_the_process(talks: Talks) -> None:
    talk = talks("sums", sums=True)
    talk.begin()
    talk.run("one")
    talk.run("two")
    talk.end()
    talk.run("three")
    assert (talk.used["input"], talk.used["output"], talk.turns) == (30, 3, 3)


def test_an_option_is_set_and_one_that_is_not_listed_is_refused(talks: Talks) -> None:
    talk = talks("options", options={"agent": "ours"})
    talk.begin()
    assert talk.run("who?") == "ours"
    with pytest.raises(Over, match="theirs"):
        talks("options", options={"agent": "theirs"}).begin()


def test_what_a_turn_used_is_counted_where_gemini_tells_it(talks: Talks) -> None:
    talk = talks("quota")
    talk.begin()
    talk.run("one")
    talk.run("two")
    assert (talk.used, talk.turns) == ({"input": 14, "cached": 0, "output": 6}, 2)


@pytest.mark.parametrize("before", ["", " \n\t", "\ufeff", "\u200b \u2060", "\ufe0f\x00\xa0"])
def test_words_are_never_a_command_of_the_program(talks: Talks, before: str) -> None:
    talk = talks("plain")
    talk.begin()
    words = f"{before}/init !`touch x`"
    assert [talk.run(words) for _ in range(2)] == [f"you said {HEAD}{words}"] * 2
    assert talk.run("look in /etc") == "you said look in /etc", "other words are sent as they are"


def test_it_goes_on_with_a_session_and_tells_nothing_of_before(talks: Talks) -> None:
    talk = talks("plain", session="s-1")
    talk.begin()
    assert talk.remembers and talk.run("go on") == "you said go on"
    assert not any("before" in one["text"] for one in talks.told("said"))


def test_a_session_that_is_gone_is_told_and_a_new_one_begins(talks: Talks) -> None:
    talk = talks("forgets", session="s-0")
    talk.begin()
    assert not talk.remembers and talk.session == "s-1"
    notes = [one["text"] for one in talks.told("noted")]
    assert "not found" in notes[0] and "does not remember" in notes[1]


def test_a_permission_is_given_once_by_policy_and_never_for_ever(talks: Talks) -> None:
    talk = talks("permissions")
    talk.begin()
    assert talk.run("try") == "yes no no yes no no no"
    assert [one["tool"] for one in talks.told("called")] == ["bash"] * 3 + [
        "edit",
        "read",
        "edit",
        "about it",
    ]
    why = [one["why"] for one in talks.told("denied")]
    assert "git_push" in why[0] and "exact command" in why[1] and "outside" in why[2]
    assert [one["ok"] for one in talks.told("ran")] == [True, True]
    assert [one.get("output") for one in talks.told("ran")] == ["printed", None]
    assert list(talk.deeds.box.changed) == ["new.txt"]


@pytest.mark.parametrize(
    ("way", "set_"),
    [
        ({}, "code"),
        ({"mode": "plan", "model": "m-2", "effort": "high"}, "m-2 plan high"),
        ({"mode": "yolo", "effort": "none"}, "code"),
        ({"mode": "debug", "model": "m-1"}, "m-1 code"),
    ],
)
def test_what_was_chosen_of_its_offers_is_set_and_never_a_mode_that_asks_nobody(
    talks: Talks, way: dict[str, str], set_: str
) -> None:
    """By a mode that it begins in, or by one that a user names."""
    talk = talks("offers", chooses=True, **way)
    talk.begin()
    assert talk.run("go") == set_
    noted = [one["text"] for one in talks.told("noted")]
    assert noted[0] == "[peer offers mode: code, plan; effort: low, high; model: m-1, m-2]"
    if way.get("mode") in ("yolo", "debug"):
        assert f"[peer does not offer mode {way['mode']}, only code, plan]" in noted


def test_a_model_that_it_does_not_offer_is_named(talks: Talks) -> None:
    with pytest.raises(Over, match="m-9"):
        talks("offers", chooses=True, model="m-9").begin()


def test_a_command_whose_exact_words_are_not_told_is_refused(talks: Talks) -> None:
    talk = talks("permissions", titled="[current")
    talk.begin()
    assert talk.run("try").split()[:2] == ["no", "no"]


def test_a_command_that_would_run_elsewhere_is_not_known_exactly(talks: Talks) -> None:
    talk = talks("plain")
    calls = AcpCalls(talk.way, talk.deeds, talk.voice)
    options = [{"optionId": "yes", "kind": "allow_once"}]
    here = talk.deeds.box.tree.top
    told = {
        "1": {},
        "2": {"cwd": here},
        "3": {"directory": "sub"},
        "4": {"workdir": "sub"},
        "5": {"cwd": "/"},
    }
    for number, more in told.items():
        asked = {"toolCallId": number, "kind": "execute", "rawInput": {"command": "ls", **more}}
        answer = calls.permit({"toolCall": asked, "options": options})
        assert (answer["outcome"]["outcome"] == "selected") == (number in "12")


@pytest.mark.parametrize(("total", "counted"), [(110, 60), (150, 100), (0, 100)])
def test_what_was_cached_is_counted_once(talks: Talks, total: int, counted: int) -> None:
    talk = talks("told-by-call")
    talk.begin()
    assert talk.run(str(total)) == "the answer", "what is told behind it does not end it"
    assert talk.used == {"input": counted, "cached": 40, "output": 10}


def test_a_title_is_the_command_only_where_it_says_that_it_runs_in_our_folder(talks: Talks) -> None:
    talk = talks("plain", titled="[in the folder]")
    calls = AcpCalls(talk.way, talk.deeds, talk.voice)
    beside = {"here": "[in the folder] (a look)", "there": "[in sub] (a look)", "none": ""}
    for number, text in beside.items():
        content = [{"type": "content", "content": {"type": "text", "text": text}}]
        asked = {"toolCallId": number, "kind": "execute", "title": "ls", "content": content}
        answer = calls.permit({"toolCall": asked, "options": [{"optionId": "yes", "kind": "allow_once"}]})
        assert (answer["outcome"]["outcome"] == "selected") == (number == "here")


def test_a_chat_is_put_aside_before_its_program_begins_a_file_of_its_name(
    talks: Talks, tmp_path: Path
) -> None:
    """The larger one: what a start without a message has left holds nothing."""
    chats = tmp_path / "home/tmp/p/chats"
    chats.mkdir(parents=True)
    (chats / "session-2026-11-23T20-45-s-1.jsonl").write_text("what was said")
    (chats / "session-2026-11-23T20-46-s-1.jsonl").write_text("")
    (chats / "session-2026-11-23T20-46-s-2.jsonl").write_text("what another said, for long")
    talk = talks("plain", session="s-1", chats="tmp/*/chats/session-*-{}.jsonl")
    talk.env = {**os.environ, "HOME": str(tmp_path / "home")}
    for _ in range(2):
        talk.begin()
        talk.end()
    assert (chats / "session-1970-01-01T00-00-s-1.jsonl").read_text() == "what was said"
    assert len(list(chats.iterdir())) == 3


def test_files_and_terminals_are_not_served(talks: Talks) -> None:
    talk = talks("serves")
    talk.begin()
    assert talk.run("read it") == "-32601"


def test_what_belongs_to_another_session_is_not_shown(talks: Talks) -> None:
    talk = talks("foreign")
    talk.begin()
    assert talk.run("speak") == "mine"


@pytest.mark.parametrize(
    ("case", "kind", "words"),
    [
        ("usage", FailureKind.RUNTIME_UNREADABLE, "Usage: peer [--help]"),
        ("nothing", FailureKind.RUNTIME_UNREADABLE, "ended by itself, exit status 0"),
        ("complains", FailureKind.RUNTIME_UNREADABLE, "exit status 2: peer: no such option: acp"),
        ("gigabyte", FailureKind.RUNTIME_UNREADABLE, "more than 16 MiB in one message"),
        ("newer", FailureKind.RUNTIME_UNREADABLE, "speaks version 2 of ACP, and PanCode speaks 1"),
        ("silence", FailureKind.RUNTIME_UNREADABLE, "did not answer initialize within"),
    ],
)
def test_what_speaks_no_acp_ends_with_its_own_words_and_the_fix(
    talks: Talks, monkeypatch: pytest.MonkeyPatch, case: str, kind: FailureKind, words: str
) -> None:
    if case == "silence":
        monkeypatch.setattr(conversation, "STARTS_MS", 300)
    with pytest.raises(Over) as over:
        talks(case).begin()
    assert over.value.kind is kind and words in str(over.value) and INSTALL in str(over.value)


def test_a_program_that_is_not_there_is_named_with_the_fix(talks: Talks) -> None:
    talk = talks("plain")
    talk.way = talk.way.model_copy(update={"argv": ("/nowhere/peer",)})
    with pytest.raises(Over, match="could not be started") as over:
        talk.begin()
    assert over.value.kind is FailureKind.RUNTIME_MISSING and INSTALL in str(over.value)


def test_a_program_that_wants_a_login_says_so(talks: Talks) -> None:
    with pytest.raises(Over, match="Authentication required") as over:
        talks("login").begin()
    assert over.value.kind is FailureKind.MODEL_AUTH


def test_a_mode_that_it_does_not_list_is_refused(talks: Talks) -> None:
    talks("plain", mode="default").begin()
    with pytest.raises(Over, match="yolo"):
        talks("plain", mode="yolo").begin()


@pytest.mark.parametrize(
    ("case", "kind", "words"),
    [
        ("refused", FailureKind.MODEL_AUTH, "Internal error: no key"),
        ("cuts", FailureKind.AGENT_FAILED, "cut off"),
        ("flood", FailureKind.AGENT_FAILED, "more than 16 MiB"),
    ],
)
def test_a_turn_that_fails_says_why(talks: Talks, case: str, kind: FailureKind, words: str) -> None:
    talk = talks(case)
    talk.begin()
    with pytest.raises(Over, match=words) as over:
        talk.run("go")
    assert over.value.kind is kind


def test_a_model_that_declines_is_told_as_that(talks: Talks) -> None:
    talk = talks("declines")
    talk.begin()
    with pytest.raises(ModelDeclined):
        talk.run("go")


def test_a_program_that_dies_is_started_again_with_its_session(talks: Talks) -> None:
    talk = talks("dies")
    talk.begin()
    with pytest.raises(Over, match="out of luck") as over:
        talk.run("go")
    assert over.value.kind is FailureKind.AGENT_FAILED
    talk.close("failed")
    assert talk.run("again") == "you said again" and talk.remembers and talks.starts == 2


@pytest.mark.parametrize(("case", "starts"), [("mute", 1), ("deaf", 2)])
def test_a_cancelled_turn_ends_and_who_does_not_hear_it_is_ended(
    talks: Talks, monkeypatch: pytest.MonkeyPatch, case: str, starts: int
) -> None:
    if case == "mute":
        monkeypatch.setattr(conversation, "CANCELS_MS", 60_000)
    talk = talks(case)
    talk.begin()

    def cancelled() -> None:
        if any(one["text"] == "half" for one in talks.told("said")):
            talk.heartbeat.on = None
            raise TurnOver(TurnStop.CANCELLED)
        talk.voice.flush()

    talk.heartbeat.on = cancelled
    with pytest.raises(TurnOver):
        talk.run("go")
    talk.way = talk.way.model_copy(update={"argv": (*talk.way.argv[:3], "plain", *talk.way.argv[4:])})
    if case == "deaf":
        assert talk.run("again") == "you said again"
    assert talks.starts == starts


@pytest.mark.parametrize("case", ["commands", "commands-deaf"])
def test_no_command_of_a_cancelled_turn_works_on(talks: Talks, case: str) -> None:
    talk = talks(case)
    talk.begin()

    def cancelled() -> None:
        if talks.told("said"):
            raise TurnOver(TurnStop.CANCELLED)
        talk.voice.flush()

    talk.heartbeat.on = cancelled
    with pytest.raises(TurnOver):
        talk.run("go")
    command = int(talks.told("said")[0]["text"])
    until(lambda: (found := read_stat(command)) is None or found.gone, "the command is over")


def test_a_program_that_dies_between_turns_eats_no_words(talks: Talks) -> None:
    talk = talks("leaves")
    talk.begin()
    assert talk.run("one") == ""
    os.waitid(os.P_PID, CHILDREN.alive[-1].pid, os.WEXITED | os.WNOWAIT)
    assert talk.run("two") == "you said two" and talk.remembers and talks.starts == 2


def test_a_start_in_the_midst_of_an_interactive_run_hears_a_cancel(
    talks: Talks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "STARTS_MS", 3_000)
    talk = talks("silence")

    def cancelled() -> None:
        raise TurnOver(TurnStop.CANCELLED)

    talk.heartbeat.on = cancelled
    with pytest.raises(TurnOver):
        talk.run("go")


def test_a_call_that_was_not_told_whole_is_no_work(talks: Talks) -> None:
    talk = talks("pending", silent_ms=300)
    talk.begin()
    with pytest.raises(Over, match="no answer: peer has sent nothing"):
        talk.run("go")


def test_each_call_is_told_also_where_a_program_ends_none(talks: Talks) -> None:
    talk = talks("plain")
    calls = AcpCalls(talk.way, talk.deeds, talk.voice)
    for at in range(MOST_OPEN + 5):
        asked = {"toolCallId": str(at), "kind": "execute", "rawInput": {"command": "ls"}}
        calls.take({**asked, "status": "in_progress"})
    assert len(talks.told("called")) == MOST_OPEN + 5


def test_what_is_too_long_to_keep_is_not_known_and_lets_nothing_through(talks: Talks) -> None:
    talk = talks("plain")
    calls = AcpCalls(talk.way, talk.deeds, talk.voice)
    options = [{"optionId": "yes", "kind": "allow_once"}]
    for number, more in ("1", ""), ("2", "x" * MOST_KEPT):
        calls.take({"toolCallId": number, "kind": "execute", "rawInput": {"command": "ls"}})
        calls.take({"toolCallId": number, "rawInput": {"more": more}})
    asked = [calls.permit({"toolCall": {"toolCallId": one}, "options": options}) for one in "12"]
    assert [one["outcome"]["outcome"] for one in asked] == ["selected", "cancelled"]


def test_a_change_is_told_without_what_its_file_had_before_and_after(talks: Talks) -> None:
    talk = talks("plain")
    calls, top = AcpCalls(talk.way, talk.deeds, talk.voice), talk.deeds.box.tree.top
    diffs = [
        {
            "type": "diff",
            "path": f"{top}/sub/a",
            "oldText": "one\ntwo\nthree\n",
            "newText": "one\n2\n2b\nthree\n",
        },
        {"type": "diff", "path": "/x/new", "oldText": None, "newText": "all\n"},
        {"type": "diff", "path": "/x/same", "oldText": "same", "newText": "same"},
    ]
    calls.take({"toolCallId": "1", "kind": "edit", "status": "in_progress", "content": diffs})
    calls.take({"toolCallId": "1", "status": "completed"})
    calls.take({"toolCallId": "2", "kind": "edit", "status": "completed", "content": [{"type": "diff"}]})
    blank = {"type": "diff", "path": f"{top}/a", "oldText": "one\ntwo\n", "newText": "one\n\ntwo\n"}
    calls.take({"toolCallId": "3", "kind": "edit", "status": "completed", "content": [blank]})
    changed, nothing, spaced = talks.told("ran")
    assert changed["diff"] == "sub/a\n-two\n+2\n+2b\n/x/new\n+all", "several files have their paths"
    assert "diff" not in nothing and spaced["diff"] == "+"


def test_a_program_that_writes_an_answer_down_after_it_has_given_it_is_waited_for(
    talks: Talks, tmp_path: Path
) -> None:
    talk = talks("keeps", keeps=("kept-{}", '"kind": "answer"'))
    talk.env = {**os.environ, "HOME": str(tmp_path)}
    talk.begin()
    assert talk.run("one") == talk.run("two")
    talk.end(gently=True)
    kept = [json.loads(line)["kind"] for line in (tmp_path / "kept-s-1").read_text().splitlines()]
    assert sorted(kept) == ["answer", "answer", "noted", "noted"], "the same answer, given twice"


def test_its_plan_and_its_mode_are_told_when_they_are_new(talks: Talks) -> None:
    talk = talks("plans", mode="code")
    talk.begin()
    assert talk.run("go") == "planned"
    assert [one["text"] for one in talks.told("noted")] == [
        "[peer plans: \u2713 look; \u25cf write; \u25cb test]",
        "[peer is in mode yolo]",
    ]


def test_a_model_that_gives_no_answer_ends_the_turn(talks: Talks) -> None:
    talk = talks("mute", silent_ms=300)
    talk.begin()
    with pytest.raises(Over, match="no answer: peer has sent nothing") as over:
        talk.run("go")
    assert over.value.kind is FailureKind.MODEL_FAILED


def test_its_stream_is_json_lines_only(talks: Talks) -> None:
    talk = talks("permissions")
    talk.begin()
    talk.run("try")
    assert all(json.loads(line)["type"] for line in talks.stage.file.read_text().splitlines())
