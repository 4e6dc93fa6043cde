"""Reports an orchestrator's calls of fleet tools to the coordinator, and delivers the answers."""

from __future__ import annotations

import contextlib

from node_agent.attempt.context import Case, Context
from node_agent.attempt.ports import StepFailed
from node_agent.attempt.records import Note
from node_agent.attempt.watch import OutputWatch
from node_agent.wire.control import FleetAnswers
from node_agent.wire.event import FleetAsked
from node_agent.wire.fleet import LaidFleetAnswer, fleet_answer_file


def tell_fleet_calls(case: Case, watch: OutputWatch) -> None:
    """Report each waiting call, without secrets. Calls that still wait after a restart are reported again;
    the coordinator executes each call once. Raises DiskFull."""
    clean = case.cleaner()
    for call in watch.spent.fleet:
        if call.number in watch.told_fleet or case.job.fleet_tools is None:
            continue
        event = FleetAsked(number=call.number, tool=call.tool, arguments=clean(call.arguments))
        case.context.journal.write(case.identity, Note(say=(event,)))
        watch.told_fleet = (*watch.told_fleet, call.number)[-100:]


def lay_fleet_answer(context: Context, answers: FleetAnswers) -> None:
    """Write the sealed answer to the file on which the program waits; after DiskFull it is redelivered."""
    text = LaidFleetAnswer(ok=answers.ok, text=answers.text).model_dump_json()
    with contextlib.suppress(StepFailed):
        context.lay(answers.identity, fleet_answer_file(answers.number), -answers.number, text)
