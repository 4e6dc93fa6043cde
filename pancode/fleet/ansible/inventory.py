"""Reads an Ansible inventory with Ansible's own program, and finds the file of a variable."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pancode.fleet.ansible.hosts import InventoryHost, Misfit, entry, hosts_of
from pancode.fleet.ssh.knownhosts import known_key
from pancode.fleet.ssh.target import Target
from pancode.kernel.errors import ConfigError

PROGRAM = "ansible-inventory"
READ_S = 120
LARGEST = 1 << 20
UNSAFE = "__ansible_unsafe"


def read(sources: Sequence[str], group: str | None, environ: Mapping[str, str]) -> list[InventoryHost]:
    """Every host that is meant. ConfigError with file, host, variable and fix of all that cannot work."""
    for source in sources:
        if not Path(source).exists():
            raise ConfigError(f"{source} is not there", fix="name the inventory file, or its folder")
    listed = _listed(sources, environ)
    if group is not None and group not in listed:
        raise ConfigError(f"the inventory has no group {group}", why=", ".join(sources))
    hostvars = listed.get("_meta", {}).get("hostvars", {})
    found = [entry(host, hostvars.get(host, {}), _is_file) for host in hosts_of(listed, group)]
    if wrong := [misfit for one in found if not isinstance(one, InventoryHost) for misfit in one]:
        raise _misfit(sources, wrong)
    entries = [one for one in found if isinstance(one, InventoryHost)]
    if not entries:
        raise ConfigError("the inventory names no host", why=", ".join(sources))
    return entries


def known_fingerprint(host: str, port: int, environ: Mapping[str, str]) -> str | None:
    """The fingerprint of the host key in your own known_hosts, which Ansible trusts as well."""
    home = Path(environ.get("HOME") or Path.home())
    files = (home / ".ssh/known_hosts", Path("/etc/ssh/ssh_known_hosts"))
    key = known_key(Target(host, host, port, ""), files)
    return key.fingerprint if key is not None else None


def _is_file(path: str) -> bool:
    return Path(path).expanduser().is_file()


def _listed(sources: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any]:
    given = [word for source in sources for word in ("--inventory", source)]
    strict = {"ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true", "ANSIBLE_NOCOLOR": "1"}
    try:
        done = subprocess.run(
            [_program(environ), *given, "--list"],
            env={**environ, **strict},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=READ_S,
            check=False,
        )
    except FileNotFoundError as error:
        fix = "install it: pipx install ansible-core, or run this where Ansible is"
        raise ConfigError(f"{PROGRAM} is not on PATH", fix=fix) from error
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"{PROGRAM} did not answer within {READ_S} s") from error
    if done.returncode != 0:
        stderr = done.stderr.decode("utf-8", "replace").strip()
        fix = f"look at it with: {PROGRAM} -i {sources[0]} --list"
        raise ConfigError("Ansible cannot read the inventory", why=stderr[-800:], fix=fix)
    listed: dict[str, Any] = json.loads(done.stdout, object_hook=_plain)
    return listed


def _plain(value: dict[str, Any]) -> Any:
    """Return an inventory plugin's value: `{"__ansible_unsafe": value}` is no template, but `value`."""
    return value[UNSAFE] if value.keys() == {UNSAFE} else value


def _program(environ: Mapping[str, str]) -> str:
    """Return the program's whole path: started by that, it finds its own environment's libraries."""
    for folder in environ.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(folder, PROGRAM)
        if os.access(path, os.X_OK):
            return path
    return PROGRAM


def _misfit(sources: Sequence[str], wrong: Sequence[Misfit]) -> ConfigError:
    lines = [f"{_file_of(sources, m)}: host {m.host}: {m.variable} {m.what}" for m in wrong]
    more = "".join(f"\n  {line}; fix: {m.fix}" for line, m in zip(lines[1:], wrong[1:], strict=True))
    others = f" and {len(wrong) - 1} more" if more else ""
    return ConfigError(
        f"a host of the inventory cannot be a node{others}", why=lines[0] + more, fix=wrong[0].fix
    )


def _file_of(sources: Sequence[str], wrong: Misfit) -> str:
    """Return the file that sets it: the host's own first, then the inventory, then those of groups."""
    for path in _files(sources, wrong.host):
        try:
            text = path.read_text(encoding="utf-8") if path.stat().st_size <= LARGEST else ""
        except (OSError, UnicodeDecodeError):
            continue
        if wrong.variable in text:
            return str(path)
    return ", ".join(sources)


def _files(sources: Sequence[str], host: str) -> Iterator[Path]:
    for source in map(Path, sources):
        top = source if source.is_dir() else source.parent
        yield from sorted(top.glob(f"host_vars/{host}*"))
        yield from sorted(top.glob(f"host_vars/{host}/*"))
        yield from sorted(top.iterdir()) if source.is_dir() else (source,)
        yield from sorted(path for path in top.glob("group_vars/**/*") if path.is_file())
