"""Injects a fault of a drill into a node: ends its connection, or kills the node agent or a run's shim."""

from __future__ import annotations

from typing import Literal

from pancode.drills.model import MARK
from pancode.fleet.inventory import busy_runs
from pancode.fleet.place import Reach
from pancode.fleet.ssh.machines import Machines
from pancode.kernel.errors import ConflictError, RefusedError
from pancode.kernel.formatting import first_few
from pancode.kernel.records import Run
from pancode.runs.core import Core

NodeFault = Literal["link", "agent", "shim"]
KILL_S = 30
KILL = """\
case $1 in
agent) pid=$(cat "$2/run/agent.pid") || exit 71 ;;
shim) file=$(ls -1dt "$2/journal/$3".*/spawned | head -n 1)
      pid=$(sed -n 's/.*"pid": *\\([0-9]*\\).*/\\1/p' "$file") || exit 71 ;;
esac
case $pid in ''|*[!0-9]*) echo "no process id" >&2; exit 71 ;; esac
if [ -r "/proc/$pid/cmdline" ]; then words=$(tr '\\0' ' ' <"/proc/$pid/cmdline")
else words=$(ps -o args= -p "$pid"); fi
case $words in *"$2"*) ;; *) echo "$pid is another process: $words" >&2; exit 72 ;; esac
kill -9 "$pid"
"""
"""$1 `agent` or `shim`, $2 the node home, $3 the run. Kills only a process that names the node home."""


def inject_fault(core: Core, machines: Machines, node: str, fault: NodeFault, run: str) -> int | None:
    """Inject the fault; return after how many ms the coordinator noticed it, if that is known.

    Raises RefusedError if other work than that of drills is on the node, or if `run` is not a drill's;
    ConflictError if the node is not linked; UnavailableError if the node could not be reached.
    """
    must_be_drilled(core, node, run)
    home = Reach.of(machines.known(node)).installed_home
    if home is None or not machines.is_linked(node):
        raise ConflictError(f"{node} is not linked", fix=f"pancode fleet up {node}")
    began = core.ports.clock.mono_ms()
    if fault == "link":
        machines.cut_link(node)
        return core.ports.clock.mono_ms() - began
    killing = machines.begin(node, lambda remote: remote.script(KILL, (fault, home, run), KILL_S))
    killing.result(2 * KILL_S).check(f"killing the {fault}")
    return None


def must_be_drilled(core: Core, node: str, run: str) -> None:
    """Raise RefusedError unless the run, and all work on the node, belongs to a drill."""
    names = busy_runs(core, [node])
    with core.ports.ledger.transaction() as tx:
        rows = [tx.get(Run, name) for name in {*names, run}]
    others = [row.id for row in rows if row is not None and not row.task.startswith(MARK)]
    if others or None in rows:
        why = f"{first_few(others or [run], 5)} is not a run of a drill"
        raise RefusedError(f"no fault is injected into {node}", why=why, fix="wait until it has ended")
