"""Decides where the embedded server's files and its socket are; writes its configuration and users' file."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from pancode.kernel.errors import UnavailableError
from pancode.kernel.host.files import sync_folder

COORDINATOR, USER_PREFIX = "coordinator", "node-"
"""The Redis user of the coordinator, and the beginning of the name of each node's user."""
RIGHTS = "~* &* +@all"
"""The rights of a coordinator: a user that may create users could get all other rights anyway."""
_CLOSED = "user default off resetkeys resetchannels -@all"
_NEUTRAL = frozenset({"sanitize-payload", "resetkeys", "resetchannels"})
"""Rules that a server may add or omit when it writes the users' file itself."""


def node_user(tag: str) -> str:
    """Return the name of the Redis user of the node with this tag."""
    return f"{USER_PREFIX}{tag}"


def users_text(known: str, user: str, password: str) -> str:
    """Return the new text of the users' file. `known`: the old text, which may be empty.

    Nodes' users, which the server writes into the file, remain. The file has only a digest of the password. A
    line with the same meaning is kept, so a correct file does not change.
    """
    digest = hashlib.sha256(password.encode()).hexdigest()
    wanted = {"default": _CLOSED, user: f"user {user} on #{digest} {RIGHTS}"}
    there = {line.split()[1]: line for line in known.splitlines() if _names_one(line)}
    ours = [_choose_line(there.get(name), line) for name, line in wanted.items()]
    if all(there.get(name) in ours for name in wanted):
        return known
    others = [line for name, line in there.items() if name not in wanted]
    return "\n".join([*ours, *others, ""])


def _names_one(line: str) -> bool:
    return line.startswith("user ") and len(line.split()) > 1


def _choose_line(there: str | None, wanted: str) -> str:
    return there if there is not None and _parse_line(there) == _parse_line(wanted) else wanted


def _parse_line(line: str) -> frozenset[str]:
    return frozenset(line.split()) - _NEUTRAL


SOCKET_BYTES = 103
"""The longest path of a unix socket that works everywhere (macOS allows 104 bytes with the final zero)."""
MAX_MEMORY = 512 * 2**20
MAX_MESSAGE = 16 * 2**20

SETTINGS = """\
# Written by pancode at every start; changes are lost. Only what is not the default stands here.
port 0
unixsocketperm 600
daemonize no
databases 1
loglevel notice
save ""
appendonly yes
appendfsync everysec
# The log is rewritten if it is larger than this and has doubled since the last time, and not from 64 MB on.
auto-aof-rewrite-min-size 2mb
# A node that floods the bus fills this and no more; writes are then refused, and nothing is thrown away.
maxmemory-policy noeviction
# Many connections with much in their buffers: the largest are cut, never those of the coordinator.
maxmemory-clients 64mb
client-query-buffer-limit 32mb
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one embedded server; `folder` is the `valkey` folder of a coordinator's home."""

    folder: Path
    socket: Path

    @property
    def config(self) -> Path:
        return self.folder / "conf"

    @property
    def users(self) -> Path:
        return self.folder / "users.acl"

    @property
    def password(self) -> Path:
        return self.folder / "coordinator.password"

    @property
    def log(self) -> Path:
        return self.folder / "valkey.log"

    @property
    def record(self) -> Path:
        return self.folder / "server.json"

    @property
    def data(self) -> Path:
        return self.folder / "appendonlydir"

    @property
    def link(self) -> Path:
        """Return the usual path of the socket; if the socket had to be elsewhere, a link to it."""
        return self.folder / "valkey.sock"


def lay_out(folder: Path, runtime_dir: str | None, uid: int) -> Layout:
    """Create the folders (0700) and choose the socket's folder: `folder`, or one with a short path."""
    folder = folder.absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    socket = folder / "valkey.sock"
    if len(os.fsencode(socket)) <= SOCKET_BYTES:
        return Layout(folder, socket)
    if runtime_dir and len(os.fsencode(runtime_dir)) < SOCKET_BYTES - 40 and os.path.isdir(runtime_dir):
        base = Path(runtime_dir) / "pancode"
    else:
        base = Path("/tmp") / f"pancode-{uid}"
    private_folder(base, uid)
    short = base / hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    private_folder(short, uid)
    return Layout(folder, short / "valkey.sock")


def private_folder(folder: Path, uid: int) -> None:
    """Create the folder with mode 0700, or check that it is a real one that no other user can enter."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = os.lstat(folder)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o077:
            raise UnavailableError(
                f"{folder} is not safe for a socket",
                why="it must be a directory that only this user can access",
                fix=f"remove {folder}, or set XDG_RUNTIME_DIR to a private directory with a short path",
            ) from None


def write_config(layout: Layout, intervals: str = "") -> None:
    """Write the configuration file; `intervals`: additional lines, used by tests."""
    places = {"unixsocket": layout.socket, "dir": layout.folder, "aclfile": layout.users}
    lines = [f"{name} {quote_word(str(path))}" for name, path in places.items()]
    limits = [f"maxmemory {MAX_MEMORY}", f"proto-max-bulk-len {MAX_MESSAGE}"]
    text = SETTINGS + "\n".join([*lines, *limits]) + "\n" + intervals
    write_private(layout.config, text.encode("utf-8", "surrogateescape"))


def write_users(layout: Layout, password: str) -> None:
    """Write the users' file: the coordinator, the disabled default user, and the nodes admitted before."""
    try:
        known = layout.users.read_text("utf-8")
    except FileNotFoundError:
        known = ""
    write_private(layout.users, users_text(known, COORDINATOR, password).encode())


def write_private(path: Path, data: bytes) -> None:
    """Replace the file (0600) atomically and durably."""
    fresh = path.with_name(f"{path.name}.new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)
    fresh.replace(path)
    sync_folder(path.parent)


def quote_word(text: str) -> str:
    """Return the text quoted as one argument of a Redis configuration file."""
    plain = (c if c.isprintable() and c not in '"\\' else _escape_char(c) for c in text)
    return '"' + "".join(plain) + '"'


def _escape_char(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))
