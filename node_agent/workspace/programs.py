"""Looks for the programs of an order's gates before its agent starts and costs money."""

from __future__ import annotations

import os
import posixpath
import shutil
from pathlib import Path

from node_agent.wire.order import Order


def absent(order: Order, tree: Path, path: str) -> tuple[str, ...]:
    """Programs of gates and of the score command that are nowhere, in words.

    `path`: PATH of the run; `tree`: its checkout after set-up.

    A program in the checkout may be what the agent is to write: it is looked for only in the folders that
    set-up makes.
    """
    asked = (*(gate.argv for gate in order.gates), *((order.score,) if order.score else ()))
    programs = dict.fromkeys(argv[0] for argv in asked)
    return tuple(one for one in programs if not _may_be_there(one, order.cache, tree, path))


def _may_be_there(program: str, made: tuple[str, ...], tree: Path, path: str) -> bool:
    if "/" not in program:
        return shutil.which(program, path=path) is not None
    if os.path.isabs(program):
        return os.path.exists(program)
    name = posixpath.normpath(program)
    return os.path.exists(tree / name) or not any(name.startswith(f"{folder}/") for folder in made)
