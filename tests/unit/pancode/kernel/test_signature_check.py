"""A webhook is proved by its signature alone, and is the same call when it comes again."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from pancode.kernel.errors import UsageError
from pancode.kernel.signature_check import WITHIN_MS, HookCall, compute_signature, secret_of, verify_call
from pancode.kernel.visitors import AccessError
from pancode.schedules.model import OnWebhook, dump_trigger, trigger_of, words_of
from pancode.schedules.request import AskedSchedule, wanted_trigger
from pancode.schedules.work import PlannedWork
from tests.unit.pancode.schedules.world import signed_headers

NOW = 1_800_000_000_000
SECRET, OTHER = secret_of(b"s" * 32), secret_of(b"o" * 32)
NOBODY = secret_of(bytes(32))
BODY = b'{"ref": "refs/heads/main"}'


def standard(secret: str = SECRET, message: str = "msg_1", at_ms: int = NOW, body: bytes = BODY) -> HookCall:
    return HookCall(signed_headers(secret, message, at_ms // 1000, body), body)


def forge(secret: str = SECRET, body: bytes = BODY, **more: str) -> HookCall:
    signed = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    said = {name.replace("_", "-"): value for name, value in more.items()}
    return HookCall({"x-hub-signature-256": f"sha256={signed}", "x-github-delivery": "72d3-1", **said}, body)


def code_of(call: HookCall, secret: str | None = SECRET, now_ms: int = NOW) -> str:
    with pytest.raises(AccessError) as found:
        verify_call(call, secret, now_ms)
    assert found.value.fix and found.value.why
    return found.value.code


def changed(call: HookCall, **headers: str) -> HookCall:
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    return HookCall({**call.headers, **said}, call.body)


def test_both_ways_of_signing_are_proved_and_the_same_call_has_one_key() -> None:
    first, again = verify_call(standard(), SECRET, NOW), verify_call(standard(), SECRET, NOW + WITHIN_MS)
    assert first == again and first.id == "msg_1" and first.key.startswith("webhook:")
    assert verify_call(standard(message="msg_2"), SECRET, NOW).key != first.key
    pushed = verify_call(forge(), SECRET, NOW)
    assert (pushed.id, pushed.is_ping) == ("72d3-1", False)
    renamed = verify_call(forge(x_github_delivery="another; id\r\n<b>"), SECRET, NOW)
    assert renamed.key == pushed.key, "the id of a delivery is not signed, so it makes no new call"
    assert renamed.id == "anotheridb"
    assert verify_call(forge(body=b"{}"), SECRET, NOW).key != pushed.key
    assert verify_call(forge(x_github_event="ping"), SECRET, NOW).is_ping


def test_the_signature_is_that_of_the_standard() -> None:
    """The example of the specification of Standard Webhooks."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    signed = compute_signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_one_good_signature_of_several_is_enough() -> None:
    call = standard()
    two = f"v1,bm9uZQ== v1a,bm9uZQ== {call.headers['webhook-signature']}"
    assert verify_call(changed(call, webhook_signature=two), SECRET, NOW).id == "msg_1"
    many = " ".join(["v1,bm9uZQ=="] * 10 + [call.headers["webhook-signature"]])
    assert code_of(changed(call, webhook_signature=many)) == "wrong_signature"


@pytest.mark.parametrize("secret", [None, SECRET], ids=["no such name", "a wrong signature"])
def test_a_wrong_name_and_a_wrong_signature_are_told_apart_by_nobody(secret: str | None) -> None:
    for call in (standard(OTHER), forge(OTHER), standard(NOBODY), forge(NOBODY), standard(OTHER, at_ms=0)):
        with pytest.raises(AccessError) as found:
            verify_call(call, secret, NOW)
        told = found.value.problem()
        assert (told.code, told.message) == (
            "wrong_signature",
            "no webhook schedule matches this name and signature",
        )


@pytest.mark.parametrize(
    "call",
    [
        HookCall(standard().headers, BODY + b" "),
        HookCall(forge().headers, BODY + b" "),
        changed(standard(), webhook_id="msg_2"),
        changed(standard(), webhook_timestamp=str(NOW // 1000 + 1)),
        changed(standard(), webhook_id=""),
        changed(standard(), webhook_id="m" * 201),
        changed(standard(), webhook_id="\xe9"),
        changed(standard(), webhook_timestamp=""),
        changed(standard(), webhook_timestamp="-5"),
        changed(standard(), webhook_timestamp="\xb2"),
        changed(standard(), webhook_timestamp="9" * 5000),
        changed(standard(), webhook_signature=""),
        changed(standard(), webhook_signature="v1,\xe9"),
        changed(forge(), x_hub_signature_256="\xe9"),
        changed(forge(), x_hub_signature_256="sha256="),
    ],
)
def test_what_was_changed_on_the_way_proves_nothing(call: HookCall) -> None:
    assert code_of(call) == "wrong_signature"


def test_a_call_of_another_time_and_one_without_a_signature() -> None:
    for at_ms in (NOW - WITHIN_MS - 1000, NOW + WITHIN_MS + 1000):
        assert code_of(standard(at_ms=at_ms)) == "stale_webhook"
    for at_ms in (NOW - WITHIN_MS, NOW + WITHIN_MS):
        assert verify_call(standard(at_ms=at_ms), SECRET, NOW).id == "msg_1"
    assert code_of(HookCall({"webhook-id": "a"}, BODY)) == "unsigned"


def test_a_schedule_on_a_webhook_is_asked_for_with_its_word() -> None:
    asked = AskedSchedule(name="ci", by="ana", work=PlannedWork(), on="webhook")
    trigger = wanted_trigger(asked, NOW)
    assert (
        trigger == OnWebhook() == trigger_of(dump_trigger(trigger))
        and words_of(trigger) == "on a signed webhook"
    )


@pytest.mark.parametrize(
    ("name", "more", "what"),
    [
        ("a.b", {}, "no dot"),
        ("a" * 51, {}, "at most 50"),
        ("ci", {"where": {"agent": "x"}}, "omit it"),
        ("ci", {"cron": "@daily"}, "one of --cron"),
        ("ci", {"on": "webhok"}, "webhook"),
    ],
)
def test_what_can_be_called_by_nobody_is_refused(name: str, more: dict[str, object], what: str) -> None:
    said: dict[str, object] = {"on": "webhook", **more}
    with pytest.raises(UsageError) as found:
        wanted_trigger(AskedSchedule(name=name, by="ana", work=PlannedWork(), **said), NOW)  # type: ignore[arg-type]
    assert what in f"{found.value.why} {found.value.fix}"
