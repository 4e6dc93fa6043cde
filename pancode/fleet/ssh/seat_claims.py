"""Compares this coordinator's seat with the claim on a node, before anything else is done there."""

from __future__ import annotations

import logging

from pancode.fleet.seat import CLAIM_FILE, NONE, SeatKeeper, Verdict
from pancode.fleet.ssh.errors import ConnectError, LinkFault, TransferFailed
from pancode.fleet.ssh.remote import Remote

log = logging.getLogger("pancode.seat")
READ_S = 30
MOST_CLAIM = 16_384
_READ = """\
if [ ! -d "$1" ]; then echo absent
elif [ ! -e "$1/$2" ]; then echo none
else cat "$1/$2"; fi
"""
"""$1 the folder, $2 the file's name."""


async def read_claim(remote: Remote, folder: str) -> str:
    """Return the text of the folder's claim: `none` if it has none, `absent` if there is no such folder."""
    done = await remote.run(("sh", "-c", _READ, "pancode", folder, CLAIM_FILE), READ_S, limit=MOST_CLAIM)
    return done.check("reading the coordinator's claim").text.strip()


async def must_hold_seat(remote: Remote, folder: str, keeper: SeatKeeper) -> None:
    """Raise ConnectError if the folder on the node has a claim of a newer coordinator; for a coordinator that
    was ever restored, also for a foreign claim. Else such a coordinator leaves its own claim there. A missing
    folder has no claim and gets none."""
    found = await read_claim(remote, folder)
    is_absent = found == "absent"
    match keeper.judge(NONE if is_absent else found):
        case Verdict.FENCED:
            raise ConnectError(
                LinkFault.FENCED,
                "another coordinator has replaced this one",
                why=f"{folder}/{CLAIM_FILE} on the node names the coordinator of a later restore",
                fix="use the fleet on the machine where it was restored",
            )
        case Verdict.FOREIGN if not keeper.mine.number:
            log.warning("%s/%s is ignored: this fleet's key did not sign it", folder, CLAIM_FILE)
        case Verdict.FOREIGN:
            raise ConnectError(
                LinkFault.FOREIGN_CLAIM,
                "the node has a claim of an unknown coordinator",
                why=f"{folder}/{CLAIM_FILE} is not signed with this fleet's current key, or is in the future",
                fix=f"if no other coordinator uses the node: ssh HOST rm {folder}/{CLAIM_FILE}, then pancode "
                "fleet up NODE",
            )
        case Verdict.TAKE if not is_absent:
            try:
                await remote.put(f"{folder}/{CLAIM_FILE}", keeper.claim())
            except (
                TransferFailed
            ) as error:  # a full disk must not cut the node off; the next check tries again
                log.warning("the claim in %s was not written: %s", folder, error.words)
        case _:
            return
