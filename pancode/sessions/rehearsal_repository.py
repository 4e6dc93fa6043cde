"""Makes the small repository on which an orchestrator rehearses: the same files for every model."""

from __future__ import annotations

from pathlib import Path

from pancode.git.runner import Git, safe_env, translated

FILES = {
    "README.md": "# shop\n\nA small web shop. `python3 -m unittest` runs its tests.\n",
    "shop/__init__.py": "",
    "shop/auth.py": '''\
"""The authentication module: passwords and sessions."""

import hashlib
import secrets

USERS = {}
SESSIONS = {}


def register(name, password):
    USERS[name] = hashlib.sha1(password.encode()).hexdigest()


def login(name, password):
    if USERS.get(name) != hashlib.sha1(password.encode()).hexdigest():
        return None
    session = secrets.token_hex(16)
    SESSIONS[session] = name
    return session


def user_of(session):
    return SESSIONS.get(session)
''',
    "shop/search.py": '''\
"""The search module."""

GOODS = ["Red shoes", "Blue shoes", "Green hat"]


def matches(words, good):
    return all(word in good for word in words.split())


def search(words):
    return [good for good in GOODS if matches(words, good)]
''',
    "shop/web.py": '''\
"""The endpoints."""

from shop import auth, search


def search_endpoint(request):
    user = auth.user_of(request["session"])
    if user is None:
        return 401, []
    return 200, search.search(request["words"])


ENDPOINTS = {"/search": search_endpoint}
''',
    "tests/test_search.py": """\
import unittest

from shop.search import search


class Searches(unittest.TestCase):
    def test_a_word_is_found(self):
        self.assertEqual(search("hat"), ["Green hat"])
""",
}


@translated("the repository for a rehearsal")
def rehearsal_ground(folder: Path) -> Path:
    """Make the rehearsals' repository in this folder, whatever was there; its top. Idempotent. GitRefusal."""
    for name, text in FILES.items():
        file = folder / name
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_text(text)
    if not (folder / ".git").is_dir():
        Git(folder, safe_env()).must("init", "-q", "--template=", str(folder))
    return folder
