"""The file of users keeps what the server wrote into it, and changes only where something else is meant."""

from __future__ import annotations

import hashlib

from pancode.queue.valkey.layout import users_text

DIGEST = hashlib.sha256(b"secret").hexdigest()
NODE = "user node-abc on #00 ~rq:job:abc* resetchannels -@all +ping"
BY_SERVER = (
    f"user default off sanitize-payload resetchannels -@all\n{NODE}\n"
    f"user pancode on sanitize-payload #{DIGEST} ~* &* +@all\n"
)


def test_a_new_file_has_the_coordinator_and_closes_the_user_without_a_login() -> None:
    text = users_text("", "pancode", "secret")
    assert text.splitlines() == [
        "user default off resetkeys resetchannels -@all",
        f"user pancode on #{DIGEST} ~* &* +@all",
    ]
    assert "secret" not in text and users_text(text, "pancode", "secret") == text


def test_what_the_server_wrote_itself_is_the_same_and_stays() -> None:
    assert users_text(BY_SERVER, "pancode", "secret") == BY_SERVER


def test_another_password_replaces_the_old_one_and_nodes_stay() -> None:
    text = users_text(BY_SERVER, "pancode", "other")
    assert DIGEST not in text and NODE in text.splitlines()
    assert hashlib.sha256(b"other").hexdigest() in text


def test_a_right_or_a_password_too_much_is_taken_away() -> None:
    for more in ("nopass", "#11"):
        open_to_others = BY_SERVER.replace(f"#{DIGEST}", f"#{DIGEST} {more}")
        assert more not in users_text(open_to_others, "pancode", "secret").split()
    awake = BY_SERVER.replace("default off", "default on nopass")
    assert "nopass" not in users_text(awake, "pancode", "secret")
