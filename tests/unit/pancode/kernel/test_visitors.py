"""A token is known by its digest, ends in time, and allows what its scopes say."""

from __future__ import annotations

import pytest

from pancode.kernel.records import ApiToken
from pancode.kernel.values import replace
from pancode.kernel.visitors import (
    AccessError,
    AccessScope,
    NewToken,
    Visitor,
    check_token,
    has_scope,
    hash_secret,
    is_allowed,
    must_allow,
    must_ask,
    must_be_its_item,
    narrow_token,
    set_asker,
)

NOW = 1_000_000
TOKEN = ApiToken("ci", hash_secret("pct_a"), ("dispatch",), NOW, "ana", NOW + 1_000)


def test_only_its_own_secret_is_a_token_and_only_before_its_end() -> None:
    assert check_token("pct_a", TOKEN, NOW) == TOKEN
    for found, now, code in (
        (None, NOW, "unknown_token"),
        (replace(TOKEN, digest=hash_secret("pct_b")), NOW, "unknown_token"),
        (TOKEN, NOW + 1_000, "expired_token"),
    ):
        with pytest.raises(AccessError) as told:
            check_token("pct_a", found, now)
        assert told.value.code == code and "pancode admin tokens --create" in told.value.fix
    assert check_token("pct_a", replace(TOKEN, expires_ms=None), 10**15).name == "ci"


@pytest.mark.parametrize("scope", AccessScope)
def test_each_scope_reads_and_only_admin_allows_all(scope: AccessScope) -> None:
    assert has_scope([scope.value], AccessScope.READ)
    assert has_scope(["admin"], scope)
    others = set(AccessScope) - {scope, AccessScope.READ, AccessScope.ADMIN}
    assert scope is AccessScope.ADMIN or not any(has_scope([scope.value], other) for other in others)
    assert not has_scope([], scope)


def test_a_refusal_names_the_scope_that_is_missing() -> None:
    must_allow(TOKEN, AccessScope.DISPATCH, "x")
    with pytest.raises(AccessError, match="POST /v1/budget") as told:
        must_allow(TOKEN, AccessScope.BUDGET, "POST /v1/budget")
    assert told.value.code == "wrong_scope" and "--allow budget" in told.value.fix


def test_a_token_of_one_item_answers_about_no_other_run() -> None:
    bound = replace(TOKEN, item="i1", run="r-1")
    must_be_its_item(bound, "r-1", "x")
    must_be_its_item(TOKEN, "r-2", "x")
    for run in ("r-2", "", "last"):
        with pytest.raises(AccessError) as told:
            must_be_its_item(bound, run, "x")
        assert told.value.code == "wrong_item"


def test_a_token_makes_none_that_may_do_more_or_lasts_longer() -> None:
    wanted = NewToken("child", (AccessScope.DISPATCH,), None)
    assert narrow_token(None, wanted, NOW) == wanted
    assert narrow_token(TOKEN, wanted, NOW).lasts_ms == 1_000
    assert narrow_token(TOKEN, NewToken("c", (AccessScope.READ,), 500), NOW).lasts_ms == 500
    assert narrow_token(replace(TOKEN, expires_ms=None), wanted, NOW).lasts_ms is None
    with pytest.raises(AccessError, match="scope admin"):
        narrow_token(TOKEN, NewToken("c", (AccessScope.ADMIN,), 500), NOW)


def test_a_browser_without_a_recent_link_approves_and_lands_nothing() -> None:
    admin = replace(TOKEN, scopes=("admin",))
    with set_asker(Visitor(admin, is_confirmed=True)):
        assert all(map(is_allowed, AccessScope))
        must_ask("a run", lands=True, says_yes=True)
    with set_asker(Visitor(admin)):
        refused = {scope for scope in AccessScope if not is_allowed(scope)}
        assert refused == {AccessScope.ANSWER, AccessScope.OPERATE}
        must_ask("a run")
        for lands, says_yes in ((True, False), (False, True)):
            with pytest.raises(AccessError) as told:
                must_ask("a run", lands, says_yes)
            assert told.value.code == "unconfirmed_browser"
