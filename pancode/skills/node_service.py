"""Changes copies of skills on nodes in parallel: over SSH with the user's login, or locally."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pancode.fleet.login import environ_of, session_to
from pancode.fleet.place import Reach
from pancode.fleet.ssh.remote import Remote
from pancode.kernel.declared import from_json
from pancode.kernel.errors import PancodeError, UnavailableError
from pancode.skills.copy_requests import SkillsAsked
from pancode.skills.node_copies import ACT_S, act_on, answer_of, argv_in, exchange_copies, program_and


def act_there(
    nodes: Mapping[str, Mapping[str, Any]], request: SkillsAsked, environ: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Carry out a request on these nodes in parallel; return each node's answer or its `problem`. `nodes`:
    the target of each node by name, as the coordinator's API returns it."""

    async def one(name: str, reach: Reach) -> dict[str, Any]:
        try:
            if reach.installed_home is None:
                raise UnavailableError(f"node {name} was never started", fix=f"pancode fleet up {name}")
            if reach.local:
                return {"node": name, **await _act_locally(name, reach, request, environ)}
            session = await session_to(reach, environ)
            try:
                return {"node": name, **await act_on(Remote(session), name, reach.installed_home, request)}
            finally:
                await session.close()
        except PancodeError as error:
            return {"node": name, "rows": [], "problem": asdict(error.problem())}

    async def together() -> list[dict[str, Any]]:
        reached = {name: from_json(Reach, target) for name, target in nodes.items()}
        return list(await asyncio.gather(*(one(name, reach) for name, reach in reached.items())))

    return asyncio.run(together())


async def _act_locally(
    name: str, reach: Reach, request: SkillsAsked, environ: Mapping[str, str]
) -> dict[str, Any]:
    """Carry out a request on a node that runs on this computer, in that node's HOME."""

    def act(need: list[str]) -> dict[str, Any]:
        sent, argv = program_and(request.request(need)), argv_in(reach.installed_home or "")
        try:
            done = subprocess.run(
                argv, env=environ_of(reach, environ), input=sent, capture_output=True, timeout=ACT_S
            )
        except subprocess.TimeoutExpired as exc:
            raise UnavailableError(
                f"node {name} did not answer within {ACT_S:g} s", fix="pancode doctor"
            ) from exc
        return answer_of(name, done.returncode, done.stdout, done.stderr)

    return await exchange_copies(lambda need: asyncio.to_thread(act, need))
