"""Injects a fault of a drill into a node: ends its connection, or kills the node agent or a run's shim."""

from __future__ import annotations

from typing import Literal

from pancode.drills.model import MARK
from pancode.fleet.inventory import busy_runs
from pancode.fleet.place import Reach
from pancode.fleet.ssh.machines import Machines
from pancode.kernel.errors import ConflictError, RefusedError, UnavailableError
from pancode.kernel.formatting import first_few
from pancode.kernel.records import Run
from pancode.runs.core import Core

NodeFault = Literal["link", "agent", "shim"]
KILL_S = 30
KILL = """\
case $1 in
agent) pid=$(cat "$2/run/agent.pid") || exit 71 ;;
shim) file=$(ls -1dt "$2/journal/$3".*/spawned | head -n 1)
      of() { sed -n 's/.*"'"$1"'": *"*\\([0-9a-f-]*\\).*/\\1/p' "$file"; }
      pid=$(of pid) || exit 71 ;;
esac
case $pid in ''|*[!0-9]*) echo "no process id" >&2; exit 71 ;; esac
case $1 in
agent) tr '\\0' '\\n' <"/proc/$pid/cmdline" | grep -qxF -- "$2" ;;
shim) now=$(sed 's/.*) //' "/proc/$pid/stat" | cut -d ' ' -f 20)
      [ "$now $(cat /proc/sys/kernel/random/boot_id)" = "$(of start) $(of boot)" ] ;;
esac || { echo "$pid is another process" >&2; exit 72; }
kill -9 "$pid"
"""
"""$1 `agent` or `shim`, $2 the node home, $3 the run. Kills a node agent only if a word of its command
line is the home, and a shim only if it began when its record says."""


def inject_fault(core: Core, machines: Machines, node: str, fault: NodeFault, run: str) -> int | None:
    """Inject the fault; return after how many ms the coordinator noticed it, if that is known.

    Raises RefusedError if other work than that of the run's drill is on the node, or if `run` is not a
    drill's; ConflictError if the node is not linked; UnavailableError if the node does not answer in time.
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
    try:
        killing.result(2 * KILL_S).check(f"killing the {fault}")
    except TimeoutError as exc:
        killing.cancel()
        raise UnavailableError(f"{node} did not answer in time", fix=f"pancode fleet up {node}") from exc
    return None


def must_be_drilled(core: Core, node: str, run: str) -> None:
    """Raise RefusedError unless the run, and all work on the node, belongs to one drill."""
    names = busy_runs(core, [node])
    with core.ports.ledger.transaction() as tx:
        tasks = {name: row.task if (row := tx.get(Run, name)) else "" for name in [run, *names]}
    mark = tasks[run].partition("\n")[0]
    is_of_drill = mark.startswith(MARK)
    others = [name for name, task in tasks.items() if not is_of_drill or task.partition("\n")[0] != mark]
    if others:
        why = f"{first_few(others, 5)} is not a run of this drill"
        fix = f"pancode logs -f {others[-1]}"
        raise RefusedError(f"no fault is injected into {node}", why=why, fix=fix)
