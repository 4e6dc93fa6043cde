"""One of each message, every field filled in: what the golden files hold."""

from __future__ import annotations

from decimal import Decimal

from node_agent.wire.control import (
    BudgetAnswers,
    CallAnswer,
    Control,
    CoordinatorHeartbeat,
    Examine,
    FleetAnswers,
    ReportAttempts,
    StopControl,
    TakeBack,
    TurnControl,
    UserAnswers,
    UserMessage,
)
from node_agent.wire.endpoint import (
    AskFact,
    AskState,
    CheckFact,
    Dialect,
    EndpointFact,
    ExamCheck,
    Grade,
    Health,
    ModelFact,
    ModelWire,
    PassportFact,
    Residence,
    Sampling,
)
from node_agent.wire.event import (
    BudgetAsked,
    Event,
    Events,
    FleetAsked,
    MessagesHeard,
    Progress,
    Turned,
    UserAsked,
)
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.fleet import FleetTerms, FleetTool
from node_agent.wire.identity import AttemptId, Mark
from node_agent.wire.job import AgentSpec, Gate, Job, Limits, Reasoning, Resumed, TurnTerms, Workspace
from node_agent.wire.model import FleetTime
from node_agent.wire.node import (
    Allowed,
    Ask,
    AttemptReport,
    AttemptsReport,
    Flag,
    GpuFact,
    GpuLoad,
    Heartbeat,
    Hello,
    Inventory,
    JournalEntry,
    LoggedIn,
    NodeFacts,
    NodeProblem,
    RuntimeFact,
    Signs,
)
from node_agent.wire.policy import (
    CallAsked,
    CommandRule,
    Enforcement,
    Isolation,
    Mode,
    NetworkAccess,
    PathAccess,
    PathRule,
    Rules,
    Safety,
    compile_policy,
)
from node_agent.wire.receipt import (
    Blob,
    Claims,
    Enforced,
    Exposed,
    GateReport,
    GateResult,
    ModelCalls,
    ReportResult,
    Served,
    SuspendReason,
    TurnMessage,
    TurnRecord,
    TurnStop,
    Usage,
    UserQuestion,
    receipt_of,
)
from node_agent.wire.signing import Signed, SigningKey
from node_agent.wire.skill import JobSkill, ProposedTool, SkillMark, digest_of, pack_files

KEY = SigningKey(b"golden-wire-key-of-32-bytes-long")
TAG = KEY.public.tag
WHO = AttemptId(run="r-7f3k2q", attempt=2, lease=3)
AT = FleetTime(epoch=4, ms=123_456)
FLEET = "f-home"
GPU = "GPU-8f1c2a4e-0000-4000-8000-000000000001"

RULES = Rules(
    network=NetworkAccess.GATEWAY,
    paths=(
        PathRule(pattern=".env", access=PathAccess.NONE, reason="keys", origin="your pansafety.yaml:3"),
        PathRule(pattern="migrations/", access=PathAccess.READ),
        PathRule(pattern="./README.md", access=PathAccess.NO_DELETE),
    ),
    commands=(CommandRule(pattern=r"\bdrop\s+table", reason="data", origin="project pansafety.yaml:9"),),
)


SKILL = {"SKILL.md": (b"---\nname: deploy\n---\nDo it.\n", False), "go.sh": (b"#!/bin/sh\n", True)}


def job() -> Job:
    return Job(
        fleet=FLEET,
        epoch=4,
        identity=WHO,
        node=TAG,
        issued_wall_ms=1_790_000_000_000,
        start_by=AT,
        agent=AgentSpec(
            name="builder",
            prompt="Be exact.",
            tools=("read", "edit"),
            read_only=False,
            sampling=Sampling(
                temperature=Decimal("0.2"), top_p=Decimal("0.95"), top_k=20, presence_penalty=Decimal("-0.5")
            ),
        ),
        task='say "it\'s $(done)"\n--é😀',
        argv=("printf", "%s", "-n"),
        runtime="shell",
        model="m",
        reasoning=Reasoning.HIGH,
        untested=True,
        mode=Mode.BUILD,
        safety=Safety.AUTO_EDIT,
        policy=compile_policy(Safety.AUTO_EDIT, read_only=False, rules=RULES, sandboxed=True),
        workspace=Workspace(kind="git", repo="demo-1234", base="a" * 40, snapshot="b" * 40, folder="-web/é"),
        setup=(("make", "setup"),),
        cache=("node_modules",),
        gates=(Gate(name="verify", argv=("pytest", "-q")),),
        score=("./bench.sh",),
        reports=("out/results.sarif",),
        limits=Limits(
            wall_ms=60_000,
            idle_ms=30_000,
            output_bytes=1_000,
            tokens=10,
            usd=Decimal("0.75"),
            requests=40,
            wrap_up=True,
            memory_bytes=1 << 30,
            processes=300,
            disk_bytes=1 << 34,
            turns=20,
        ),
        env=("LANG",),
        secrets=("API_KEY",),
        depth=1,
        resume=Resumed(run="r-0001", session="s-1"),
        answer="take the port 8080",
        turns=TurnTerms(idle_ms=600_000, turn_ms=3_600_000, by="ana", story="we began", mode="plan"),
        skills=(
            JobSkill(
                name="deploy", digest=digest_of(SKILL), place=".agents/skills", packed=pack_files(SKILL)
            ),
        ),
        gpus=(GPU,),
        trace="t-1",
    )


def _calls() -> ModelCalls:
    counts = ModelCalls(requests=2, failed=1, refused=1, unread=1, wrap_up=1, waited_ms=7, retry_ms=30_000)
    return counts.model_copy(update={"sent_bytes": 5, "received_bytes": 6})


def _report() -> GateReport:
    result = ReportResult(level="error", rule="F401", file="a.py", line=3, text="unused")
    return GateReport(
        file="out/results.sarif", form="sarif", tool="ruff 0.8", counts={"error": 1}, results=(result,)
    )


def _turn() -> TurnRecord:
    return TurnRecord(
        number=1,
        words=(TurnMessage(number=0, by="ana", sha256="4" * 64),),
        stop=TurnStop.LIMIT,
        why="60 s",
        usage=Usage(input_tokens=7, output_tokens=1, cost_usd=Decimal("0.10"), cost_source="metered"),
        began_wall_ms=1,
        ended_wall_ms=2,
    )


def receipt() -> Signed:
    claims = Claims(
        fleet=FLEET,
        epoch=4,
        identity=WHO,
        node=TAG,
        node_name="gpubox",
        job="0" * 64,
        node_version="0.1.0",
        runtime="shell",
        runtime_version="5.2",
        served=Served(
            endpoint="ollama",
            engine=Dialect.OLLAMA,
            engine_version="0.9",
            model="qwen3:8b",
            model_digest="sha256:ab",
        ),
        model="m",
        agent="builder",
        prompt_digest="1" * 64,
        mode=Mode.BUILD,
        safety=Safety.AUTO_EDIT,
        isolation=Isolation.NONE,
        enforced=(Enforced(rule="file_write", how=Enforcement.RUNTIME),),
        outcome=Outcome.VERIFY_FAILED,
        failure=FailureKind.GATE_FAILED,
        reason="verify exited 1",
        exit_code=0,
        usage=Usage(input_tokens=7, output_tokens=1, cost_usd=Decimal("0.10"), cost_source="metered"),
        claimed=Usage(input_tokens=6, output_tokens=1, cost_usd=Decimal("0.09"), cost_source="reported"),
        calls=_calls(),
        session="s",
        tool_calls={"file_write": 1},
        gates=(GateResult(name="verify", argv=("false",), passed=False, exit_code=1, duration_ms=5),),
        gates_on="result",
        score="-12.5",
        reports=(_report(),),
        started_wall_ms=1,
        finished_wall_ms=2,
        at=AT,
        base="a" * 40,
        snapshot="b" * 40,
        commit="c" * 40,
        files_changed=("a b.txt",),
        change="change",
        answer="done",
        question=UserQuestion(question="which?", choices=("a", "b")),
        turns=(_turn(),),
        rests=SuspendReason.CAP,
        skills=(SkillMark(name="deploy", digest="5" * 64),),
        proposed=(ProposedTool(name="count", digest=digest_of(SKILL), packed=pack_files(SKILL)),),
        findings=("odd",),
        exposed=(Exposed(secret="API_KEY", file="a.txt"),),
        blobs=(Blob(name="out", size=1, sha256="2" * 64),),
        last_event=9,
        previous="3" * 64,
    )
    return receipt_of(claims)


def passport() -> PassportFact:
    return PassportFact(
        taken_ms=5,
        took_ms=4_000,
        checks=(
            CheckFact(check=ExamCheck.ANSWERS, grade=Grade.PASSED, words="first token after 0.2 s"),
            CheckFact(
                check=ExamCheck.CONTEXT, grade=Grade.FAILED, words="a call gets 4096 tokens", fix="more"
            ),
        ),
        ctx=4_096,
    )


def endpoint() -> EndpointFact:
    return EndpointFact(
        name="ollama",
        dialect=Dialect.OLLAMA,
        at="127.0.0.1:11434",
        version="0.14.2",
        health=Health.WEDGED,
        words="no progress for 60 s",
        fix="restart it",
        slots=1,
        slots_free=0,
        waiting=2,
        wires=(ModelWire.CHAT, ModelWire.OLLAMA),
        free=False,
        age_ms=12,
        models=(
            ModelFact(
                id="qwen3-coder:30b",
                family="qwen3moe",
                parameters=30_500_000_000,
                quantisation="Q4_K_M",
                ctx_usable=32_768,
                ctx_max=262_144,
                residence=Residence.LOADED,
                size=1 << 34,
                vram=1 << 33,
                slots=1,
                tools=True,
                vision=False,
                embedding=True,
                remote=True,
                digest="06c1097efce0",
                passport=passport(),
            ),
        ),
        more=3,
    )


def facts() -> NodeFacts:
    return NodeFacts(
        hostname="gpubox",
        os="linux",
        arch="x86_64",
        python="3.11.7",
        cpus=2,
        memory=1 << 34,
        disk_free=1 << 40,
        load_1m=0.5,
        isolation=Isolation.NONE,
        set_ups=("demo-1234",),
        runtimes=(
            RuntimeFact(
                name="shell",
                version="5",
                state="ok",
                can=(Flag.STREAM, Flag.READ_ONLY),
                login=LoggedIn.SUBSCRIPTION,
                brought="chosen",
            ),
        ),
        endpoints=(endpoint(),),
        asks=(
            AskFact(
                ask="a" * 16,
                endpoint="ollama",
                model="qwen3-coder:30b",
                state=AskState.TESTING,
                words="tools?",
            ),
        ),
        problems=(NodeProblem(what="low disk", fix="free some"),),
        shut=NodeProblem(what="low disk", fix="free some"),
        allows=Allowed(
            safety=Safety.AUTO_EDIT, repositories=("demo-1234",), runtimes=("shell",), closed="no"
        ),
        variables=("CI", "PIP_CERT"),
        gpus=(GpuFact(index=0, uuid=GPU, name="NVIDIA H200", memory=143 << 30, driver="580.159.03"),),
        wall_ms=3,
    )


ASKED = CallAsked(call="a1" * 8, command="git push origin main", pattern=r"\bgit\s+push\b")


def _of_calls() -> dict[str, Signed]:
    return {
        "person_answers": Control(
            fleet=FLEET,
            node=TAG,
            seq=9,
            at=AT,
            body=UserAnswers(
                identity=WHO, asked=ASKED, allow=False, words="to a branch of your own", by="ana"
            ),
        ),
        "call_answer": CallAnswer(identity=WHO, asked=ASKED, allow=True, whole=True),
        "person_asked": Events(
            fleet=FLEET,
            node=TAG,
            events=(
                Event(identity=WHO, seq=3, wall_ms=4, at=AT, body=UserAsked(asked=ASKED, why="rule ask")),
            ),
        ),
    }


def _of_turns() -> dict[str, Signed]:
    cancel = TurnControl(identity=WHO, number=1, what="cancel")
    ended = Event(identity=WHO, seq=4, wall_ms=4, at=AT, body=Turned(turn=_turn(), bytes=900))
    return {
        "turn_control": Control(fleet=FLEET, node=TAG, seq=10, at=AT, body=cancel),
        "turned": Events(fleet=FLEET, node=TAG, events=(ended,)),
    }


def _of_fleet() -> dict[str, Signed]:
    tool = FleetTool(name="dispatch", description="hand over a task", parameters='{"type":"object"}')
    said = FleetAsked(number=1, tool="dispatch", arguments='{"task":"build it"}')
    asked = Event(identity=WHO, seq=5, wall_ms=4, at=AT, body=said)
    answer = FleetAnswers(identity=WHO, number=1, ok=True, text='{"run":"r-0002"}')
    return {
        "fleet_job": job().model_copy(update={"fleet_tools": FleetTerms(tools=(tool,))}),
        "fleet_asked": Events(fleet=FLEET, node=TAG, events=(asked,)),
        "fleet_answers": Control(fleet=FLEET, node=TAG, seq=11, at=AT, body=answer),
    }


def _of_budget() -> dict[str, Signed]:
    limits = job().limits.model_copy(update={"reserved_usd": Decimal("0.75")})
    asked = Event(identity=WHO, seq=6, wall_ms=4, at=AT, body=BudgetAsked(number=1, usd=Decimal("0.80")))
    answer = BudgetAnswers(identity=WHO, number=1, usd=Decimal("0.75"), words="the day has no room")
    return {
        "budget_job": job().model_copy(update={"limits": limits}),
        "budget_asked": Events(fleet=FLEET, node=TAG, events=(asked,)),
        "budget_answers": Control(fleet=FLEET, node=TAG, seq=12, at=AT, body=answer),
    }


def _of_reports() -> dict[str, Signed]:
    asks = ReportAttempts(since_ms=7, after=WHO)
    entry = AttemptReport(mark=Mark.ACKNOWLEDGED, job='{"payload":"a"}', receipt='{"payload":"b"}')
    page = AttemptsReport(
        fleet=FLEET, node=TAG, since_ms=7, after=WHO, entries=(entry,), next=None, complete_since_ms=7
    )
    return {
        "report_attempts": Control(fleet=FLEET, node=TAG, seq=13, at=AT, body=asks),
        "attempts_report": page,
    }


def _heartbeat() -> Heartbeat:
    return Heartbeat(
        fleet=FLEET,
        node=TAG,
        session="s",
        boot_id="b",
        seq=1,
        boot_ms=2,
        nonce="n",
        echo=AT,
        epoch_seen=4,
        control_seen=5,
        ask=Ask(seq=1, slots=4, open=(WHO,)),
        version="0.1.0",
        obeys=("c" * 64,),
        facts=facts(),
        signs=(Signs(identity=WHO, output_ms=6, cpu_ms=7, files_ms=8, model_ms=9, pause_ms=10),),
        gpus=(
            GpuLoad(uuid=GPU, memory_free=100 << 30, busy=7, holder=WHO),
            GpuLoad(uuid=f"{GPU}2", unknown_since_ms=5),
        ),
    )


def samples() -> dict[str, Signed]:
    """Name of the golden file to message."""
    stop = StopControl(identity=WHO, reason="enough")
    usage = Progress(
        input_tokens=1, output_tokens=2, cost_usd=Decimal("0.01"), tool_calls=3, log_bytes=4, agent_ms=5
    )
    entry = JournalEntry(identity=WHO, job="0" * 64, mark=Mark.SPAWNED, last_event=2)
    return {
        "job": job().model_copy(update={"endpoint": "ollama"}),
        "ahead_job": job().model_copy(update={"ahead": True}),
        "ports_job": job().model_copy(update={"ports": 2}),
        "copied_job": job().model_copy(update={"copied": "c2VhbGVk"}),
        "receipt": receipt(),
        "take_back": Control(
            fleet=FLEET, node=TAG, seq=9, at=AT, body=TakeBack(identity=WHO, reason="a slot is free on b")
        ),
        "control": Control(fleet=FLEET, node=TAG, seq=5, at=AT, body=stop),
        "examine": Control(
            fleet=FLEET,
            node=TAG,
            seq=7,
            at=AT,
            body=Examine(ask="a" * 16, endpoint="ollama", model="qwen3-coder:30b", again=True, start_by=AT),
        ),
        "person_says": Control(
            fleet=FLEET,
            node=TAG,
            seq=8,
            at=AT,
            body=UserMessage(identity=WHO, number=1, text="the tests are in spec/", by="ana"),
        ),
        "person_heard": Events(
            fleet=FLEET,
            node=TAG,
            events=(Event(identity=WHO, seq=2, wall_ms=4, at=AT, body=MessagesHeard(numbers=(1, 2))),),
        ),
        "coordinatorheartbeat": CoordinatorHeartbeat(
            fleet=FLEET, node=TAG, seq=6, time=AT, answers="n", cursors={str(WHO): 2}, control_floor=5
        ),
        "events": Events(
            fleet=FLEET, node=TAG, events=(Event(identity=WHO, seq=1, wall_ms=4, at=AT, body=usage),)
        ),
        "heartbeat": _heartbeat(),
        "brief_heartbeat": _heartbeat().model_copy(
            update={"facts": facts().without_profile(), "profile": facts().make_profile().digest()}
        ),
        "inventory": Inventory(
            fleet=FLEET, node=TAG, session="s", nonce="n", at=AT, epoch_seen=4, entries=(entry,)
        ),
        **_of_calls(),
        **_of_turns(),
        **_of_fleet(),
        **_of_budget(),
        **_of_reports(),
        "hello": Hello(fleet=FLEET, node=TAG, nonce="n", identity=WHO, verb="push"),
    }
