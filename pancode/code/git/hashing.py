"""Hashes files of a working tree into the depot: a few as loose objects, many as one pack a batch."""

from __future__ import annotations

from collections.abc import Iterator

from node_agent.wire.git import join_nul
from pancode.code.git.errors import GitFailure, GitRefusal
from pancode.code.git.listing import Listing
from pancode.code.git.safe import Git
from pancode.core.ports import Progress, unwatched

BATCH = 10_000
"""Files of one git process: in a pack that it is writing, git looks for each new object one by one."""
MANY = 1_000
"""From this number of files on, a pack is worth its own two files and their syncs."""
# What is over the threshold goes straight into one pack. As a loose object each file costs a creation, a sync
# and a rename, ten times as long. What git has to convert (line ends) stays loose whatever we say here.
_PACKED = ("-c", "core.bigFileThreshold=0")
# For each object zlib takes 256 KB, which glibc gives back to the kernel at once: most of what time is left.
_KEPT = {"MALLOC_TRIM_THRESHOLD_": str(256 << 20), "MALLOC_TOP_PAD_": str(16 << 20)}


def hash_files(git: Git, listing: Listing, progress: Progress = unwatched) -> None:
    """Bring the index of `git` to what was listed, the objects into its store. GitRefusal: one is unreadable.

    Not `git add -A`: it dies on a nested repository without commits, and runs programs of submodules.
    """
    packed = _PACKED if len(listing.names) >= MANY else ()
    git = git.having(**_KEPT) if packed else git
    try:
        git.must("update-index", "-z", "--force-remove", "--stdin", stdin=join_nul(listing.gone))
        for done, names in _batches(listing.names):
            progress(done, len(listing.names))
            options = ("-z", "--add", "--remove", "--replace", "--stdin")
            git.must(*packed, "update-index", *options, stdin=join_nul(names))
        progress(len(listing.names), len(listing.names))
    except GitFailure as exc:
        raise GitRefusal(
            "a file of the working tree cannot be read",
            why=exc.err,
            fix="mend the file's permissions or encoding, or ignore it, then dispatch again",
        ) from exc


def _batches(names: tuple[bytes, ...]) -> Iterator[tuple[int, tuple[bytes, ...]]]:
    return ((at, names[at : at + BATCH]) for at in range(0, len(names), BATCH))
