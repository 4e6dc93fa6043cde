"""A run is told something: before its job is signed with its task, after that for the next one."""

from __future__ import annotations

from node_agent.wire.control import UserMessage
from node_agent.wire.event import MessagesHeard
from node_agent.wire.job import Job
from pancode.kernel.names import HEALTH_WATCH
from pancode.kernel.records import Audit, Decision, Run, StoredMessage
from pancode.kernel.values import replace
from pancode.people.service import leave_message
from pancode.runs.life.conversation import select_undelivered
from tests.unit.pancode.runs.world import Desk, Puppet, facts


def test_with_its_task_until_its_job_is_signed() -> None:
    desk = Desk()
    desk.dispatch("r-0001", runtime="native", model="m", task="do it")
    run = leave_message(desk.core, "r-0001", "use spec/", "ana")
    assert run.task == "do it\n\nA user adds: use spec/"
    assert [d.verdict for d in desk.rows(Decision, run="r-0001") if d.kind == "user"] == [
        "delivered with its task"
    ]
    (row,) = desk.rows(Audit, domain="people")
    assert (row.detail["by"], row.detail["delivered"]) == ("ana", "delivered with its task")


def test_a_job_that_is_signed_is_not_changed() -> None:
    desk = Desk()
    node = Puppet(desk)
    node.facts = facts()
    node.breathe()
    desk.dispatch("r-0001", task="do it", terms={})
    desk.turn()
    assert node.claim() is not None
    with desk.ledger.transaction() as tx:
        run = tx.get(Run, "r-0001")
    assert run is not None
    with desk.ledger.transaction() as tx:  # the puppet runs commands only: what counts is the signed job
        tx.put(replace(run, runtime="native"))
    told = leave_message(desk.core, "r-0001", "use spec/", "ana")
    assert told.task == "do it" and told.terms["told"] == 1
    assert rows(desk) == [StoredMessage("r-0001", 1, desk.clock.wall_ms(), "ana", "use spec/")]


def working(desk: Desk, node: Puppet) -> Job:
    """A run of a program that hears, at work on the node: the puppet runs commands only."""
    desk.dispatch("r-0001", task="do it", terms={})
    desk.turn()
    job = node.take()
    with desk.ledger.transaction() as tx:
        run = tx.get(Run, "r-0001")
        assert run is not None
        tx.put(replace(run, runtime="native"))
    return job


def rows(desk: Desk) -> list[StoredMessage]:
    return desk.rows(StoredMessage, run="r-0001")


def said(node: Puppet) -> list[UserMessage]:
    return [one.body for one in node.controls() if isinstance(one.body, UserMessage)]


def test_an_agent_that_works_is_sent_words_and_says_that_it_heard_them() -> None:
    desk = Desk()
    node = Puppet(desk)
    node.facts = facts()
    node.breathe()
    job = working(desk, node)
    leave_message(desk.core, "r-0001", "before it works", "ana")
    desk.turn()
    assert said(node) == [], "nobody would read them yet"
    node.start(job)
    desk.turn()
    leave_message(desk.core, "r-0001", "line one\nline 'two' \"$(x)\"", "ana")
    desk.turn()
    sent = said(node)
    assert (sent[-1].number, sent[-1].text) == (2, "line one\nline 'two' \"$(x)\"")
    assert {one.number for one in sent} == {1, 2}
    assert [word.laid for word in rows(desk)] == ["", ""]
    node.say(job.identity, MessagesHeard(numbers=(1,)))
    node.say(job.identity, MessagesHeard(numbers=(1, 7)))
    desk.turn()
    assert [word.laid for word in rows(desk)] == ["at a turn of attempt 1", ""]
    node.deliver(job)
    desk.turn()
    story = [d.verdict for d in desk.rows(Decision, run="r-0001") if d.kind == "user"]
    assert story.count("delivered") == 1 and story[-1] == "not delivered"
    assert [word.text for word in select_undelivered(rows(desk))] == ["line one\nline 'two' \"$(x)\""]


def test_words_that_no_user_said_are_kept_for_no_later_run() -> None:
    desk = Desk()
    node = Puppet(desk)
    node.facts = facts()
    node.breathe()
    job = working(desk, node)
    node.start(job)
    desk.turn()
    leave_message(desk.core, "r-0001", "nothing was seen of you", HEALTH_WATCH)
    desk.turn()
    assert [one.text for one in said(node)] == ["nothing was seen of you"]
    node.deliver(job)
    desk.turn()
    assert select_undelivered(rows(desk)) == [], "the next run would hear it as a user's"
