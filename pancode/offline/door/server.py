"""Serves the API over TCP, with the files of the web console, at the address that the owner named."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from functools import partial

import uvicorn
from starlette.routing import BaseRoute

from pancode import __version__
from pancode.access.door import DoorPlace, DoorRules
from pancode.api.app import VERBS
from pancode.api.context import ApiContext
from pancode.api.door import door_app
from pancode.offline.answering import QUIET
from pancode.offline.door import AGAIN_S, OpenPlace
from pancode.offline.guest_places import PlaceBounds

CONSOLE = "pancode.web.serving"
"""Its function `routes()` answers with the routes of the console's files; it may be left out of a package."""
BOUNDS = PlaceBounds(most=256, strangers=128, each=32)


class TcpDoor(OpenPlace):
    """The API for whoever has a token."""

    def __init__(self, context: ApiContext, door: DoorPlace, again_s: float = AGAIN_S) -> None:
        self._facts, self._door = context.facts, door
        texts, config = ("api", "the API is not open", "api.listen"), partial(door_config, context, door)
        super().__init__(context, door.place, texts, config, BOUNDS, again_s)

    def opened(self, port: int) -> None:
        self._facts["api"] = self._door.url(port)


def door_config(context: ApiContext, door: DoorPlace) -> uvicorn.Config:
    """OSError for a certificate that cannot be read comes when it is loaded."""
    rules = DoorRules(door.scheme, door.place.host, door.place.names)
    return uvicorn.Config(
        door_app(context, VERBS, rules, console()),
        timeout_graceful_shutdown=2,
        headers=[("Pancode-Version", __version__)],
        ssl_certfile=door.cert,
        ssl_keyfile=door.key,
        proxy_headers=False,
        **QUIET,
    )


def console() -> Sequence[BaseRoute]:
    """None where this package has no web console."""
    try:
        if importlib.util.find_spec(CONSOLE) is None:
            return ()
    except ModuleNotFoundError:
        return ()
    found: Sequence[BaseRoute] = importlib.import_module(CONSOLE).routes()
    return found
