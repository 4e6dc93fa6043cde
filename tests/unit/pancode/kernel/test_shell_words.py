"""A command as text becomes exactly the words that a shell would make, or is refused with the script form."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pancode.kernel.errors import UsageError
from pancode.kernel.shell_words import split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pytest -q", ("pytest", "-q")),
        ("  make   test ", ("make", "test")),
        ("sh -c 'a | b && c > d; $X `y`'", ("sh", "-c", "a | b && c > d; $X `y`")),
        ('grep "a|b;c" f', ("grep", "a|b;c", "f")),
        (r"echo \| \$HOME \"", ("echo", "|", "$HOME", '"')),
        (r'echo "\$HOME \"x\" |"', ("echo", '$HOME "x" |')),
        (
            "pytest tests/test_a.py::test_b[1-2] -k 'not x'",
            ("pytest", "tests/test_a.py::test_b[1-2]", "-k", "not x"),
        ),
        ("echo ''", ("echo", "")),
        ("tool --set A=1", ("tool", "--set", "A=1")),
        ("echo a#b a~", ("echo", "a#b", "a~")),
        ("make \\\n test", ("make", "test")),
        ("ma\\\nke", ("make",)),
    ],
)
def test_words_as_a_shell_makes_them(text: str, words: tuple[str, ...]) -> None:
    assert split_words(text, "--verify") == words


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("make && make test", "'&' is an operator"),
        ("a | b", "'|' is an operator"),
        ("a > out", "'>' is an operator"),
        ("a; b", "';' is an operator"),
        ("(a)", "'(' is an operator"),
        ("a\nb", "is an operator"),
        ("echo $HOME", "'$' is an expansion"),
        ('echo "$HOME"', "'$' is an expansion"),
        ("echo `id`", "'`' is an expansion"),
        ("ls *.py", "'*' is an expansion"),
        ("ls ~/x", "'~' is an expansion"),
        ("make # all", "'#' is a comment"),
        ('echo "a`id`"', "'`' is an expansion"),
    ],
)
def test_what_needs_a_shell_is_refused_with_a_script_form_that_works(text: str, what: str) -> None:
    with pytest.raises(UsageError, match="needs a shell") as caught:
        split_words(text, "--verify")
    assert what in str(caught.value)
    script = caught.value.fix.removeprefix("quote it, or write it as a script: ")
    assert split_words(script, "--verify") == ("sh", "-euc", text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "--verify is empty"),
        ("   ", "is empty"),
        ("''", "is empty"),
        ("'a", "cannot parse"),
        ("a\\", "cannot parse"),
        ("a\0b", "contains a NUL"),
        ("CI=1 pytest", "is an assignment"),
    ],
)
def test_what_is_no_command_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        split_words(text, "--verify")
    assert words in f"{caught.value} {caught.value.why}"
    assert caught.value.fix


@given(
    st.lists(st.text(st.characters(exclude_characters="\0")), min_size=1).filter(
        lambda words: words[0] and "=" not in words[0]
    )
)
def test_every_quoted_list_comes_back(words: list[str]) -> None:
    assert split_words(shlex.join(words), "x") == tuple(words)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab '\"\\|&;()$`\n=#~*?", min_size=1))
def test_words_are_those_of_a_real_shell(text: str) -> None:
    try:
        words = split_words(f"true {text}", "x")
    except UsageError:
        return
    real = subprocess.run(
        ["sh", "-c", f"printf '%s\\0' true {text}"], capture_output=True, text=True, check=True, cwd="/"
    )
    assert real.stdout.split("\0")[:-1] == list(words)
