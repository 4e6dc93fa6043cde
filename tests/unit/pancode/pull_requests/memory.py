"""A forge and work on changes in memory, which note what is asked of them, and fail when they are told to."""

from __future__ import annotations

from pancode.git.pull_state import (
    CheckResult,
    PullCheck,
    PullPlace,
    PullRemark,
    PullState,
    PullStatus,
    ReviewVerdict,
)
from pancode.kernel.errors import PancodeError, RefusedError, UnavailableError
from pancode.kernel.records import Run, RunState
from pancode.kernel.values import replace
from pancode.pull_requests.hooks import WatchedPulls
from pancode.runs.core import Core
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.user_environment import Around


class MemoryForge:
    """pancode.pull_requests.model.PullForge, with one pull request."""

    def __init__(self) -> None:
        self.state = PullState(PullStatus.OPEN, "a" * 40)
        self.reads = 0
        self.forgotten: list[int] = []
        self.merges: list[str] = []
        self.fails: PancodeError | None = None
        self.loses_merge = False
        self.merge_fails: PancodeError | None = None
        self.refuses_merge = False

    def read(self, pull: PullPlace) -> PullState:
        self.reads += 1
        if self.fails is not None:
            raise self.fails
        return self.state

    def forget(self, pull: PullPlace) -> None:
        self.forgotten.append(pull.number)

    def merge(self, pull: PullPlace, head: str) -> None:
        self.merges.append(head)
        if self.merge_fails is not None:
            raise self.merge_fails
        if self.refuses_merge or head != self.state.head:
            raise RefusedError("not mergeable", why="HTTP 405", fix="see the forge")
        self.state = replace(self.state, status=PullStatus.MERGED)
        if self.loses_merge:
            raise UnavailableError("the forge does not answer", why="cut", fix="later")

    def check(self, result: str, name: str = "ci") -> None:
        """The head has this check."""
        others = tuple(one for one in self.state.checks if one.name != name)
        check = PullCheck(name, CheckResult(result), "2 tests failed", "https://git.example.org/ci")
        self.state = replace(self.state, checks=(*others, check))

    def tell(self, by: str, text: str, verdict: str = "none") -> None:
        """A person writes."""
        remark = PullRemark(f"review-{len(self.state.remarks)}", by, text, ReviewVerdict(verdict))
        self.state = replace(self.state, remarks=(*self.state.remarks, remark))

    def push(self, head: str) -> None:
        """The branch has another head."""
        old = tuple(replace(one, is_current=False) for one in self.state.remarks)
        self.state = replace(self.state, head=head * 40, checks=(), remarks=old)


class MemoryWork:
    """pancode.pull_requests.model.PullWork; a message begins a run that continues the newest one."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.sent: list[str] = []
        self.done: list[str] = []
        self.fails: PancodeError | None = None
        """Before a message is sent, or a branch pushed."""
        self.breaks = False
        """The coordinator ends behind the next message."""

    def send(self, run: Run, text: str, by: str) -> Run:
        if self.fails is not None:
            raise self.fails
        self.sent.append(text)
        new = replace(
            run, id=f"{run.id}-{len(self.sent)}", place=run.place + 1, task=text, created_by=by,
            state=RunState.PENDING, outcome=None, landed=None, landing={}, result={},
        )  # fmt: skip
        with unit_of_work(self.core) as work:
            work.tx.put(new)
        if self.breaks:
            raise KeyboardInterrupt
        return new

    def suspend(self, run: Run, by: str) -> None:
        self.done.append(f"suspend {run.id}")

    def land(self, run: Run, branch: str, by: str) -> None:
        self.done.append(f"land {run.id} on {branch}")

    def push(self, pull: PullPlace) -> None:
        if self.fails is not None:
            raise self.fails
        self.done.append(f"push {pull.remote} {pull.branch}")


class MemoryPulls(WatchedPulls):
    """The part of a coordinator, over these two; it counts the requests to look soon."""

    def __init__(self, core: Core, around: Around) -> None:
        self.forge, self.work, self.hurried = MemoryForge(), MemoryWork(core), 0
        super().__init__(core, around, self.forge, self.work)

    def hurry(self) -> None:
        self.hurried += 1
        super().hurry()
