"""Checks whether a service starts this home's coordinator, so that a command starts no second one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pancode.offline.server.single_instance import holder_of
from pancode.systemd.system_unit import SystemService
from pancode.wiring.reboot import service_of, unit_of

_LOOK_S, _LOOKS = 0.2, 100
"""Together longer than the RestartSec of the units."""


def left_to_service(root: Path, environ: Mapping[str, str], sleep: Callable[[float], None]) -> bool:
    """Whether a service has begun this home's coordinator by the time it has settled, some 20 s at most.

    Who begins one beside a service that is starting, or that comes back from a fall, may be first: it would
    find the home taken, and give up until the next boot.
    """
    unit = unit_of(root, environ)
    services = (service_of(root, (None, None), environ), SystemService(unit))
    for look in range(_LOOKS):
        if not any(service.on_its_way() for service in services):
            return look > 0 and holder_of(root) is not None
        sleep(_LOOK_S)
    return False
