"""What must never leave a node, however it is spelled and wherever a stream is cut."""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from node_agent.vault.redact import Redactor, redact_text, secret_values
from node_agent.wire.copied import find_hidden_values, is_secret_name

SECRETS = {
    "A": "abcabcababd",
    "B": "abcabcab",
    "C": "cababdee",
    "E": "bd-eea",
    "D": "line one of it\nline two of it, longer\n",
}
LETTERS = st.text("abcde-\n", max_size=60)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    at = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    return [data[begin:end] for begin, end in zip(at, at[1:], strict=False)]


def shown(pieces: list[bytes], secrets: dict[str, str] = SECRETS) -> bytes:
    redactor = Redactor(secrets)
    return b"".join(map(redactor.feed, pieces)) + redactor.close()


@given(text=LETTERS, cuts=st.lists(st.integers(0, 60), max_size=8))
@example(text="abcabcababdee", cuts=[3, 6, 8, 10])
@example(text="xabcabcabcababdee", cuts=list(range(18)))
@example(text="xbd-eebd-eeabd-eea", cuts=[3, 9])
def test_every_split_of_a_stream_shows_the_same_and_no_value(text: str, cuts: list[int]) -> None:
    data = text.encode()
    whole = shown([data])
    assert shown(cut(data, cuts)) == whole
    for value in SECRETS.values():
        assert value.encode() not in whole


@given(
    value=st.text(min_size=6, max_size=80),
    before=st.binary(max_size=20),
    after=st.binary(max_size=20),
    cuts=st.lists(st.integers(0, 200), max_size=6),
)
def test_any_value_in_any_stream(value: str, before: bytes, after: bytes, cuts: list[int]) -> None:
    secrets = {"S": value}
    data = before + value.encode("utf-8", "surrogatepass") + after
    told = shown(cut(data, cuts), secrets)
    if secret_values(secrets):
        assert b"[secret S]" in told and told == shown([data], secrets)


@pytest.mark.parametrize("offset", range(4))
@pytest.mark.parametrize("tail", range(3))
def test_base64_of_it_is_found_at_every_offset(offset: int, tail: int) -> None:
    value = "s3cr\xff/+key-of-the-owner" + "x" * tail
    for coded in (base64.b64encode, base64.urlsafe_b64encode):
        told = shown([coded(b"user:"[:offset] + value.encode() + b"end")], {"S": value})
        assert b"[secret S]" in told
        for piece in range(3):
            assert base64.b64encode(value.encode()[piece : piece + 12])[:14] not in told


def test_a_value_of_six_characters_is_hidden_unless_it_looks_like_a_word() -> None:
    hidden = {"A": "password", "B": "847261", "C": "rootpw-"}
    assert secret_values({**hidden, "D": "ollamas", "E": "84726"}) == hidden


def _in_lines(text: str, width: int, end: str) -> str:
    return end.join(text[at : at + width] for at in range(0, len(text), width)) + end


@pytest.mark.parametrize("end", ["\n", "\r\n", "\\n", "\\r\\n", "\\\\n"])
@pytest.mark.parametrize(
    ("code", "width"),
    [(base64.b64encode, 76), (base64.b64encode, 64), (base64.urlsafe_b64encode, 76), (bytes.hex, 60)],
)
def test_what_is_longer_than_a_line_of_code_is_found(code: object, width: int, end: str) -> None:
    """As `base64`, `openssl base64` and `xxd -p` write a key of the usual 108 characters, and JSON those."""
    assert callable(code)
    value = "sk-test-" + "".join(chr(ord("A") + (7 * n * n + n) % 58) for n in range(100))
    for before in (b"", b"x", b"Authorization: Bearer ", b"." * 57):
        coded = code(before + value.encode() + b" and more")
        data = _in_lines(coded if isinstance(coded, str) else coded.decode(), width, end).encode()
        told = shown([data], {"S": value})
        assert told.count(b"[secret S]") == 1 and len(told) < len(data) - 120
        assert shown(cut(data, list(range(len(data)))), {"S": value}) == told
        assert shown([data[:90], data[90:]], {"S": value}) == told


def test_a_key_of_many_lines_in_code_is_one_value_and_what_only_begins_like_it_is_left() -> None:
    key = "-----BEGIN-----\n" + "\n".join(letter * 64 for letter in "abcdefgh") + "\n-----END-----\n"
    told = shown([base64.encodebytes(key.encode())], {"KEY": key})
    assert told.startswith(b"[secret KEY]") and len(told) < 20
    other = base64.encodebytes(key.encode()[:40] + b"something else" * 20)
    assert shown([other], {"KEY": key}) == other


@pytest.mark.parametrize(
    "spelled",
    [
        str,
        json.dumps,
        lambda v: json.dumps(v, ensure_ascii=False),
        lambda v: json.dumps(v).replace("/", "\\/"),
        lambda v: json.dumps(json.dumps(v)[1:-1]),
        lambda v: json.dumps(json.dumps(v, ensure_ascii=False)[1:-1], ensure_ascii=False),
        lambda v: json.dumps(json.dumps(v).replace("/", "\\/")[1:-1]),
        lambda v: quote(v, safe=""),
        quote,
        lambda v: v.encode().hex(),
        lambda v: v.encode().hex().upper(),
    ],
)
def test_as_json_urls_and_hex_write_it(spelled: object) -> None:
    value = 'quote" back\\slash é/\nnew line'
    assert callable(spelled)
    text = f"<{spelled(value)}>"
    assert redact_text(text, {"S": value}).strip('<">') == "[secret S]"


def test_each_line_of_a_key_of_many_lines() -> None:
    assert redact_text("> line two of it, longer <", SECRETS) == "> [secret D] <"


def test_memory_is_bounded_and_nothing_waits_that_need_not() -> None:
    redactor = Redactor({"S": "secret-value"})
    assert redactor.feed(b"plain text\n") == b"plain text\n"
    assert redactor.feed(b"then secr") == b"then "
    assert redactor.feed(b"et-val") == b""
    assert redactor.feed(b"ve") == b"secret-valve"
    for _ in range(100):
        redactor.feed(b"secret-value" * 1000)
        assert len(vars(redactor)["_held"]) < 20


def test_without_secrets_all_is_as_it_was() -> None:
    redactor = Redactor({"URL": "http://127.0.0.1:1/v1", "SHORT": "true"})
    assert redactor.is_idle and redactor.feed(b"true http://127.0.0.1:1/v1") == b"true http://127.0.0.1:1/v1"
    assert not Redactor({"URL": "https://user:password@host/"}).is_idle


def test_half_a_surrogate_pair_in_a_text_is_left_alone() -> None:
    assert redact_text("\udc80 secret-value", {"S": "secret-value"}) == "\udc80 [secret S]"


def test_names_that_speak_for_themselves() -> None:
    assert all(map(is_secret_name, ("API_KEY", "npm_token", "DB_PASSWORD", "AWS_SECRET_ACCESS_KEY")))
    assert not any(map(is_secret_name, ("PATH", "LANG", "NODE_ENV", "HOME")))


class Counting(Redactor):
    """Says how often it looked for what may begin at the end of a piece."""

    looks = 0

    def _doubtful(self, data: bytes, at: int) -> int:
        self.looks += 1
        return super()._doubtful(data, at)


def test_the_end_of_a_piece_is_looked_at_once_however_much_is_found_in_it() -> None:
    redactor = Counting({"S": "a-secret-of-17-by", "KEY": "\n".join(["k" * 64] * 26)})
    assert redactor.feed(b"a-secret-of-17-by" * 1_000 + b"\n") == b"[secret S]" * 1_000 + b"\n"
    assert redactor.looks == 1


@pytest.mark.parametrize(
    ("data", "hidden"),
    [
        (b'API_KEY="sk-live-1" # production', "sk-live-1"),
        (b"API_KEY=sk-live-1 # production", "sk-live-1"),
        (b"export API_KEY='short-key'", "short-key"),
        (b"API_KEY = two words, and more", "two words, and more"),
        (b'{"a": {"api_key":"sk-12345","n":1}}', "sk-12345"),
        (b"{api_key: sk-12345, n: 1}", "sk-12345"),
        (b"//registry.x/:_authToken=npm_12345", "npm_12345"),
        (b"\xef\xbb\xbfTOKEN=tok-1234", "tok-1234"),
        (b"DATABASE_URL=postgres://u:hunter2secret@db/x", "hunter2secret"),
        (b"DATABASE_URL=postgres://u:hunter%2Fsecret@db/x", "hunter/secret"),
        (b"machine x login ana password hunter-2", "hunter-2"),
        (b"DB_PASSWORD=correcthorse", "correcthorse"),
        (b"  - token: tok-1234", "tok-1234"),
        (b"URL=x-0123456789abcdef", "x-0123456789abcdef"),
        (b"x: [0123456789abcdef, 1]", "0123456789abcdef"),
        (b"bob:hunter2secrets", "bob:hunter2secrets"),
        (b"\xff\nTOKEN=tok-1234", "tok-1234"),
        (b"DB_PWD=Sommer2026!pw", "Sommer2026!pw"),
        (b"DB=hunter2hunt3r", "hunter2hunt3r"),
        (b"DSN=pg:us3r/pw0rd9", "pg:us3r/pw0rd9"),
        (b"MYSQL_ROOT_PW=rootpw-2026x", "rootpw-2026x"),
        (b"SESSION_SALT=s4lty-val-01", "s4lty-val-01"),
        (b"SMTP_LOGIN=me:mailpw4711", "me:mailpw4711"),
        (b"PIN=847261", "847261"),
        (b"ACCESS=AKIA99X8", "AKIA99X8"),
        (b"user: ana, pin: qX7kL2mQ", "qX7kL2mQ"),
        (b"seed=aXbYcZdWeV", "aXbYcZdWeV"),
        (b"seed=correct-horse-battery", "correct-horse-battery"),
        (b"# old: OPENAI_API_KEY=sk-proj-COMMENTEDOUT1234567890", "sk-proj-COMMENTEDOUT1234567890"),
        (b";legacy_token=tok-SEMICOLON-1234567890", "tok-SEMICOLON-1234567890"),
        (b"# TOKEN=0123456789abcdef", "0123456789abcdef"),
        (b'{"private_key": "-----BEGIN-----\\nMIIEvAIBADANBgkq\\n"}', "MIIEvAIBADANBgkq"),
    ],
)
def test_a_value_of_a_copied_file_is_hidden(data: bytes, hidden: str) -> None:
    found = find_hidden_values({"f": data, "g": b"other=1" + bytes(2000)})
    assert hidden in found.values()
    assert hidden not in redact_text(f"it is {hidden}.", found)


@pytest.mark.parametrize(
    "line",
    [
        *("AUTH_MODE=disabled", "DEBUG=true", "NODE_ENV=development", "see: https://example.com/a/long/path"),
        *(
            "DB_HOST=localhost:5432",
            "REDIS=127.0.0.1:6379",
            "CACHE=redis://h/0",
            "ROOT=/srv/app",
            "TZ=Europe/Rome",
        ),
        *(
            "MAIL_FROM=ana@example.org",
            "LEVEL=info,debug",
            "TTL=3600",
            "LOCALE=de_DE.UTF-8",
            "APP_NAME=My-Shop",
        ),
        *(
            "DAY=2026-11-30",
            "API=http://h/api/v2",
            "# you find documentation/about-this/in-docs",
            "; internationalization of MY_OWN_REDIS_URL",
        ),
        *("APP_NAME=FireflyIII", "POSTGRES_PASSWORD=postgres", "PROXY_AUTH_USER_HEADER=remote-user"),
        *("DATABASE_URL=postgres://postgres:postgres@db:5432/app", "# AI_GOOGLE_CLOUD_PROJECT="),
        "OTEL=deployment.environment=development",
    ],
)
def test_a_harmless_value_of_a_copied_file_is_not_hidden(line: str) -> None:
    found = find_hidden_values({"f": line.encode() + b"\n" * 2000})
    assert redact_text(line, found) == line


def test_words_of_a_copied_file_are_read_in_little_time() -> None:
    began = time.process_time()
    found = find_hidden_values({"f": b"PLACE=/srv/" + b"abcdefghij" * 20 + b"12"})
    assert len(found) == 2 and time.process_time() - began < 2, "each letter is tried in one way"


def test_values_with_one_name_are_all_hidden() -> None:
    found = find_hidden_values({"f": b"- token: tok-1234\n- token: tok-5678\n"})
    assert (found["file f token"], found["file f token (2)"]) == ("tok-1234", "tok-5678")
    assert redact_text("tok-5678", found) == "[secret file f token (2)]"


def test_many_values_take_little_time_in_output_without_them() -> None:
    secrets = {f"S{n}": f"value-{n * n * 7919:026d}" for n in range(200)}
    redactor, line = Redactor(secrets), b"INFO the request /api/v1/items/123 returned 200 with value-00 abc\n"
    begun = time.process_time()
    for _ in range(64):
        redactor.feed(line * 120)
    assert time.process_time() - begun < 2, "an earlier version needed more than 100 seconds"
