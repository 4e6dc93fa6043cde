"""Carries out a step on a node: puts files that differ, runs scripts and commands, reports the changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pancode.fleet.ssh.errors import RemoteFailed
from pancode.fleet.ssh.remote import Remote
from pancode.fleet.ssh.scripts.install import WHICH_DIFFER
from pancode.fleet.ssh.scripts.link import parse_report
from pancode.fleet.ssh.steps import Act, BringUpStep, Command, Put, RemoteScript, StepName


@dataclass(frozen=True, slots=True)
class StepDone:
    """A step that was carried out. `pairs`: reported by its scripts; `output`: of its commands."""

    name: StepName
    changed: bool
    pairs: tuple[tuple[str, str], ...] = ()
    output: bytes = b""

    def value(self, key: str) -> str:
        return dict(self.pairs).get(key, "")

    def values(self, key: str) -> tuple[str, ...]:
        return tuple(v for k, v in self.pairs if k == key)


async def run_step(remote: Remote, step: BringUpStep) -> StepDone:
    """Carry out the step. Idempotent. Raises SshError with the node's own error message."""
    reported: list[tuple[str, str]] = []
    output, changed = b"", False
    wanted = await _find_differing(remote, step.acts)
    for act in step.acts:
        match act:
            case Put():
                if act.path in wanted:
                    await remote.put(act.path, act.source, act.mode)
                    changed = True
            case RemoteScript():
                lines = await _run_script(remote, step.name, act)
                reported += lines
                changed = changed or ("changed", "yes") in lines
            case Command():
                done = await remote.run(act.argv, act.timeout_s)
                output += done.check(f"the step {step.name}").stdout
    return StepDone(step.name, changed, tuple(reported), output)


async def _find_differing(remote: Remote, acts: Sequence[Act]) -> frozenset[str]:
    puts = [act for act in acts if isinstance(act, Put)]
    if not puts:
        return frozenset()
    args = [w for p in puts for w in (p.path, p.sha256, f"{p.mode:o}", "keep" if p.keep else "write")]
    lines = await _run_script(remote, StepName.ENROL, RemoteScript(WHICH_DIFFER, tuple(args)))
    return frozenset(value for key, value in lines if key == "need")


async def _run_script(remote: Remote, name: StepName, act: RemoteScript) -> list[tuple[str, str]]:
    done = (await remote.script(act.text, act.args, act.timeout_s)).check(f"the step {name}")
    try:
        return parse_report(done.text)
    except ValueError as error:
        raise RemoteFailed(
            f"the step {name} failed on the node", status=done.status, why=str(error)
        ) from error
