"""Runs commands and puts files on a node over one connection, with limits on time, bytes and number. A login
shell may print text before and after each command's output (from `~/.bashrc`); that text is removed."""

from __future__ import annotations

import asyncio
import shlex
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import asyncssh

from pancode.fleet.ssh.connection import Session
from pancode.fleet.ssh.errors import LinkLost, RemoteFailed, TransferFailed, translate_ssh_errors

MARK = "@@pancode-output@@"
NOISE = 64 * 1024
"""How many bytes of a login shell's own output, including the mark, are read besides a command's output."""
END = "@@pancode-end@@"
_SAYS = (
    f"printf '%s\\n' {MARK}; printf '%s\\n' {MARK} >&2; \"$@\"; s=$?; "
    f"printf '\\n%s\\n' {END}; printf '\\n%s\\n' {END} >&2; exit $s"
)


def wrap_command(argv: Sequence[str]) -> str:
    """Return a command line for any login shell: it runs `argv`, and marks where both outputs begin and
    end."""
    return shlex.join(["sh", "-c", _SAYS, "pancode", *argv])


def strip_marks(output: bytes) -> bytes:
    """Return the output between the marks; the whole output if the shell did not print the first mark."""
    before, mark, after = output.partition(f"{MARK}\n".encode())
    inside, end, _ = after.rpartition(f"\n{END}\n".encode())
    return inside if end else after if mark else before


SLOTS = 4
"""Concurrent commands: sshd's MaxSessions is 10, and the session of an ended command is freed late."""
OUTPUT_LIMIT = 4 << 20
CHUNK = 64 << 10
PAUSES = (0.05, 0.2, 1.0)
"""Seconds between tries of a command for which the server had no free session."""
GRACE_S = 10
"""How many seconds to wait for an answer after the node's own `timeout` should have ended the command."""
STALLED_S = 60
"""How many seconds a node may send nothing of a file."""
_KILL_AFTER = "5"
FIX = "\n  fix: "
"""The text between the problem and the fix in a program's error output."""
TOO_MANY = 2
"""ChannelOpenError code of a server whose MaxSessions is reached."""

OPEN = """\
pid=$(cat "$1/run/agent.pid" 2>/dev/null) && python=$(readlink "/proc/$pid/exe") \\
  && tr '\\0' '\\n' <"/proc/$pid/cmdline" | grep -q '/start\\.py$' \\
  || { echo "no node agent runs there; fix: pancode fleet up" >&2; exit 75; }
home=$1 verb=$2; shift 2
exec "$python" -I -S -B "$home/current/start.py" "$verb" --home "$home" "$@"
"""
"""$1 node home, $2 verb, then its arguments. The node agent's own code knows the node's PATH and files."""


@dataclass(frozen=True, slots=True)
class Completed:
    """The outcome of a command on the node; its outputs are raw bytes, cut at the limit."""

    argv: tuple[str, ...]
    status: int | None
    """The exit status; None if a signal ended the command."""
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    truncated: bool = False
    signal: str = ""

    @property
    def text(self) -> str:
        return self.stdout.decode("utf-8", "replace")

    def check(self, what: str, fix: str = "") -> Completed:
        """Return this outcome, or raise RemoteFailed with the command's last output and the fix."""
        if self.status == 0 and not self.timed_out:
            return self
        output = self.stderr.decode("utf-8", "replace").strip() or self.text.strip()
        output, _, fixed = output.partition(FIX)
        how = "timed out" if self.timed_out else f"exit {self.status}{self.signal}"
        raise RemoteFailed(
            f"{what} failed on the node",
            status=self.status,
            why=f"{how}: {output[-800:]}",
            fix=fixed.partition("\n")[0].strip() or fix,
        )


class Remote:
    """Commands and files over one session. Methods raise LinkLost if the connection is lost."""

    def __init__(self, session: Session, slots: int = SLOTS) -> None:
        self.session = session
        self._slots = asyncio.Semaphore(slots)

    @property
    def conn(self) -> asyncssh.SSHClientConnection:
        return self.session.conn

    async def run(
        self, argv: Sequence[str], timeout_s: float, stdin: bytes = b"", limit: int = OUTPUT_LIMIT
    ) -> Completed:
        """Run `argv`; the node itself kills it after the timeout. A nonzero status raises no error here."""
        command = wrap_command(["timeout", "-k", _KILL_AFTER, f"{timeout_s:g}", *argv])
        async with self._slots:
            try:
                async with asyncio.timeout(timeout_s + GRACE_S):
                    with translate_ssh_errors():
                        return await self._run(tuple(argv), command, timeout_s, stdin, limit)
            except TimeoutError as error:
                raise LinkLost(f"{argv[0]} did not answer within {timeout_s + GRACE_S:g} s") from error

    async def _run(
        self, argv: tuple[str, ...], command: str, timeout_s: float, stdin: bytes, limit: int
    ) -> Completed:
        began = asyncio.get_running_loop().time()
        process = await self._open(command)
        # Output over the limit is read and discarded, so that the command never blocks.
        try:
            feed = asyncio.ensure_future(_feed(process, stdin))
            try:
                (out, cut_out, has_begun), (err, cut_err, _) = await asyncio.gather(
                    _read(process.stdout, limit), _read(process.stderr, limit)
                )
                await process.wait_closed()
            finally:
                feed.cancel()
                await asyncio.gather(feed, return_exceptions=True)
        finally:
            process.close()
        if process.exit_status is None and process.exit_signal is None:
            raise LinkLost("the connection ended before the command finished")
        if not has_begun and process.exit_status is not None:
            said = " ".join((out + err).decode("utf-8", "replace").split())[-300:] or "nothing"
            raise RemoteFailed(
                "the login shell of the node was replaced or has ended before it ran PanCode's command",
                status=process.exit_status,
                why=f"exit {process.exit_status}, and it said: {said}",
                fix="on the node, add as the first line of ~/.bashrc (or of the file that starts another "
                "program): case $- in *i*) ;; *) return ;; esac",
            )
        signal = f" (signal {process.exit_signal[0]})" if process.exit_signal else ""
        status = None if process.exit_signal else process.exit_status
        done = Completed(argv, status, out, err, truncated=cut_out or cut_err, signal=signal)
        # 124 and 137 are the statuses of `timeout`, but a command may return them, too: elapsed time decides.
        late = asyncio.get_running_loop().time() - began >= timeout_s
        return replace(done, timed_out=late and done.status in (124, 137))

    async def script(self, text: str, args: Sequence[str], timeout_s: float) -> Completed:
        """Run one of PanCode's constant `sh` scripts over stdin, so that any login shell works."""
        return await self.run(["sh", "-s", "--", *args], timeout_s, stdin=text.encode())

    async def _open(self, command: str) -> asyncssh.SSHClientProcess[bytes]:
        for pause in PAUSES:
            try:
                return await self.conn.create_process(command, encoding=None)
            except asyncssh.ChannelOpenError as error:
                if error.code != TOO_MANY or self.conn.is_closed():
                    raise
            await asyncio.sleep(pause)
        return await self.conn.create_process(command, encoding=None)

    async def put(self, path: str, source: bytes | Path, mode: int = 0o600) -> None:
        """Write a file atomically: check the space, write a temporary file, sync, rename. Idempotent."""
        async with self._slots:
            with translate_ssh_errors():
                try:
                    async with self.conn.start_sftp_client() as sftp:
                        folder = path.rsplit("/", 1)[0]
                        size = len(source) if isinstance(source, bytes) else source.stat().st_size
                        space = await sftp.statvfs(folder)
                        if space.bavail * space.frsize < size + (1 << 20):
                            raise TransferFailed(
                                f"no space left on the node for {path}",
                                why=f"{space.bavail * space.frsize} bytes free, {size} needed",
                                fix="free disk space in the node's home directory",
                            )
                        temporary = f"{path}.part"
                        try:
                            await _write(sftp, temporary, source, mode)
                            await sftp.posix_rename(temporary, path)
                        except BaseException:
                            await asyncio.shield(_discard_file(sftp, temporary))
                            raise
                except asyncssh.SFTPError as error:
                    if self.conn.is_closed():
                        raise LinkLost(str(error)) from error
                    raise TransferFailed(
                        f"cannot write {path} on the node",
                        why=f"{type(error).__name__}: {error.reason or error}",
                        fix="check that the file system is writable and that the SSH server has an sftp "
                        "subsystem",
                    ) from error

    async def get(self, path: str, target: Path, size: int) -> None:
        """Read a regular file of this size into a new file. TransferFailed for anything else, which is not
        opened; LinkLost if the node sends nothing for a minute."""
        async with self._slots:
            with translate_ssh_errors():
                try:
                    async with self.conn.start_sftp_client() as sftp:
                        seen = await sftp.lstat(path)
                        if not stat.S_ISREG(seen.permissions or 0) or seen.size != size:
                            what = f"{path} is not a regular file of {size} bytes"
                            raise TransferFailed(f"cannot read {path} on the node", why=what)
                        with target.open("xb") as writing:
                            async with asyncio.timeout(STALLED_S):
                                file = await sftp.open(path, "rb")
                            while size:
                                async with asyncio.timeout(STALLED_S):
                                    chunk = await file.read(min(size, 1 << 20))
                                if not chunk:
                                    raise TransferFailed(
                                        f"cannot read {path}", why=f"{size} bytes are missing"
                                    )
                                size -= writing.write(cast("bytes", chunk))
                except asyncssh.SFTPError as error:
                    why = f"{type(error).__name__}: {error.reason or error}"
                    raise TransferFailed(f"cannot read {path} on the node", why=why) from error
                except TimeoutError as error:
                    raise LinkLost(f"the node sent nothing of {path} for {STALLED_S} s") from error


async def _feed(process: asyncssh.SSHClientProcess[bytes], stdin: bytes) -> None:
    try:
        for start in range(0, len(stdin), CHUNK):
            process.stdin.write(stdin[start : start + CHUNK])
            await process.stdin.drain()
        process.stdin.write_eof()
    except (OSError, asyncssh.Error):
        return


async def _read(stream: asyncssh.SSHReader[bytes], limit: int) -> tuple[bytes, bool, bool]:
    """Return the command's output without the login shell's, cut at the limit; whether it was cut; and
    whether the login shell has begun the command."""
    kept, size, most = bytearray(), 0, limit + NOISE
    while chunk := await stream.read(CHUNK):
        size += len(chunk)
        kept += chunk[: max(0, most - len(kept))]
    has_mark = MARK.encode() in kept
    output = strip_marks(bytes(kept))
    return output[:limit], size > most or len(output) > limit, has_mark


async def _write(sftp: asyncssh.SFTPClient, path: str, source: bytes | Path, mode: int) -> None:
    async with sftp.open(path, "wb", asyncssh.SFTPAttrs(permissions=mode)) as file:
        await file.chmod(mode)
        if isinstance(source, bytes):
            await file.write(source)
        else:
            with source.open("rb") as reader:
                while chunk := reader.read(1 << 20):
                    await file.write(chunk)
        try:
            await file.fsync()
        except asyncssh.SFTPOpUnsupported:
            return


async def _discard_file(sftp: asyncssh.SFTPClient, path: str) -> None:
    try:
        await sftp.remove(path)
    except (OSError, asyncssh.Error):
        return
