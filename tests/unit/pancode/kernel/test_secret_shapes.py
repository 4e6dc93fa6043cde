"""What looks as if it held a secret, and what does not."""

from __future__ import annotations

import pytest

from pancode.memory.service import secret_in


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("-----BEGIN OPENSSH " + "PRIVATE KEY-----", "a private key"),
        ("it used AKIA" + "IOSFODNN7EXAMPLE", "a key of AWS"),
        ("token ghp_" + "a1B2" * 9, "a GitHub token"),
        ("sk-ant-" + "api03-abcdefghijklmnopqrst", "an API key of a model provider"),
        ("postgres://app:hunter22@db/x", "a password in a URL"),
        ("Authorization: Bearer " + "abcdefgh01234567", "a bearer token"),
        ('API_KEY="9f8e7d6c5b4a"', "the value of a secret"),
        ("the password: tr0ub4dor&3", "the value of a secret"),
        ("eyJhbGciOiJI." + "eyJzdWIiOiIx.dBjftJeZ4CVP", "a signed token"),
    ],
)
def test_known_shapes(text: str, words: str) -> None:
    assert secret_in(text) == words and secret_in(f"before\n{text}\nbehind") == words


@pytest.mark.parametrize(
    "text",
    [
        "",
        "RESULT: the token is read from the environment; the password is never logged",
        "tokens: about 1200, cost 0.10",
        "src/auth/token.py:12 secret = load_secret(name)",
        "postgres://db/x and https://example.org/a:b@c",
        "pass the api key by API_KEY=$KEY",
        "sk-learn and a bearer of news",
    ],
)
def test_plain_words_about_secrets_are_none(text: str) -> None:
    assert secret_in(text) == ""
