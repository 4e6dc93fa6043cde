"""What must be true of sessions: whose words began which turn is counted by the model that was asked."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.identity import AttemptId
from pancode.kernel.ports import Transaction
from pancode.kernel.records import BookEntry, EntryKind, Run
from pancode.runs.life.continuations import LeftOver, message_for
from pancode.runs.life.conversation import AT_A_TURN
from pancode.runs.views import words_of
from pancode.sessions.session import of_run
from tests.simulation.invariants import must

if TYPE_CHECKING:
    from tests.simulation.world import SimWorld

WORD = re.compile(r"word\d{4}")


class TalkTruth:
    """Each invariant is one method; its docstring is its name."""

    def __init__(self, world: SimWorld) -> None:
        self.world = world

    def after_step(self) -> None:
        if not self.world.talks.sessions:
            return
        with self.world.coordinator.seen() as tx:
            self.two_interactive_runs_of_a_session_never_live_at_once(tx)
        self.a_cancelled_turn_calls_no_more()
        self.a_turn_begins_at_most_once_for_given_words()

    def at_the_end(self) -> None:
        if not self.world.talks.sessions:
            return
        with self.world.coordinator.seen() as tx:
            self.words_are_in_one_place(tx)
            self.an_interactive_run_uses_no_more_than_it_holds(tx)

    def two_interactive_runs_of_a_session_never_live_at_once(self, tx: Transaction) -> None:
        """On all machines together, by what really runs there."""
        alive: Counter[str] = Counter()
        for machine in self.world.machines:
            for name in machine.programs.alive:
                run = tx.get(Run, AttemptId.parse(name).run)
                assert run is not None
                alive[run.session] += 1
        must(
            all(count == 1 for count in alive.values()),
            f"interactive runs of one session side by side: {alive}",
        )

    def a_cancelled_turn_calls_no_more(self) -> None:
        """From the moment at which its program could see the wish."""
        wrong = self.world.machines[0].models.wrong
        must(not wrong, str(wrong))

    def a_turn_begins_at_most_once_for_given_words(self) -> None:
        """Over all interactive runs, crashes and reboots: the model is told words in one turn, and once."""
        asked = Counter(word for _, _, text in self.world.models.asked for word in WORD.findall(text))
        twice = {word: self._turns(word) for word, count in asked.items() if count > 1}
        must(not twice, f"the model was told twice: {twice}")

    def _turns(self, word: str) -> list[tuple[str, int]]:
        return [(name, turn) for name, turn, text in self.world.models.asked if word in text]

    def words_are_in_one_place(self, tx: Transaction) -> None:
        """With a task or in one turn of their session, kept for its next interactive run, or lost and told
        so."""
        begun, kept, lost = set[str](), dict[str, Run](), set[str]()
        home: dict[str, set[str]] = defaultdict(set)
        for session in {run.session: run for run in tx.find(Run) if run.takes_turns}.values():
            chain = of_run(tx, session)
            for run in chain.runs:
                words = words_of(tx, run)
                taken = [one.text for one in words if one.laid.startswith(AT_A_TURN)]
                mine = WORD.findall(" ".join((run.task, *(one.text for one in words))))
                for word in mine:
                    home[word].add(chain.id)
                begun.update(taken, WORD.findall(run.task) if "turn" in run.terms else ())
                if run.outcome is Outcome.LOST or run.failure is FailureKind.RECEIPT_REJECTED:
                    lost.update(mine)
            kept.update(
                dict.fromkeys(
                    WORD.findall(message_for(chain.newest, "", "nobody", LeftOver(chain.words))), chain.newest
                )
            )
        for word in self.world.talks.taken:
            must(len(home[word]) == 1, f"{word} is in the sessions {home[word]}")
            must(word in begun or word in kept or word in lost, f"{word} was not found anywhere")
        for word, run in kept.items():
            again = run.outcome is Outcome.LOST  # a user says it again with a retry
            must(
                word not in begun or again, f"{word} was in a turn, and is kept for the next interactive run"
            )
            must(not self._turns(word) or again, f"{word} was told to a model, and is kept: {run.reason}")
        for name, _, text in self.world.models.asked:
            ran = tx.get(Run, AttemptId.parse(name).run)
            assert ran is not None
            for word in WORD.findall(text):
                must(ran.session in home[word], f"{word} is of {home[word]}, and {name} has it")

    def an_interactive_run_uses_no_more_than_it_holds(self, tx: Transaction) -> None:
        """By the books: nothing is spent by an interactive run beyond what was held for it."""
        held: Counter[tuple[str, str]] = Counter()
        spent: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        interactive_runs = {run.id for run in tx.find(Run) if run.takes_turns}
        for entry in (one for one in tx.find(BookEntry) if one.run in interactive_runs):
            key = (entry.run, entry.scope)
            if entry.kind is EntryKind.RESERVE:
                held[key] += int(entry.usd * 100)
            elif entry.kind in (EntryKind.SPEND, EntryKind.CORRECT):
                spent[key] += entry.usd
        for key, usd in spent.items():
            must(usd * 100 <= held[key], f"{key} spent {usd}, held were {held[key]} cents")
