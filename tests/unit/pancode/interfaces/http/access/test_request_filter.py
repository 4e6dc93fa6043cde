"""Which requests over TCP are for us, as Chromium and scripts really send them."""

from __future__ import annotations

import pytest

from pancode.interfaces.http.access.request_filter import KnockedBy, ListenerRules, parse_bearer
from pancode.kernel.visitors import AccessError

RULES = ListenerRules("http", "127.0.0.1", ("desk.example", "desk.example:8443"))
PAGE = {"host": "127.0.0.1:7433", "content-type": "application/json"}


def refused(
    rules: ListenerRules, method: str, path: str, query: dict[str, str] | None = None, **headers: str
) -> str:
    """The code of the refusal; empty: it is let in."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        rules.check(KnockedBy(method, path, query or {}, {**PAGE, **told}))
    except AccessError as error:
        assert error.fix and str(error)
        return error.code
    return ""


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("127.0.0.1:7433", ""),
        ("localhost:9000", ""),  # through ssh -L 9000:127.0.0.1:7433
        ("fleet.localhost:7433", ""),
        ("LOCALHOST.:7433", ""),
        ("[::1]:7433", ""),
        ("desk.example", ""),
        ("desk.example:8443", ""),
        ("rebind.test:7433", "wrong_host"),
        ("127.0.0.1.rebind.test:7433", "wrong_host"),
        ("localhost.rebind.test", "wrong_host"),
        ("10.0.0.5:7433", "wrong_host"),
        ("", "wrong_host"),
    ],
)
def test_a_name_that_is_not_ours_is_refused(host: str, code: str) -> None:
    assert refused(RULES, "GET", "/v1/runs", host=host) == code


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, ""),  # a script
        ({"origin": "http://127.0.0.1:7433", "sec_fetch_site": "same-origin"}, ""),
        ({"origin": "http://127.0.0.1:5173", "sec_fetch_site": "same-site"}, "wrong_origin"),
        ({"origin": "http://evil.test", "sec_fetch_site": "cross-site"}, "wrong_origin"),
        ({"origin": "https://127.0.0.1:7433"}, "wrong_origin"),
        ({"origin": "null"}, "wrong_origin"),
        ({"origin": "http://localhost:7433"}, "wrong_origin"),
        ({"sec_fetch_site": "same-site"}, "wrong_origin"),
        ({"host": "desk.example", "origin": "https://desk.example"}, ""),
        ({"content_type": "text/plain"}, "not_json"),
        ({"content_type": "application/x-www-form-urlencoded"}, "not_json"),
        ({"content_type": "application/json; charset=utf-8"}, ""),
    ],
)
def test_a_write_comes_from_our_own_page_or_a_script_and_is_json(headers: dict[str, str], code: str) -> None:
    assert refused(RULES, "POST", "/v1/runs", None, **headers) == code


def test_a_link_from_elsewhere_opens_the_console_and_nothing_of_the_api() -> None:
    assert refused(RULES, "GET", "/", sec_fetch_site="cross-site") == ""
    assert refused(RULES, "GET", "/v1/runs", sec_fetch_site="cross-site") == "wrong_origin"


@pytest.mark.parametrize("name", ["token", "access_token", "API_KEY", "code"])
def test_a_secret_in_the_query_is_refused(name: str) -> None:
    assert refused(RULES, "GET", "/v1/runs", {name: "x"}) == "token_in_query"
    assert refused(RULES, "GET", "/v1/runs", {"limit": "pct_0123"}) == "token_in_query"
    assert refused(RULES, "GET", "/v1/runs", {"limit": "3"}) == ""


def test_only_a_bearer_token_is_read() -> None:
    assert parse_bearer("") is None and parse_bearer("Bearer pct_12") == "pct_12" == parse_bearer(
        "bearer  pct_12 "
    )
    for wrong in ("Basic dXNlcjp4", "Bearer", "Bearer  ", "pct_12"):
        with pytest.raises(AccessError, match="not contain a bearer token"):
            parse_bearer(wrong)
