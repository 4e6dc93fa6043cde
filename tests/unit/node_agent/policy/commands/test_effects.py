"""Which commands change nothing, and which only look as if."""

from __future__ import annotations

import pytest

from node_agent.policy.commands.reading import read_command


@pytest.mark.parametrize(
    "text",
    [
        "ls -la",
        "cat a | head -5 2>/dev/null",
        "cat a > /dev/null",
        "git log --oneline -3 -- *.py",
        "/usr/bin/git diff --stat HEAD~1 --text",
        "git grep -n needle",
        "PAGER=cat git show",
        "LC_ALL=C sort a | uniq -c",
        "bash -lc 'cd src && rg -n needle'",
        "find . -name '*.py' -exec grep needle {} +",
        "env -i ls",
        "for f in *; do cat $f; done",
        "[ -f a ] && date +%s",
        "xxd -l 16 a",
        "fd needle",
    ],
)
def test_what_only_looks_is_known_for_it(text: str) -> None:
    assert read_command(text).only_looks


@pytest.mark.parametrize(
    "text",
    [
        # a program that nobody knows, under the name of one that everybody knows
        "./ls",
        "./git log",
        "command ./cat a",
        "env ./ls",
        "PATH=. ls",
        "env PATH=. ls",
        "for PATH in .; do ls; done",
        "printf -v PATH .; ls",
        # scripts of the repository's own
        "bash evil.sh",
        "sh ./evil.sh",
        "bash --rcfile evil -ic ls",
        "bash",
        # options that start a program
        "git grep -nOevil needle",
        "git grep --open-files-in-pager=evil needle",
        "git diff --ext-diff",
        "git show --textconv a",
        "git cat-file --filters a",
        "rg --hostname-bin ./evil needle",
        "ag --pager ./evil needle",
        "fd -Hx evil",
        "LESSOPEN='|./evil %s' less a",
        "GIT_EXTERNAL_DIFF=./evil git diff",
        "RIPGREP_CONFIG_PATH=evil rg needle",
        # options that write
        "git log --output=b",
        "git log --outp=b",
        "sort -uo b a",
        "sort --output=b a",
        "uniq a b",
        "xxd a b",
        "xxd -r a",
        "tree -o b",
        "file -C -m a",
        "find . -fprint b",
        "less -ob a",
        # options that are made while it runs, or that files are called
        "sort $options a",
        "sort *",
        "sort {-ob,a}",
        "git log $(cat options)",
        # files that nobody can see
        "ls > $b",
        # texts that are run when a number is asked for
        "for x in 'a[$(./evil)]'; do echo $((x)); done",
        "for x in 'a[$(./evil)]'; do echo ${HOME:x}; done",
        "test -v 'a[$(./evil)]'",
        "[ -v 'a[$(./evil)]' ]",
        "[[ 'a[$(./evil)]' -eq 0 ]]",
        "x=1; echo $x",
        # what it was before
        "ls > b",
        "rm a",
        "ls; make",
        "git -c core.pager=evil log",
    ],
)
def test_what_may_change_something_is_no_look(text: str) -> None:
    assert not read_command(text).only_looks
