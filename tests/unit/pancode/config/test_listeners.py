"""Where this machine listens for the API: which addresses need TLS, and what is said of a wrong one."""

from __future__ import annotations

import pytest

from pancode.config.listeners import read_api_listener
from pancode.kernel.errors import ConfigError
from tests.unit.pancode.conftest import Load


def test_nothing_listens_where_nothing_is_said(loaded: Load) -> None:
    assert read_api_listener(loaded()) is None


@pytest.mark.parametrize("place", ["127.0.0.1:7433", "127.0.0.1:0", "localhost:7433", "[::1]:7433"])
def test_this_machine_alone_needs_no_tls(loaded: Load, place: str) -> None:
    listener = read_api_listener(loaded(user=f"api: {{listen: '{place}', hosts: [desk.example]}}"))
    assert listener is not None and str(listener.place) == place
    assert (listener.scheme, listener.place.names) == ("http", ("desk.example",))
    assert listener.url(7000).startswith("http://") and listener.url(7000).endswith(":7000")


@pytest.mark.parametrize("place", ["0.0.0.0:7433", "10.0.0.5:7433", "desk.example:7433", "[::]:7433"])
def test_beyond_this_machine_it_does(loaded: Load, place: str) -> None:
    with pytest.raises(ConfigError, match="without TLS") as told:
        read_api_listener(loaded(user=f"api: {{listen: '{place}'}}"))
    assert told.value.code == "tls_needed" and "api.tls.cert" in told.value.fix
    text = f"api: {{listen: '{place}', tls: {{cert: /c.pem, key: ~/k.pem}}}}"
    listener = read_api_listener(loaded(user=text))
    assert listener is not None and listener.scheme == "https" and "~" not in str(listener.key)


@pytest.mark.parametrize("tls", ["cert: /c.pem", "key: /k.pem"])
def test_half_of_tls_is_none(loaded: Load, tls: str) -> None:
    with pytest.raises(ConfigError, match="is not set"):
        read_api_listener(loaded(user=f"api: {{listen: '127.0.0.1:1', tls: {{{tls}}}}}"))


@pytest.mark.parametrize("place", ["127.0.0.1:70000", "::1:80", ":80"])
def test_a_wrong_address_is_named_with_its_place(loaded: Load, place: str) -> None:
    with pytest.raises(ConfigError) as told:
        read_api_listener(loaded(user=f"api: {{listen: '{place}'}}"))
    assert "api" in f"{told.value} {told.value.fix}"


def test_a_variable_opens_it_for_one_start(loaded: Load) -> None:
    listener = read_api_listener(loaded(environ={"PANCODE_API_LISTEN": "127.0.0.1:0"}))
    assert listener is not None and listener.place.origin == "PANCODE_API_LISTEN"
