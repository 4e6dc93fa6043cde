"""One request: log it, find its route, let the script answer it."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

from .plumbing import VERSION, Closed, Wire
from .replies import error_body
from .routes import ROUTES
from .script import Script, ScriptError
from .tools import squash
from .turns import Emit, run_turn
from .wires import Req


class Handler(Wire):
    """Every path of every wire; ROUTES says which function answers."""

    def do_GET(self) -> None:
        self.handle_any()

    do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_GET

    def handle_any(self) -> None:
        """Answer one request; whatever happens, it ends up in the log."""
        self._start_entry()
        try:
            self.raw = self.read_body()
            self.entry["bytes"] = len(self.raw)
            self._dump()
            self.dispatch()
        except (Closed, BrokenPipeError, ConnectionResetError) as e:
            self.entry["closed"] = str(e) if isinstance(e, Closed) else "client closed"
            self.close_connection = True
        except ScriptError as e:
            self.entry["script_error"] = str(e)
            self.safe_error(500, f"fakemodel script error: {e}")
        except Exception as e:  # a bug here must not look like a model answer
            self.entry["server_error"] = repr(e)
            self.safe_error(500, f"fakemodel internal error: {e!r}")
        finally:
            self.entry["seconds"] = round(time.time() - self.t0, 3)
            if self.logged:
                self.state.log(self.entry)
            self.tells(False)

    def _start_entry(self) -> None:
        self.t0 = time.time()
        u = urlsplit(self.path)
        self.route = re.sub(r"/{2,}", "/", unquote(u.path))
        self.query = {k: v[-1] for k, v in parse_qs(u.query).items()}
        self.logged = not self.route.startswith("/__fake")
        self.entry = {
            "t": round(self.t0 - self.state.started, 3),
            "method": self.command,
            "path": self.route,
            "query": {k: v for k, v in self.query.items() if k != "key"},
            "user_agent": self.headers.get("User-Agent", ""),
            "auth": self.auth_kind(),
        }

    def _dump(self) -> None:
        folder = self.state.dump_dir
        if folder and self.logged and self.raw:
            os.makedirs(folder, exist_ok=True)
            name = f"{time.time_ns()}-{squash(self.route)[-40:]}.json"
            with open(os.path.join(folder, name), "wb") as f:
                f.write(self.raw)

    def safe_error(self, status: int, msg: str) -> None:
        """An error of ours, if nothing was sent yet."""
        try:
            if "status" not in self.entry:
                self.send_json({"error": {"message": msg, "type": "fakemodel"}}, status)
            else:
                self.close_connection = True
        except OSError:
            self.close_connection = True

    def auth_kind(self) -> str:
        """How the client showed its key: a header's name, query or none."""
        for name in ("x-api-key", "x-goog-api-key", "Authorization"):
            if self.headers.get(name):
                return name.lower()
        return "query" if "key=" in self.path else "none"

    def presented_key(self) -> str | None:
        a = self.headers.get("Authorization", "")
        bearer = a[7:] if a.lower().startswith("bearer ") else a
        named = self.headers.get("x-api-key") or self.headers.get("x-goog-api-key")
        return named or bearer or self.query.get("key")

    def body_json(self) -> dict:
        if not self.raw:
            return {}
        v = json.loads(self.raw)
        return v if isinstance(v, dict) else {"_": v}

    # ---- routing
    def dispatch(self) -> None:
        """Admin paths, then faults of an endpoint, then the key, then the routes."""
        if self.route.startswith("/__fake"):
            return self.admin()
        if self.headers.get("Upgrade", "").lower() == "websocket":
            # 426 makes Codex fall back from its websocket to plain HTTP at once
            return self.send_json(error_body("chat", 426, "fakemodel has no websocket"), 426)
        if self._endpoint_fault():
            return None
        key = self.state.script.api_key
        if key and self.route not in ("/", "/health") and self.presented_key() != key:
            return self.send_json(error_body(wire_of(self.route), 401), 401)
        if answer := self._find_route():
            return answer()
        return self._no_route()

    def _find_route(self) -> Callable[[], None] | None:
        for pattern, methods, personas, fn in ROUTES:
            found = re.fullmatch(pattern, self.route)
            persona = self.state.persona
            if found and self.command in methods and (persona == "all" or persona in personas):
                groups = found.groups()
                return lambda fn=fn, groups=groups: cast("None", fn(self, *groups))  # type: ignore[misc]
        return None

    def _no_route(self) -> None:
        persona, m, p = self.state.persona, self.command, self.route
        if persona == "lmstudio":  # LM Studio answers 200 to paths it does not know
            return self.send_json({"error": f"Unexpected endpoint or method. ({m} {p})"}, 200)
        if persona == "ollama":
            return self.send_bytes(b"404 page not found", 404)
        if persona.startswith("llamacpp"):
            error = {"code": 404, "message": "File Not Found", "type": "not_found_error"}
            return self.send_json({"error": error}, 404)
        return self.send_json(error_body(wire_of(p), 404, f"fakemodel: no route for {m} {p}"), 404)

    def _endpoint_fault(self) -> bool:
        """Whether one of the script's endpoint faults hit this path and has answered."""
        faults = self.state.script.endpoint_fault or []
        for f in faults if isinstance(faults, list) else [faults]:
            if not re.fullmatch(f.get("path", ".*"), self.route):
                continue
            if self.state.hit(("endpoint", f.get("path"))) < f.get("times", 1 << 30) and self._fault(f):
                return True
        return False

    def _fault(self, f: dict[str, Any]) -> bool:
        if f.get("latency"):
            self.pause(f["latency"])
        if f.get("disconnect"):
            self.kill("endpoint disconnect")
        if "garbage" in f:
            self.send_bytes(str(f["garbage"]).encode(), f.get("status", 200), "application/json")
            return True
        if "status" in f:
            body = error_body(wire_of(self.route), f["status"], f.get("message"))
            self.send_json(body, f["status"])
            return True
        return False

    def admin(self) -> None:
        """GET /__fake/requests, GET /__fake/stats, POST /__fake/script, POST /__fake/reset."""
        st = self.state
        if self.route == "/__fake/requests":
            with st.lock:
                return self.send_json(st.requests)
        if self.route == "/__fake/stats":
            with st.lock:
                stats = {"requests": len(st.requests), "busy": st.busy, "waiting": st.waiting}
            return self.send_json({**stats, "persona": st.persona, "version": VERSION})
        if self.route == "/__fake/reset":
            st.reset()
            return self.send_json({"ok": True})
        if self.route == "/__fake/script" and self.command in ("POST", "PUT"):
            return self._take_script()
        return self.send_json({"error": "no such admin path"}, 404)

    def _take_script(self) -> None:
        try:
            self.state.set_script(Script(self.body_json()))
        except ValueError as e:  # ScriptError is one
            return self.send_json({"ok": False, "error": str(e)}, 400)
        return self.send_json({"ok": True})

    def run_turn(self, req: Req, emit: Emit) -> None:
        """Let the script answer a model request on its wire."""
        run_turn(self, req, emit)


def wire_of(path: str) -> str:
    """The wire whose error form a client of this path expects."""
    if "/messages" in path:
        return "anthropic"
    if path.startswith(("/v1beta", "/v1alpha")) or ":" in path:
        return "gemini"
    if path.startswith("/api/") and not path.startswith(("/api/v0", "/api/v1")):
        return "ollama"
    return "chat"
