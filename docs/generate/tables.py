"""Writes the pages of exit statuses, failures and states: the tables that the code decides by."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from docs.generate.chart import Move, chart
from docs.generate.markdown import code, listed, page, sentence, table, words, yes
from docs.generate.meanings import (
    CLOSED,
    FAILED,
    LEASES,
    MARKS,
    NODES,
    REFUSED,
    REFUSED_ENVELOPE,
    RUNS,
    STAGES,
    WAITS,
)
from node_agent.wire.failure import ELSEWHERE, FAILURES, NODE_STATES, REBINDABLE, JobRefusal
from node_agent.wire.identity import FINAL, HOLDS_SLOT, Mark
from node_agent.wire.identity import MARKS as MARK_ORDER
from node_agent.wire.signing import RefusalCode
from pancode.interfaces.cli.output import MEANINGS, OUTCOMES
from pancode.kernel import errors
from pancode.kernel.node import Deadlines, NodeState
from pancode.kernel.records import Closed, LeaseState, RunState, WaitReason
from pancode.runs.core import ControlSettings
from pancode.runs.life.case import LEASE_MOVES, MAX_BINDINGS, PUBLISHING, RUN_MOVES, RunStage
from pancode.runs.life.retries import CAUSES, MOVES, RULES, RetryCause

S = TypeVar("S", bound=StrEnum)


def exit_codes_page() -> str:
    statuses = [(code(int(status)), text) for status, text in MEANINGS.items()]
    kinds = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.PancodeError)]
    tree = [(code(e.code), code(int(e.exit_code)), yes(e.retryable), sentence(e.__doc__)) for e in kinds]
    outcomes = [(code(name), code(int(status))) for name, status in OUTCOMES.items()]
    return page(
        "Exit statuses",
        "`pancode/kernel/errors.py` and `pancode/interfaces/cli/output.py`",
        words(
            "Below 10 a command says how it went itself; from 10 to 19 it waited for a run and says how "
            "that ended. `pancode help exit-codes` prints the first table."
        ),
        table(("Status", "Meaning"), statuses),
        "## Outcomes",
        "The status of a command that waited for a run.",
        table(("Outcome", "Status"), outcomes),
        "## Errors",
        words(
            "With `--json` an error is one object on standard error: "
            '`{"error": {"code", "message", "why", "fix", "exit_code"}}`. '
            "`message` says what happened, `why` how we know, `fix` the command that repairs it. These are "
            "the kinds of errors; a single error may have a finer code, such as `refused_budget` or "
            "`no_such_command`."
        ),
        table(("Code", "Status", "May be tried again", "What happened"), tree),
    )


def _bound_again(why: JobRefusal) -> str:
    if why in NODE_STATES:
        return "yes, a wait"
    return "elsewhere" if why in ELSEWHERE else yes(why in REBINDABLE)


def _retries() -> list[tuple[str, ...]]:
    return [(cause.value, _how_often(cause), _pause(cause), rule.step) for cause, rule in RULES.items()]


def _how_often(cause: RetryCause) -> str:
    if cause is RetryCause.VERIFICATION:
        return "as `--verify-retries` says: 1 for an agent that writes, else 0"
    return str(RULES[cause].most) if RULES[cause].most else "only as `--attempts` says"


def _pause(cause: RetryCause) -> str:
    rule, unit = RULES[cause], ControlSettings().retry_pause_ms // 1_000
    if rule.grows:
        return f"as long as the provider asks; else {rule.pauses * unit} s, doubled each time"
    least = "none; " if cause in MOVES and rule.pauses else ""
    return f"{least}{rule.pauses * unit} s{' on the same node' if least else ''}" if rule.pauses else "none"


def failures_page() -> str:
    rows = [
        (
            code(kind),
            code(rule.outcome),
            CAUSES[kind].value if kind in CAUSES else "",
            yes(rule.agent),
            yes(rule.node),
            FAILED[kind],
        )
        for kind, rule in FAILURES.items()
    ]
    refusals = [(code(why), _bound_again(why), REFUSED[why]) for why in JobRefusal]
    unbelieved = [(code(why), REFUSED_ENVELOPE[why]) for why in RefusalCode]
    head = (
        "Kind",
        "Outcome",
        "Cause for a retry",
        "Counts against the agent",
        "Counts for the node",
        "What happened",
    )
    return page(
        "Failures",
        "`node_agent/wire/failure.py` and `node_agent/wire/signing.py`",
        words(
            "Why an attempt did not end as `done`. A failure without a cause for a retry is never tried "
            "again."
        ),
        table(head, rows),
        "## What follows a failure",
        words(
            "Each cause has its own row. The number says how often a run is tried again for this cause by "
            "itself. `--attempts N` (`max_attempts`) bounds all attempts of the run together: with 1 nothing "
            "is tried again. With more than 1 every cause may use all of them. `retry_on_failure: true` of "
            "an agent is the same as 2 attempts. All attempts share the budget of the run: when it is used "
            "up, no attempt follows. A run that a user stopped is never tried again. `pancode why RUN` "
            "tells each retry with its cause."
        ),
        table(("Cause", "How often by itself", "Pause before it", "What happens"), _retries()),
        words(
            "Each attempt begins from the same files. After a failed gate, or a failed task, the order of "
            "the next attempt has the end of the output in front of the task, so an agent can avoid the "
            "failure; a script of the runtime `shell` is not changed."
        ),
        "## Refused jobs",
        words(
            "A node says no before anything has started. A refused job frees its slot and is not an "
            "attempt. Where the same attempt may be bound again, that happens by itself, at most "
            f"{MAX_BINDINGS} times for each attempt; a wait for the state that a node is in is not counted, "
            "and that node is offered nothing until it is over; what one node does not take is offered to "
            "the others, and to that one again after ten minutes; otherwise the run ends as `infra`, or as "
            "`interrupted` when a stop was the reason."
        ),
        table(("Refusal", "Bound again", "What happened"), refusals),
        "## Envelopes that were not believed",
        words("Every message is checked before a field of it is read. These are the answers, on both sides."),
        table(("Code", "What was wrong"), unbelieved),
    )


def states_page() -> str:
    return page(
        "States",
        "`pancode/runs/life/case.py`, `pancode/kernel/node.py` and `node_agent/wire/identity.py`",
        words(
            "What a run, a binding of it to a node (a lease), an attempt's journal on its node and a node "
            "itself can be, and which moves there are. The code refuses every other move."
        ),
        "## A run",
        words(
            "`ended` has an outcome and is left by one of them only: a run that was `lost` takes the "
            "outcome of a verified receipt of its newest lease when that comes after all. A waiting run "
            "always has a reason: `pancode why RUN`."
        ),
        _picture("run"),
        moves(RUN_MOVES, RUNS),
        words(
            "`stage` and `waits` of a run in JSON say the same more finely; nothing has to be read out of "
            "the words of `reason`. `waits` is null where nothing holds the run up."
        ),
        table(("Stage", "Meaning"), [(code(stage), STAGES[stage]) for stage in RunStage]),
        table(("Waits", "Meaning"), [(code(one), WAITS[one]) for one in WaitReason]),
        "## A lease",
        words(
            "One binding of one attempt to one node, from the signed job until the node's own signed "
            "word closes it. Only the newest lease of a run moves the run; an older one delivers evidence "
            "and its own cost."
        ),
        _picture("lease"),
        moves(LEASE_MOVES, LEASES),
        table(("Closed by", "Meaning"), [(code(how), CLOSED[how]) for how in Closed]),
        *_journal(),
        *_nodes(),
    )


def _picture(of: str) -> str:
    return f"![The states of a {of} and their moves]({of}-states.svg)"


def run_chart() -> str:
    return _chart("The states of a run", RUN_MOVES, RunState.ENDED)


def lease_chart() -> str:
    return _chart("The states of a lease", LEASE_MOVES, LeaseState.CLOSED)


def journal_chart() -> str:
    m = Mark
    moves_of: list[Move] = [(a, b, "") for a, b in zip(MARK_ORDER, MARK_ORDER[1:], strict=False)]
    moves_of += [(a, b, "") for a in (m.ACCEPTED, m.PREPARED) for b in (m.EXITED, m.REFUSED)]
    moves_of += [(m.PREPARED, m.PREPARED, "anew"), (m.RECEIPTED, m.REJECTED, "")]
    return chart("How far an attempt has come", list(m), moves_of, FINAL)


def _chart(title: str, table_of: Mapping[S, frozenset[S]], last: S) -> str:
    moves_of = [(a, b, "") for a, targets in table_of.items() for b in _ordered(targets, table_of)]
    return chart(title, list(table_of), moves_of, [last])


def moves(table_of: Mapping[S, frozenset[S]], meaning: Mapping[S, str]) -> str:
    """The state table as a table."""
    rows = [(code(a), listed(_ordered(targets, table_of)), meaning[a]) for a, targets in table_of.items()]
    return table(("State", "May become", "Meaning"), rows)


def _ordered(targets: frozenset[S], table_of: Mapping[S, frozenset[S]]) -> list[S]:
    return [state for state in table_of if state in targets]


def _journal() -> list[str]:
    rows = [(code(m), yes(m in HOLDS_SLOT), yes(m in FINAL), yes(m in PUBLISHING), MARKS[m]) for m in Mark]
    return [
        "## The journal of an attempt",
        words(
            "One list of marks on the node; each is written and fsynced before what follows it begins. A "
            "node agent that is killed continues from the newest mark. `exited` follows `accepted` or "
            "`prepared` directly when nothing could be started. What was prepared and not started when the "
            "machine was restarted is prepared anew, which is told nobody."
        ),
        _picture("journal"),
        table(("Mark", "Holds a slot", "Final", "Only publishing", "What is true then"), rows),
    ]


def _nodes() -> list[str]:
    limits, rules = Deadlines(), ControlSettings()
    return [
        "## A node",
        words(
            "Decided from the age of the newest heartbeat of the coordinator that the node has echoed, in "
            "time in which the coordinator itself was awake and could reach its Redis. A gap in its own "
            f"pulse moves every deadline. The pulse comes every {rules.heartbeat_ms // 1000} s; an ask for "
            f"work is valid for {limits.ask_ms // 1000} s. The time until `lost` stands still also while the "
            "coordinator does not try to reach that node: it is halted, or its link stopped at something "
            "that only a user can repair (a changed host key, a refused login)."
        ),
        table(
            ("State", "Meaning"),
            [(code(state), NODES[state].format(**_seconds(limits))) for state in NodeState],
        ),
    ]


def _seconds(limits: Deadlines) -> dict[str, str]:
    return {
        "suspect": f"{limits.suspect_ms // 1000} s",
        "unreachable": f"{limits.unreachable_ms // 60_000} min",
        "lost": f"{limits.lost_ms // 60_000} min",
    }
