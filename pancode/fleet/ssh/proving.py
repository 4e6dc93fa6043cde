"""Has a node try its direct link before it is switched to it; explains each failure with a fix."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from pancode.fleet.ssh.errors import ConnectError, LinkFault
from pancode.fleet.ssh.probe import probe
from pancode.fleet.ssh.readiness import pythons
from pancode.fleet.ssh.remote import Completed, Remote
from pancode.fleet.ssh.steps import NodeLocation
from pancode.fleet.ssh.tunnel import Pass

TRY_S = 30
SKEW_MS = 60 * 60_000
_UNKNOWN_VERB = 2
_DATES = ("certificate has expired", "not yet valid", "CERTIFICATE_EXPIRED")
_OTHERS = ("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER", "UNKNOWN_CA", "no coordinator", "is no depot")


async def prove(remote: Remote, fleet: str, node_home: str | None, pointer: str, by: Pass) -> None:
    """ConnectError with all that its owner needs to mend it."""
    found = await probe(remote, fleet, node_home)
    fit = pythons(found)
    if not found.current or not fit:
        raise _wrong(by, "no node agent is installed there", f"pancode fleet up {by.node}")
    argv = NodeLocation.of(fleet, found).command(fit[0].path, "reach", "--offered", "--json")
    check(await remote.run(argv, TRY_S, pointer.encode()), by)


def check(done: Completed, by: Pass) -> None:
    """The result of the trial. ConnectError."""
    if done.status == 0:
        return
    if done.status == _UNKNOWN_VERB:
        raise _wrong(by, "its node agent is of an older version", f"pancode fleet up {by.node}")
    try:
        result = json.loads(done.text)
        redis, depot, wall_ms = str(result["redis"]), str(result["depot"]), int(result["wall_ms"])
    except (ValueError, KeyError, TypeError):
        stderr = done.stderr.decode("utf-8", "replace").strip()[-400:]
        raise _wrong(
            by, stderr or f"the trial ended with {done.status}", f"pancode fleet up {by.node}"
        ) from None
    name, words = ("Redis", redis) if redis else ("the depot", depot)
    raise _wrong(by, f"{name}: {words}", _fix(words, wall_ms, by))


def _fix(words: str, wall_ms: int, by: Pass) -> str:
    look = f"look from there: openssl s_client -connect {by.address} </dev/null"
    if any(one in words for one in _DATES):
        if abs(wall_ms - by.issued_ms) > SKEW_MS:
            clock = datetime.fromtimestamp(wall_ms // 1000, UTC).isoformat()
            return f"set the clock of {by.node}, which says {clock}: timedatectl set-ntp true"
        return f"have it made anew: pancode fleet down, then pancode fleet up; {look}"
    if "not valid for" in words or "mismatch" in words:
        return f"another host's certificate is shown at the address in {by.origin}; {look}"
    if any(one in words for one in _OTHERS):
        return f"something else than this coordinator answers at the address in {by.origin}; {look}"
    if "WRONGPASS" in words or "NOAUTH" in words:
        return f"give it its password anew: pancode fleet up {by.node}"
    return (
        f"write the address of this machine that {by.node} reaches into direct.listen, or direct.advertise "
        f"where its port is forwarded (now {by.origin}), let that port through, "
        f"or go back: pancode fleet up {by.node} --link ssh; {look}"
    )


def _wrong(by: Pass, why: str, fix: str) -> ConnectError:
    message = f"{by.node} cannot come in directly at {by.address}"
    return ConnectError(LinkFault.NOT_DIRECT, message, why=why, fix=fix)
