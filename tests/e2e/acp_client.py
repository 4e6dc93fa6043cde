"""An editor by the official SDK of ACP, run by the SDK's own Python: `COMMAND...`.

Each line of standard input is a step, as JSON: what to do and its arguments. Each line of standard output is
what came of it, with all updates and cards since the step before.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import acp
from acp.schema import AllowedOutcome, DeniedOutcome, Implementation, RequestPermissionResponse

Json = dict[str, Any]


class Editor:
    """`choose`: the kind of option that its user takes; empty: the user does nothing."""

    def __init__(self) -> None:
        self.updates: list[Json] = []
        self.cards: list[Json] = []
        self.choose = ""
        self.seen = asyncio.Condition()

    async def session_update(self, session_id: str, update: Any, **more: Any) -> None:
        async with self.seen:
            self.updates.append(update.model_dump(mode="json", by_alias=True, exclude_none=True))
            self.seen.notify_all()

    async def request_permission(
        self, session_id: str, tool_call: Any, options: list[Any], **more: Any
    ) -> RequestPermissionResponse:
        self.cards.append(tool_call.model_dump(mode="json", by_alias=True, exclude_none=True))
        found = next((one for one in options if one.kind == self.choose), None)
        if found is None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cards.append({"withdrawn": True})
                raise
            return RequestPermissionResponse(outcome=DeniedOutcome(outcome="cancelled"))
        return RequestPermissionResponse(
            outcome=AllowedOutcome(option_id=found.option_id, outcome="selected")
        )

    async def until(self, kind: str) -> None:
        async with self.seen:
            await self.seen.wait_for(lambda: any(one["sessionUpdate"] == kind for one in self.updates))


async def done(editor: Editor, agent: Any, step: Json) -> Any:
    match step["do"]:
        case "begin":
            return await agent.initialize(
                protocol_version=acp.PROTOCOL_VERSION,
                client_info=Implementation(name="a-test", version="1"),
            )
        case "new":
            return await agent.new_session(cwd=step["cwd"])
        case "load":
            return await agent.load_session(cwd=step["cwd"], session_id=step["session"])
        case "list":
            return await agent.list_sessions(cwd=step["cwd"])
        case "choose":
            return await agent.set_config_option(
                session_id=step["session"], config_id=step["option"], value=step["value"]
            )
        case "say":
            editor.choose = step.get("choose", "")
            said = asyncio.create_task(
                agent.prompt(session_id=step["session"], prompt=[acp.text_block(step["text"])])
            )
            if "cancel" in step:
                await editor.until(step["cancel"])
                await agent.cancel(session_id=step["session"])
            return await said
    raise ValueError(step["do"])


async def main(command: list[str]) -> None:
    editor = Editor()
    async with acp.spawn_agent_process(editor, *command, env=dict(os.environ)) as (agent, process):
        while line := await asyncio.to_thread(sys.stdin.readline):
            try:
                result = await done(editor, agent, json.loads(line))
                told: Json = {"result": result.model_dump(mode="json", by_alias=True, exclude_none=True)}
            except acp.RequestError as refused:
                told = {"error": {"code": refused.code, "message": str(refused)}}
            await asyncio.sleep(0)
            print(json.dumps({**told, "updates": editor.updates, "cards": editor.cards}), flush=True)
            editor.updates, editor.cards = [], []


asyncio.run(main(sys.argv[1:]))
