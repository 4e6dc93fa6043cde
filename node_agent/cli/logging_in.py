"""Opens a vendor's own login on this terminal, and stores the login where the node's runs read it."""

from __future__ import annotations

import getpass
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from node_agent.files.durable import make_folder, write_atomic
from node_agent.gateway.opening import read_wish
from node_agent.machine.discovery import search_path
from node_agent.machine.home import NodeHome
from node_agent.runtimes.logins import FOLDER, LOGINS, Login
from node_agent.runtimes.registry import RUNTIMES

FAILED, MISSING, INTERRUPTED = 1, 69, 130
_HANDED_ON = ("HOME", "USER", "LOGNAME", "LANG", "TERM", "COLORTERM", "SHELL", "SSH_CONNECTION")
_TOKEN = re.compile(r"[\x21-\x7e]{8,4096}")
ASKS = "Enter the token that was printed (input is hidden; press Enter for none): "


class NoLogin(Exception):
    """The reason why no login can be opened, with `fix`, the remedy."""

    def __init__(self, words: str, fix: str, status: int = FAILED) -> None:
        super().__init__(words)
        self.fix, self.status = fix, status


def log_in(
    home: NodeHome,
    runtime: str,
    environ: Mapping[str, str],
    values: Mapping[str, str],
    prompt: Callable[[str], str] = getpass.getpass,
) -> int:
    """Open the login; return its exit status (0: runs can use the login). Raises NoLogin, SettingsError."""
    login = _login_of(runtime, home)
    path = search_path(home.read_settings().path, environ)
    program = shutil.which(login.argv[0], path=path)
    if program is None:
        known = RUNTIMES[runtime].program
        fix = f"install {login.argv[0]}" if known is None else known.install
        raise NoLogin(f"{login.argv[0]} not found on this machine", fix, MISSING)
    folder = home.root / FOLDER / runtime
    for one in (folder.parent, folder):
        make_folder(one)
        one.chmod(0o700)
    env = {**handed_on(home, path, environ, values), login.home: str(folder)}
    status = _run((program, *login.argv[1:]), env)
    if status:
        _say(f"{' '.join(login.argv)} failed with exit status {status}; nothing was stored")
        return status
    return _keep_login(login, folder, prompt)


def _login_of(runtime: str, home: NodeHome) -> Login:
    if runtime not in RUNTIMES:
        known = ", ".join(sorted(LOGINS))
        raise NoLogin(f"runtime {runtime!r} not found", f"runtimes with a login: {known}")
    if runtime not in LOGINS:
        program = RUNTIMES[runtime].program
        fix = f"{runtime} needs no login"
        if program is not None:
            fix = program.login.replace(" NODE ", f" {home.read_settings().name} ")
            fix = fix.replace("~/.pancode-node/*", str(home.root))
        raise NoLogin(f"{runtime} has no login that can be opened here for its runs", fix)
    return LOGINS[runtime]


def _keep_login(login: Login, folder: Path, prompt: Callable[[str], str]) -> int:
    """Make the login available to the runs; the user must enter a token that was only printed."""
    file = folder / login.file
    if login.prints:
        try:
            token = _ask_token(prompt)
        except KeyboardInterrupt:
            _say("\nno token was stored")
            return INTERRUPTED
        if not token:
            _say(
                f"no token was entered, so nothing was stored; you can also set {login.variable} in "
                "secrets.json"
            )
            return FAILED
        if not _TOKEN.fullmatch(token):
            _say("that is not a token, because it contains spaces or is too short; nothing was stored")
            return FAILED
        write_atomic(file, token.encode())
    if not file.is_file():
        _say(f"the login did not create {file}, so runs would not be logged in")
        return FAILED
    file.chmod(0o600)
    _say("logged in: new runs on this machine use this login; check it with pancode agents runtimes")
    return 0


def _ask_token(prompt: Callable[[str], str]) -> str:
    """Return the user's input; empty if the user canceled or entered nothing."""
    try:
        return prompt(ASKS).strip()
    except EOFError:
        _say("")
        return ""


def _run(argv: tuple[str, ...], env: Mapping[str, str]) -> int:
    """Run the program on this terminal; return its status. Ctrl-C is left to the program to handle."""
    interrupts = list[int]()
    before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    try:
        status = subprocess.call(argv, env=dict(env))
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupts and status:
        return INTERRUPTED
    return status if status >= 0 else 128 - status


def handed_on(
    home: NodeHome, path: str, environ: Mapping[str, str], values: Mapping[str, str]
) -> dict[str, str]:
    """Return the whole environment for a vendor's program that is started for the node's user."""
    env = {name: environ[name] for name in _HANDED_ON if name in environ}
    return {**env, "PATH": path, **_way_out(home, values)}


def _way_out(home: NodeHome, values: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for the owner's proxy, so that the vendor's program uses this proxy, too."""
    wish = read_wish(home.root)
    if wish.https_proxy is None:
        return {}
    login = values.get(wish.proxy_login or "", "")
    url = wish.https_proxy.replace("://", f"://{login}@", 1) if login else wish.https_proxy
    return {"HTTPS_PROXY": url, "NO_PROXY": ",".join(wish.no_proxy)}


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
