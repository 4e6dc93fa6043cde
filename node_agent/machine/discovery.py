"""Finds facts about this machine: sizes, load, free disk, and which runtimes are ready on it."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from node_agent.attempt.ceiling import Ceiling, limits_text
from node_agent.home.owner import OwnersFiles
from node_agent.machine.finding import Finder
from node_agent.shim import process
from node_agent.wire.clock import Clock
from node_agent.wire.endpoint import EndpointFact
from node_agent.wire.node import Allowed, NodeFacts, NodeProblem, RuntimeFact
from node_agent.wire.policy import Isolation

USUAL = ("/usr/local/bin", "/usr/bin", "/bin")


def search_path(configured: str | None, environ: Mapping[str, str]) -> str:
    """PATH of agents: as configured, else our own with the folders where a user's tools usually lie.

    A part that is no absolute path would lead into whatever folder a program is started in: a repository.
    """
    if configured:
        return ":".join(_absolute(configured.split(":"))) or ":".join(USUAL)
    home = environ.get("HOME", "")
    own = [f"{home}/{name}" for name in (".local/bin", "bin", ".npm-global/bin")] if home else []
    every = [*environ.get("PATH", "").split(":"), *own, *USUAL]
    return ":".join(_absolute(every))


def _absolute(parts: Iterable[str]) -> list[str]:
    """Each once."""
    return list(dict.fromkeys(part for part in parts if part.startswith("/")))


def with_local_fix(fact: RuntimeFact, home: Path, node: str, trouble: str = "") -> RuntimeFact:
    """With this node's own name and paths in its fix. `trouble` of the owner's secrets comes first."""
    if fact.state == "not_logged_in" and trouble:
        return fact.model_copy(update={"fix": f"fix that file, none of its values is used: {trouble}"})
    fix = fact.fix.replace("~/.pancode-node/*", str(home)).replace(" NODE ", f" {node} ")
    return fact if fix == fact.fix else fact.model_copy(update={"fix": fix})


@dataclass(frozen=True, slots=True)
class OtherFacts:
    """Facts from other parts of the node agent: isolation, problems and model servers."""

    isolation: Isolation = Isolation.NONE
    problems: tuple[NodeProblem, ...] = ()
    endpoints: tuple[EndpointFact, ...] = ()


class MachineProbe:
    """The Facts port. `finder` knows the runtimes; `others`: the facts of other parts."""

    def __init__(
        self,
        home: Path,
        finder: Finder,
        clock: Clock,
        disk_reserve: int,
        others: Callable[[], OtherFacts] = lambda: OtherFacts(),
        local_fix: Callable[[RuntimeFact], RuntimeFact] = lambda fact: fact,
        news: Callable[[], bool] = lambda: False,
    ) -> None:
        """`local_fix` puts this node's own name and paths into a runtime's fix. `news`: of other parts."""
        self._others_news = news
        self._home, self._clock, self._local_fix = home, clock, local_fix
        self._reserve, self._others = disk_reserve, others
        self._owner = OwnersFiles(home, clock)
        self._finder = finder

    def boot_id(self) -> str:
        return process.boot_id()

    def look(self) -> NodeFacts:
        others = self._others()
        return NodeFacts(
            hostname=platform.node(),
            os=f"{platform.system()} {platform.release()}",
            arch=platform.machine(),
            python=platform.python_version(),
            cpus=os.cpu_count() or 1,
            memory=_memory(),
            disk_free=self._free() or 0,
            load_1m=round(os.getloadavg()[0], 2),
            isolation=others.isolation,
            runtimes=tuple(map(self._local_fix, self._finder.look())),
            endpoints=others.endpoints,
            problems=(*others.problems, *self._problems()),
            shut=self._shut(),
            allows=self.ceiling().told(),
            wall_ms=self._clock.wall_ms(),
        )

    def disk_ok(self) -> bool:
        free = self._free()
        return free is not None and free >= self._reserve

    def ceiling(self) -> Ceiling:
        return self._owner.ceiling()

    def news(self) -> bool:
        others = self._others_news()
        return self._finder.news() or others

    def version(self, name: str) -> str | None:
        """Of a runtime, as last found."""
        return self._finder.version(name)

    def _free(self) -> int | None:
        try:
            seen = os.statvfs(self._home)
        except OSError:
            return None
        return seen.f_bavail * seen.f_frsize

    def _problems(self) -> list[NodeProblem]:
        problems: list[NodeProblem] = []
        shut, ceiling = self._shut(), self.ceiling()
        if shut is not None:
            problems.append(shut)
        if ceiling.closed:
            problems.append(NodeProblem(what=ceiling.closed, fix="mend or remove that file"))
        elif ceiling.told() != Allowed():
            file = self._home / "ceiling.json"
            problems.append(NodeProblem(what=limits_text(ceiling.told()), fix=f"its owner may change {file}"))
        return problems

    def _shut(self) -> NodeProblem | None:
        if self.disk_ok():
            return None
        return NodeProblem(
            what=f"less than {self._reserve >> 20} MB free in {self._home}", fix="free disk there"
        )


def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
