"""Describes the caller to the coordinator: user, run, folder, environment."""

from __future__ import annotations

import errno
import os
import pwd
import termios
from collections.abc import Callable, Mapping
from pathlib import Path

from pancode.interfaces.client.remote.place import RemoteCoordinator, remote_of
from pancode.kernel.errors import PancodeError, WorkspaceError
from pancode.kernel.states import IdentityVariable

_HANDED_ON = ("HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK", "PATH", "XDG_RUNTIME_DIR")


def find_user() -> str:
    """Return the user's name at the keyboard, for records; for a remote coordinator, the login name there."""
    there = remote_of(os.environ)
    if there is not None:
        return there.facts().user
    return os.environ.get("USER") or os.environ.get("LOGNAME") or login_name()


def login_name() -> str:
    """Return the login name of this process's user; environment variables have no influence."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def terminal_is_gone() -> bool:
    """Whether standard input is a terminal whose window was closed, so that reads return only EOF."""
    try:
        termios.tcgetattr(0)
    except termios.error as exc:
        return exc.args[0] in (errno.EIO, errno.ENXIO)
    return False


def handed_on(environ: Mapping[str, str]) -> dict[str, str]:
    """Return those of the caller's variables that the start of the fleet may use, for that call only."""
    return {name: environ[name] for name in _HANDED_ON if name in environ}


def read_author() -> dict[str, str]:
    """Return the variables with which this environment tells git who the author and committer are."""
    return {str(name): os.environ[name] for name in IdentityVariable if os.environ.get(name)}


def read_environment() -> dict[str, str]:
    """Return the variables on the coordinator's machine that the start of the fleet may use."""
    there = remote_of(os.environ)
    return handed_on(os.environ if there is None else there.facts().environ)


def find_folder() -> str | None:
    """Return the caller's folder on the coordinator's machine; None if it is remote and no folder given."""
    there = remote_of(os.environ)
    if there is None:
        return folder_here()
    return there.facts().folder if there.folder is not None else None


def work_folder(files: bool = True) -> str:
    """Like `find_folder`, for work on its files. UsageError if no folder is known. `files`: whether the
    checkout's files here are copied to a remote coordinator; else only the folder's path is used."""
    found = find_folder()
    there = remote_of(os.environ)
    if found is None and there is not None:
        travelled = _travels[0](there, files) if _travels else None
        if travelled is None:
            raise there.refuse(
                f"a directory on {there} is required: the current directory is not in a git repository",
                "change to the repository, or: pancode -C FOLDER-THERE ...; to work without files: "
                "--workspace none",
            )
        return travelled
    return found or folder_here()


Travel = Callable[[RemoteCoordinator, bool], str | None]
_travels: list[Travel] = []


def let_files_travel(travel: Travel) -> None:
    """Set the function that copies the current checkout to a remote coordinator, with its files if the second
    argument is true. That function returns the folder there, or None if there is no checkout."""
    _travels[:] = [travel]


def stands_in() -> str:
    """Return `find_folder` with links resolved; "" if the folder is unknown."""
    try:
        found = find_folder()
    except PancodeError:
        return ""
    return os.path.realpath(found) if found and remote_of(os.environ) is None else found or ""


def folder_here() -> str:
    """Return the current folder. Raises WorkspaceError if the folder no longer exists."""
    try:
        return os.getcwd()
    except OSError as exc:
        raise WorkspaceError(
            "the current directory no longer exists",
            why=str(exc),
            fix="change to an existing directory: cd ~",
        ) from exc


def stand_in(place: str) -> None:
    """Act as if the command was started in this folder on the coordinator's machine. WorkspaceError."""
    there = remote_of(os.environ)
    if there is not None:
        there.folder = place
        return
    try:
        os.chdir(Path(place).expanduser())
    except (OSError, ValueError, RuntimeError) as exc:
        raise WorkspaceError(
            f"{place} is not a usable working directory", why=str(exc), fix="pass an existing directory to -C"
        ) from exc


def describe_parent() -> dict[str, object]:
    """Return the fields `parent` and `depth` for a request from inside a run, which becomes the parent; else
    nothing. The coordinator also inspects the calling process, and prefers what it finds."""
    if not os.environ.get("PANCODE_RUN"):
        return {}
    depth = os.environ.get("PANCODE_DEPTH", "0")
    return {"parent": os.environ["PANCODE_RUN"], "depth": int(depth) + 1 if depth.isdigit() else 1}
