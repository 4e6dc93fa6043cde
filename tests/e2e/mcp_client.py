"""Talks with an MCP server through the official SDK, by the SDK's own Python: `ERA WORK-AS-JSON COMMAND...`.

Prints one line of JSON: tools, their hints, and how the work ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main(era: str, work: dict[str, Any], command: list[str]) -> None:
    params = StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ))
    async with stdio_client(params) as (read, write), ClientSession(read, write) as session:
        await (session.initialize() if era == "handshake" else session.discover())
        tools = (await session.list_tools()).tools
        run = (await session.call_tool("dispatch", work)).structured_content["run"]
        ended = (await session.call_tool("wait", {"run": run})).structured_content
        log = (await session.call_tool("logs", {"run": run})).structured_content
    told = {"tools": [tool.name for tool in tools], "outcome": ended["outcome"], "log": log["text"]}
    hints = {tool.name: tool.annotations.read_only_hint for tool in tools}
    print(json.dumps({**told, "annotations": hints}))


asyncio.run(main(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3:]))
