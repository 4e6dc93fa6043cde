"""Finds the values to hide in copied files, such as keys in `.env.local`. Both sides use it: the coordinator
refuses files with too many values, the node hides the values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

_SHORTEST = 6
"""The search hides no shorter value, and of six and seven characters only those with more than letters."""
MOST_HIDDEN = 200
"""The most values of all copied files of a run; searching for each one takes time."""
MOST_WHOLE = 1024
"""The most bytes of a file that is also hidden as a whole."""
_LONG = 16
"""The shortest text that is hidden without a setting, and if it is made of words."""
_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH|COOKIE", re.IGNORECASE)
_PASSWORD = re.compile(r"PASS", re.IGNORECASE)
_WORD = re.compile(r"[a-z]+")
_ABOUT = re.compile(r"(USER|NAME|HEADER|MODE|METHOD|TYPE|PROVIDER|HOST|DOMAIN)S?$", re.IGNORECASE)
"""The end of a name that is about a secret, such as `AUTH_MODE`: its value is judged like any other."""
_WORDS = r"[A-Z]*[a-z]{2,}(?:[A-Z]+[a-z]{2,})*(?:[A-Z]{2,})?"
"""Words without a space, such as `OpenAI`. There is one way to match each text, so this takes linear time."""
_HARMLESS = re.compile(rf"(?:[A-Z]?[a-z]+|[A-Z]+|{_WORDS})[0-9]?|[0-9]{{0,4}}")
"""What a harmless value consists of, such as a mere word, a path, a version, or a host and its port."""
_JOINTS = re.compile(r"[\s_./:,|*+@=-]")
_TOKEN = re.compile(rf"[\w+/=.:@-]{{{_LONG},}}")
_BEFORE = re.compile(r"[\w.-]+=(?=\w)")
"""The name of a setting at the beginning of a token."""
_COMMENT = ("#", ";")
_ESCAPE = re.compile(r"\\[nrt]")
_NAME = re.compile(r"""(?<![\w.-])["']?([\w.-]+)["']?(?:\s*(?:[:=]>?)\s*)(?!//)""")
_NETRC = re.compile(r"(?<!\S)(password)\s+(?=[^\s:=])", re.IGNORECASE)
_QUOTED = re.compile(r""""((?:[^"\\]|\\.)*)"|'([^']*)'""")
_REST = re.compile(r"(.*?)[,;]?\s*(?:\s#.*)?$")
_FIRST = re.compile(r"[^\s,;}\]]+")
_LOGIN = re.compile(r"""://([^\s/:@"']*):([^\s/@"']+)@""")


def is_secret_name(name: str) -> bool:
    """Whether the name suggests that the value must be hidden although it was not declared a secret."""
    return _NAMES.search(name) is not None


def find_hidden_values(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the values to hide of these files: every long token, also in comments, the values of settings
    that are not harmless or whose name (such as `API_KEY`) means a secret, passwords of URLs, and each small
    file as a whole. Their names, such as `file .env API_KEY`, contain a space, so no variable has one of
    them."""
    named = dict[str, str]()
    for path, data in files.items():
        text = data.decode("utf-8-sig", "surrogateescape").strip()
        for name, value in (*_yield_values(text), *([("", text)] if len(data) <= MOST_WHOLE else ())):
            if len(value) >= _SHORTEST:
                named.setdefault(value, f"file {path} {name}".rstrip())
    found = dict[str, str]()
    for value, name in named.items():
        also = sum(one == name or one.startswith(f"{name} (") for one in found)
        found[f"{name} ({also + 1})" if also else name] = value
    return found


def _yield_values(text: str) -> Iterator[tuple[str, str]]:
    """Yield each value to hide, with the name of its setting or an empty name."""
    for line in text.splitlines():
        if line.lstrip().startswith(_COMMENT):
            yield from (("", one) for one in _find_tokens(line) if not _is_worded(one))
            continue
        settings = [*_NAME.finditer(line), *_NETRC.finditer(line)]
        first = settings[0][1] if settings else ""
        for number, setting in enumerate(settings):
            # not `host:` within an address
            is_one = number == 0 or line[: setting.start()].rstrip().endswith((",", "{"))
            is_password = _PASSWORD.search(setting[1]) is not None
            for value in _read_value(line[setting.end() :]):
                # a mere word, such as `disabled`, is hidden only if it may be a password
                is_secret = is_secret_name(setting[1]) and not _ABOUT.search(setting[1])
                is_known = is_secret and (not _WORD.fullmatch(value) or is_password)
                if (is_known and not _is_default(value, setting[1])) or (is_one and not _is_harmless(value)):
                    yield setting[1], value
        for user, password in _LOGIN.findall(line):
            if not _is_default(password, f"{user} password"):
                yield from ((first, one) for one in dict.fromkeys((password, unquote(password))))
        names = {setting[1] for setting in settings}
        yield from ((first, one) for one in _find_tokens(line) if one.rstrip("=:") not in names)


def _is_default(value: str, told: str) -> bool:
    """Whether the value is a word of what is told beside it, such as `POSTGRES_PASSWORD=postgres`."""
    return value.isalpha() and value.lower() in told.lower()


def _is_harmless(value: str) -> bool:
    # several words without a sign of an address or a list may be a password
    is_plain = len(value) < _LONG or value.isalpha() or any(sign in value for sign in "/.,")
    return is_plain and _is_worded(value)


def _is_worded(value: str) -> bool:
    return all(map(_HARMLESS.fullmatch, _JOINTS.split(value)))


def _find_tokens(line: str) -> Iterator[str]:
    for token in _TOKEN.findall(_ESCAPE.sub(" ", line)):
        value = token[name.end() :] if (name := _BEFORE.match(token)) else token
        if len(value) >= _LONG and not _is_harmless(value):
            yield value


def _read_value(rest: str) -> Iterator[str]:
    """Yield what may be the value at the beginning of the rest of a line: what is within quotes, as written
    and without escapes; else all up to a comment, and the first word."""
    quoted = _QUOTED.match(rest)
    if quoted is None:
        whole, word = _REST.match(rest), _FIRST.match(rest)
        if not rest.startswith(("{", "[")):
            yield from (found[n] for found, n in ((whole, 1), (word, 0)) if found is not None)
        return
    yield quoted[1] or quoted[2] or ""
    try:
        yield str(json.loads(quoted[0]))
    except ValueError:
        return
