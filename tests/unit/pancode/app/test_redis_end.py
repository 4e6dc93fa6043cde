"""Where tunnels lead to, for each kind of address of a Redis; what nodes could not use is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from pancode.app.coordinator import redis_end
from pancode.fleet.ssh.forward_targets import TlsEnd
from pancode.kernel.errors import ConfigError
from pancode.queue.valkey.access import access_from_url


@pytest.mark.parametrize(
    ("url", "end"),
    [
        ("unix:///run/r.sock", Path("/run/r.sock")),
        ("redis://:x@10.0.0.7:7000", ("10.0.0.7", 7000)),
        ("redis://localhost/0", ("localhost", 6379)),
    ],
)
def test_it_leads_there(url: str, end: object) -> None:
    assert redis_end(access_from_url(url, "PANCODE_REDIS_URL")) == end


def test_what_wants_tls_gets_it_from_us() -> None:
    end = redis_end(access_from_url("rediss://h:1", "PANCODE_REDIS_URL"))
    assert isinstance(end, TlsEnd) and (end.host, end.port) == ("h", 1)
    assert end.context().check_hostname


@pytest.mark.parametrize(("url", "word"), [("redis://h:1/3", "database"), ("rediss://h:1/3", "database")])
def test_what_a_node_could_not_use_is_refused_with_the_fix(url: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        redis_end(access_from_url(url, "PANCODE_REDIS_URL"))
    assert caught.value.fix
