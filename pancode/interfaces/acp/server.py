"""Serves the Agent Client Protocol to an editor on two streams, with one thread per request."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from node_agent.wire.clock import Clock, Ids
from pancode import __version__
from pancode.interfaces.acp.session import COMMANDS, EditorFleet, EditorLink, EditorSession, names_of, run_of
from pancode.interfaces.acp.updates import words_of
from pancode.interfaces.client.caller import find_user, work_folder
from pancode.interfaces.client.client import Client, path_of
from pancode.kernel.errors import NotFoundError, PancodeError, UsageError
from pancode.kernel.formatting import clip_columns, reveal_invisible
from pancode.kernel.jsonrpc import INTERNAL, METHOD, PARAMS, REQUEST, JsonRpcLines

DEFAULT = "default"
"""The value of an option that has not been chosen."""
MOST = 200
MOST_WORDS = 100
_ABOUT = {
    "agent": ("Agent", "mode", "from the settings, or builder if none is set"),
    "node": ("Machine", "", "PanCode chooses"),
    "model": ("Model", "model", "the agent's own model"),
}


def list_options(client: Client, folder: str, chosen: Json) -> list[Json]:
    """Return the options of a session that has not begun; fewer if the coordinator does not answer."""
    agents = _load_rows(lambda: client.get("/v1/agents", cwd=folder)["agents"])
    nodes = _load_rows(lambda: client.get("/v1/fleet")["nodes"])
    models = _load_rows(lambda: client.get("/v1/models", cwd=folder)["models"])
    rows = {
        "agent": [(one["name"], one["description"]) for one in agents],
        "node": [(one["name"], one["state"]) for one in nodes],
        "model": [(one["ref"], one["tier_why"]) for one in models if not one["embedding"]],
    }
    return [_make_option(key, chosen.get(key), rows[key]) for key in _ABOUT]


def _load_rows(load: Callable[[], list[Json]]) -> list[Json]:
    try:
        return load()[:MOST]
    except PancodeError:
        return []


def _make_option(key: str, value: str | None, rows: Iterable[tuple[str, str]]) -> Json:
    title, category, without = _ABOUT[key]
    known = dict(rows)
    if value:
        known.setdefault(value, "")
    first = {"value": DEFAULT, "name": "default", "description": without}
    named = [{"value": name, "name": name, "description": _clip_words(text)} for name, text in known.items()]
    about: Json = {"id": key, "name": title, "type": "select", "currentValue": value or DEFAULT}
    return {**about, **({"category": category} if category else {}), "options": [first, *named]}


def _clip_words(text: str | None) -> str:
    return clip_columns(" ".join(reveal_invisible(text or "").split()), MOST_WORDS)


Json = dict[str, Any]
VERSION = 1
NOT_FOUND = -32002
MOST_AT_WORK, MOST_SESSIONS = 64, 100
"""How many requests are processed at the same time, and how many sessions may be open."""
MOST_LISTED = 100
_INFO = {"name": "pancode", "title": "PanCode", "version": __version__}
_CAPABILITIES: Json = {
    "loadSession": True,
    "promptCapabilities": {"image": False, "audio": False, "embeddedContext": True},
    "mcpCapabilities": {"http": False, "sse": False},
    "sessionCapabilities": {"list": {}},
}


class AcpServer:
    """A server for one editor, until the editor's input ends; the end stops nothing in the fleet. `begins`:
    the options of each new session; `names`: as in `EditorFleet`."""

    def __init__(
        self,
        lines: JsonRpcLines,
        client: Callable[[bool], Client],
        ids: Ids,
        clock: Clock,
        begins: Json,
        names: Path,
        *,
        is_remote: bool = False,
    ) -> None:
        self._lines, self._ids = lines, ids
        self._fleet = EditorFleet(EditorLink(lines), client, ids, clock, begins, names, is_remote)
        self._sessions: dict[str, EditorSession] = {}
        self._opening = threading.Lock()
        self._by = find_user()
        self._at_work = threading.BoundedSemaphore(MOST_AT_WORK)
        self._answers: Mapping[str, Callable[[Json], Json]] = {
            "initialize": self._initialize,
            "session/new": self._create_session,
            "session/load": self._load,
            "session/list": self._list,
            "session/prompt": self._take_prompt,
            "session/set_config_option": self._choose,
        }

    def serve(self) -> None:
        """Answer requests until the input ends."""
        for message in self._lines.messages():
            if "method" in message:
                self._request(message["method"], message.get("id"), message["params"])
            else:
                self._fleet.link.take_decision(message)
        self._lines.close()

    def _request(self, method: str, number: Any, params: Json) -> None:
        if number is None:
            if method == "session/cancel" and (found := self._sessions.get(str(params.get("sessionId")))):
                found.cancel()
        elif not isinstance(number, str | int):
            self._lines.refuse(None, REQUEST, "id must be a string or a whole number")
        elif method not in self._answers:
            self._lines.refuse(number, METHOD, f"method {method[:100]} not found")
        elif method == "initialize":
            self._answer(number, method, params)
        elif not self._at_work.acquire(blocking=False):
            self._lines.refuse(number, INTERNAL, f"too many requests: {MOST_AT_WORK} are in progress")
        else:
            prompted = None
            if method == "session/prompt" and (prompted := self._sessions.get(str(params.get("sessionId")))):
                prompted.prompted()
            argv = (number, method, params, prompted)
            threading.Thread(target=self._work, args=argv, daemon=True).start()

    def _work(self, number: str | int, method: str, params: Json, prompted: EditorSession | None) -> None:
        try:
            self._answer(number, method, params)
        finally:
            if prompted is not None:
                prompted.answered()
            self._at_work.release()

    def _answer(self, number: str | int, method: str, params: Json) -> None:
        try:
            result = self._answers[method](params)
        except PancodeError as refused:
            code = PARAMS if isinstance(refused, UsageError) else INTERNAL
            code = NOT_FOUND if isinstance(refused, NotFoundError) or refused.exit_code == 4 else code
            about = {"code": refused.code, "why": refused.why, "fix": refused.fix}
            words = ". ".join(filter(None, (refused.words, refused.fix and f"Fix: {refused.fix}")))
            self._lines.refuse(number, code, reveal_invisible(words), about)
        except Exception as wrong:
            sys.stderr.write(f"pancode acp: {type(wrong).__name__}: {wrong}\n")
            self._lines.refuse(number, INTERNAL, f"{type(wrong).__name__}: {wrong}")
        else:
            self._lines.send({"id": number, "result": result})
            if method in ("session/new", "session/load"):
                name = str(result.get("sessionId") or params["sessionId"])
                commands = [{"name": one, "description": words} for one, words in COMMANDS.items()]
                update = {"sessionUpdate": "available_commands_update", "availableCommands": commands}
                self._fleet.link.update(name, update)

    # ---- requests from the editor
    def _initialize(self, params: Json) -> Json:
        if type(params.get("protocolVersion")) is not int:
            raise UsageError("protocolVersion must be a whole number")
        info = params.get("clientInfo")
        name = info.get("name") if isinstance(info, dict) else None
        if isinstance(name, str) and name.isprintable():
            self._by = f"{find_user()} ({name[:60]})"
        return {
            "protocolVersion": VERSION,
            "agentCapabilities": _CAPABILITIES,
            "agentInfo": _INFO,
            "authMethods": [],
        }

    def _create_session(self, params: Json) -> Json:
        session = self._open_session(self._ids.token(12), params)
        if params.get("mcpServers"):
            sys.stderr.write(
                "pancode acp: MCP servers of the editor are ignored: an agent on a node cannot reach them\n"
            )
        return {"sessionId": session.name, "configOptions": self._list_options(session)}

    def _load(self, params: Json) -> Json:
        name = _text(params, "sessionId")
        shape = self._fleet.client(False).get(path_of("sessions", run_of(self._fleet.names, name)))
        if not shape["takes_turns"]:
            fix = f"pancode attach {shape['run']}"
            raise UsageError(f"{name[:100]} is not a session: the run does not accept messages", fix=fix)
        session = self._open_session(name, params, shape["session"])
        session.replay()
        return {"configOptions": [_make_option(key, session.shape[key], ()) for key in _ABOUT]}

    def _open_session(self, name: str, params: Json, run: str = "") -> EditorSession:
        folder = _text(params, "cwd")
        if not folder.startswith("/"):
            raise UsageError(f"cwd must be an absolute path, not {folder[:100]!r}")
        session = EditorSession(self._fleet, name, folder, self._by, run)
        if self._fleet.is_remote and not run:
            session.cwd = None if self._fleet.begins.get("workspace") == "none" else work_folder()
        with self._opening:
            before = self._sessions.get(name)
            if before is None and len(self._sessions) >= MOST_SESSIONS:
                raise UsageError(
                    f"too many sessions: {MOST_SESSIONS} are open",
                    fix="close some sessions, then restart this program",
                )
            self._sessions[name] = session
        if before is not None:
            before.leave()
        return session

    def _list(self, params: Json) -> Json:
        """Return the newest sessions; with `cwd`, only those of the repository there."""
        folder, names = params.get("cwd"), names_of(self._fleet.names)
        found = self._fleet.client(False).get("/v1/sessions", limit=MOST_LISTED)["sessions"]
        if isinstance(folder, str):
            found = [one for one in found if one["project"] and f"{folder}/".startswith(f"{one['project']}/")]
        rows = [
            {
                "sessionId": names.get(one["session"], one["session"]),
                "cwd": folder or one["project"] or "/",
                "title": reveal_invisible(one["title"]),
                "updatedAt": one["changed_at"],
            }
            for one in found
        ]
        return {"sessions": rows}

    def _take_prompt(self, params: Json) -> Json:
        session, blocks = self._find_session(params), params.get("prompt")
        try:
            words = words_of(blocks if isinstance(blocks, list) else [None], session.folder)
        except ValueError as wrong:
            raise UsageError(str(wrong)) from wrong
        return session.prompt(words)

    def _choose(self, params: Json) -> Json:
        session = self._find_session(params)
        name, value = _text(params, "configId"), _text(params, "value")
        if session.run:
            raise UsageError(
                "agent, node and model cannot change after the first message; start a new session"
            )
        option = next((one for one in self._list_options(session) if one["id"] == name), None)
        if option is None or value not in [one["value"] for one in option["options"]]:
            raise UsageError(f"{name[:40]} {value[:100]!r} not found")
        session.wants[name] = None if value == DEFAULT else value
        return {"configOptions": self._list_options(session)}

    def _list_options(self, session: EditorSession) -> list[Json]:
        chosen = {**self._fleet.begins, **session.wants}
        return list_options(self._fleet.client(False), session.cwd or "", chosen)

    def _find_session(self, params: Json) -> EditorSession:
        name = _text(params, "sessionId")
        if name not in self._sessions:
            raise NotFoundError(f"session {name[:100]} is not open", fix="load the session: session/load")
        return self._sessions[name]


def _text(params: Json, name: str) -> str:
    value = params.get(name)
    if not isinstance(value, str):
        raise UsageError(f"{name} must be a string")
    return value
