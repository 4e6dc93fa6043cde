"""One `ssh` process to a coordinator on another machine, which carries any number of connections."""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

from node_agent.link.channels import TunnelChannels
from node_agent.wire.frames import MOST_LINE, PROTOCOL, FrameKind, line_of, read_line
from pancode.interfaces.client.remote.address import RemoteAddress
from pancode.kernel.errors import ApiError, PancodeError, UnavailableError

COMMAND = 'PATH="$PATH:$HOME/.local/bin:/usr/local/bin"; export PATH; exec pancode api-stdio'
"""A fixed command for any login shell on that machine; everything else is sent over standard input."""
_ONLY_LOGIN = (
    "ClearAllForwardings=yes",
    "RemoteCommand=none",
    "Tunnel=no",
    "PermitLocalCommand=no",
    "ForwardX11=no",
)
"""Switch off what the settings of an alias do besides logging in, such as forwarding a port."""
_NEWER = ("SessionType=default", "StdinNull=no", "ForkAfterAuthentication=no")
"""The same, in settings that OpenSSH has since 8.7."""
_WAITS = ("ConnectTimeout=30", "ServerAliveInterval=15")
_UNKNOWN_OPTION = "bad configuration option"
_DEAF = ("/bin/sh", "-c", "trap '' INT QUIT; exec \"$@\"", "sh")
"""Keeps Ctrl-C away from ssh: it is for the command, which may still have to send a request over ssh."""
HELLO_S = 180.0
"""Seconds allowed for the login, because a user may have to type a password or touch a security key."""
OPEN_S = 90.0
"""Seconds allowed for opening a connection, because starting a coordinator takes up to a minute."""
ENDS_S = 3.0
_MISSING, _SSH_FAILED = (126, 127), 255


@dataclass(frozen=True, slots=True)
class LoginFacts:
    """The facts that the coordinator's machine reports about a login there."""

    version: str
    user: str
    environ: Mapping[str, str]
    folder: str | None
    """The caller's folder on the coordinator's machine, as an absolute path."""


class Tunnel:
    """The SSH login on the coordinator's machine, from `begin` until cut or closed; `open` is thread-safe."""

    def __init__(self, address: RemoteAddress, folder: str | None) -> None:
        self.address = address
        self._folder = folder
        self._numbers, self._lock = count(1), threading.Lock()
        self._answers: dict[int, tuple[threading.Event, list[tuple[FrameKind, bytes]]]] = {}
        self._words: deque[str] = deque(maxlen=20)
        self._channels: TunnelChannels | None = None
        self.cut = False

    def begin(self) -> LoginFacts:
        """Log in, and read the other end's facts. Raises UnavailableError, or the other end's refusal."""
        if shutil.which("ssh") is None:
            raise UnavailableError(
                "ssh is not installed on this machine", fix="apt install openssh-client", code="no_ssh"
            )
        try:
            return self._log_in((*_WAITS, *_ONLY_LOGIN, *_NEWER))
        except UnavailableError as failed:
            if _UNKNOWN_OPTION not in failed.why.lower():
                raise
            self._words.clear()
            return self._log_in((*_WAITS, *_ONLY_LOGIN))

    def _log_in(self, settings: Sequence[str]) -> LoginFacts:
        options = [word for setting in settings for word in ("-o", setting)]
        self._ssh = subprocess.Popen(
            [*_DEAF, "ssh", "-T", *options, *self.address.words(), f"sh -c '{COMMAND}'"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        assert self._ssh.stdin is not None and self._ssh.stdout is not None
        self._listener = threading.Thread(target=self._listen_to_ssh, daemon=True)
        self._listener.start()
        self._in, self._out = self._ssh.stdin.fileno(), self._ssh.stdout.fileno()
        try:
            hello: dict[str, Any] = {"protocol": PROTOCOL, "home": self.address.home, "folder": self._folder}
            with suppress(BrokenPipeError):  # on a broken pipe, ssh's own output explains the failure
                os.write(self._in, line_of(hello))
            answer = self._first_line()
            if answer is None:
                raise self._no_answer()
            if "error" in answer:
                raise ApiError(answer["error"])
            if answer.get("protocol") != PROTOCOL:
                raise self._other_version(f"the other machine has PanCode {answer.get('version')}")
            facts = _parse_facts(answer)
        except BaseException:
            self.close()
            raise
        self._channels = TunnelChannels(self._out, self._in, self._on_frame)
        threading.Thread(
            target=self._carry_frames, args=(self._channels,), name="tunnel", daemon=True
        ).start()
        return facts

    def open(self, wanted: Mapping[str, Any]) -> socket.socket:
        """Return a connection on that machine, used like a local one; raise the other end's refusal.
        `wanted`: `starts` and `works` for a connection to the coordinator; `copy` and `service` for git."""
        assert self._channels is not None
        ours, theirs = socket.socketpair()
        number, answer = next(self._numbers), (threading.Event(), list[tuple[FrameKind, bytes]]())
        self._answers[number] = answer
        try:
            self._channels.carry(number, theirs, halves="copy" in wanted)
            self._channels.send(FrameKind.OPEN, number, json.dumps(wanted).encode())
            answer[0].wait(OPEN_S)
        except OSError:
            self.cut = True
        finally:
            del self._answers[number]
        if answer[1] and answer[1][0][0] is FrameKind.OPENED:
            return ours
        ours.close()
        raise _parse_refusal(answer[1][0][1]) if answer[1] else self.lost()

    def lost(self) -> UnavailableError:
        """Return the error for a link that ended or does not answer."""
        why = self._last_words() if self.cut else f"no answer within {OPEN_S:.0f} s"
        message = (
            f"the link to {self.address.host} was cut" if self.cut else f"{self.address.host} does not answer"
        )
        return UnavailableError(
            message,
            why=why,
            fix="before you retry, check whether the command had an effect: pancode runs",
            code="link_cut",
        )

    def close(self) -> None:
        """End the login. Threads that read from it see the end, and nothing more is written."""
        if self._channels is not None and not self._channels.close(ENDS_S):
            self._ssh.kill()  # ssh does not read its input; killing ssh makes a blocked writer fail
            self._channels.close(ENDS_S)
        with suppress(OSError):
            if self._ssh.stdin is not None:
                self._ssh.stdin.close()
        try:
            self._ssh.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            self._ssh.kill()
            self._ssh.wait()

    def _first_line(self) -> dict[str, Any] | None:
        """Return the first message of the other end; None if the output ends without a message."""
        line = bytearray()
        while select.select([self._out], [], [], HELLO_S)[0]:
            # byte by byte, because what follows the line belongs to the channels
            byte = os.read(self._out, 1)
            if not byte:
                return None
            line += byte
            if byte == b"\n" or len(line) > MOST_LINE:
                message = read_line(bytes(line))
                if message is not None:
                    return message
                line.clear()
        raise UnavailableError(
            f"{self.address.host} did not answer in time",
            why=self._last_words() or f"no data was received within {HELLO_S:.0f} s",
            fix=self.address.by_hand("pancode node ls"),
            code="ssh_failed",
        )

    def _no_answer(self) -> PancodeError:
        try:
            status = self._ssh.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            status = -1
        self._listener.join(ENDS_S)
        host, why = self.address.host, self._last_words() or f"ssh exited with status {status}"
        if status == _SSH_FAILED:
            fix = f"fix the SSH login until this works: {self.address.by_hand('true')}"
            return UnavailableError(f"ssh cannot log in to {host}", why=why, fix=fix, code="ssh_failed")
        if status in _MISSING:
            fix = f"install PanCode there, then check: {self.address.by_hand('pancode --version')}"
            return UnavailableError(
                f"command pancode not found on {host}", why=why, fix=fix, code="pancode_missing"
            )
        return self._other_version(why)

    def _other_version(self, why: str) -> PancodeError:
        return UnavailableError(
            f"PanCode on {self.address.host} is not compatible with PanCode here",
            why=why,
            fix=(
                "install the same version on both machines: pancode --version; "
                f"{self.address.by_hand('pancode --version')}"
            ),
            code="other_version",
        )

    def _listen_to_ssh(self) -> None:
        """Store ssh's error output; also print it at once during the login: the user may have to respond."""
        assert self._ssh.stderr is not None
        shown = sys.stderr.isatty()
        for raw in self._ssh.stderr:
            text = raw.decode("utf-8", "replace").strip()
            self._words.append(text)
            if shown and self._channels is None and _UNKNOWN_OPTION not in text.lower():
                sys.stderr.write(f"{text}\n")

    def _last_words(self) -> str:
        return "; ".join([word for word in self._words if word][-3:])

    def _carry_frames(self, channels: TunnelChannels) -> None:
        channels.run()
        self.cut = True
        for event, _ in list(self._answers.values()):
            event.set()

    def _on_frame(self, kind: FrameKind, number: int, payload: bytes) -> None:
        waiting = self._answers.get(number)
        if waiting is not None:
            waiting[1].append((kind, payload))
            waiting[0].set()


def _parse_refusal(payload: bytes) -> PancodeError:
    try:
        problem = json.loads(payload)
    except ValueError:
        problem = {}
    return ApiError(problem if isinstance(problem, dict) else {})


def _parse_facts(answer: Mapping[str, Any]) -> LoginFacts:
    environ, folder = answer.get("environ"), answer.get("folder")
    return LoginFacts(
        str(answer.get("version")),
        str(answer.get("user")),
        {str(k): str(v) for k, v in environ.items()} if isinstance(environ, dict) else {},
        None if folder is None else str(folder),
    )
