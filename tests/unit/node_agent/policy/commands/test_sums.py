"""Text that bash evaluates as arithmetic, or as a name with a subscript, may run a command; sums may not."""

from __future__ import annotations

import pytest

from node_agent.policy.commands.reading import GRAVITY, read_command
from node_agent.wire.policy import ActionClass as A

HIDDEN = "'a[$(touch hit)]'"
HOSTILE = (
    *(f"[[ {HIDDEN} -{test} 1 ]]" for test in ("eq", "ne", "lt", "le", "gt", "ge")),
    f"[[ ( 1 -le {HIDDEN} ) ]]",
    "[[ $'a[\\x24(touch hit)]' -eq 1 ]]",
    "[[ 'a[`touch hit`]' -eq 1 ]]",
    f'[[ "$(echo {HIDDEN})" -eq 1 ]]',
    f"[[ -v {HIDDEN} ]]",
    f"test -v {HIDDEN}",
    f"t\\est '-v' {HIDDEN}",
    f"[ -v {HIDDEN} ]",
    f"command test -v {HIDDEN}",
    f"(( {HIDDEN} ))",
    "(( '$(touch hit)' ))",
    f"let {HIDDEN}",
    'let "a[\\$(touch hit)]"',
    f"builtin let x={HIDDEN}",
    f"declare -i x={HIDDEN}",
    f"declare -i x; x={HIDDEN}",
    f"typeset -i x={HIDDEN}",
    f"f() {{ local -i x={HIDDEN}; }}; f",
    "declare 'a[$(touch hit)]=1'",
    f"declare -n r={HIDDEN}; echo $r",
    f"printf -v {HIDDEN} x",
    f"read {HIDDEN} <<< x",
    "mapfile -C 'touch hit #' -c 1 x <<< x",
    f"a=(1); unset {HIDDEN}",
    f"sleep 0 & wait -n -p {HIDDEN}",
    "echo ${a['$(touch hit)']}",
    "a['$(touch hit)']=1",
    "a=(['$(touch hit)']=1)",
    f"RANDOM={HIDDEN}",
    f"OPTIND={HIDDEN}",
    "compgen -W '$(touch hit)'",
    "PS4='$(touch hit)'; set -x; :",
    "x='$(touch hit)'; echo ${x@P}",
    # a text that was set before in the same command
    f"x={HIDDEN}; (( x ))",
    f"x={HIDDEN}; y=$((x))",
    f"x={HIDDEN}; echo $[x]",
    f"x={HIDDEN}; [[ $x -eq 1 ]]",
    f"x={HIDDEN}; echo ${{a[x]}}",
    f"x={HIDDEN}; s=abc; echo ${{s:0:x}}",
    f"x={HIDDEN}; echo ${{!x}}",
    f"x={HIDDEN}; a[x]=1",
    f"x={HIDDEN}; for ((i=x;0;)); do :; done",
    f"x=({HIDDEN}); ((x))",
    f"x=y; y={HIDDEN}; ((x))",
    "x='a[$(touch'; x+=' hit)]'; ((x))",
    "y='$'; x=\"a[$y(touch hit)]\"; ((x))",
    f"x={HIDDEN}; cat <<E\n$((x))\nE\n",
    "read -r x <<'E'\na[$(touch hit)]\nE\n((x))",
    "read -r x <<E\na[\\$(touch hit)]$y\nE\n((x))",
    "while read -r x; do ((x)); done <<'E'\na[$(touch hit)]\nE\n",
    f"echo {HIDDEN} | {{ read x; ((x)); }}",
    f"for x in {HIDDEN}; do ((x)); done",
    f"set -- {HIDDEN}; (($1))",
    f"f() {{ (($1)); }}; f {HIDDEN}",
    f"x={HIDDEN} bash -c '((x))'",
    f"bash -c '[[ $1 -eq 1 ]]' _ {HIDDEN}",
)
ORDINARY = (
    "[[ $n -eq 1 ]]",
    "[[ -v HOME ]]",
    "(( i++ ))",
    "x=$((n + 1))",
    "n=$(wc -l < f); (( n > 3 )) && echo many",
    "a[i]=$(ls); echo ${a[$i]}",
    "for ((i=0; i<3; i++)); do echo $i; done",
    "(( n++ )); grep '[a-z]' f | awk '{print $(NF-1)}'",
    "declare -A m=([a]=1 ['b c']=2); echo ${m['b c']}",
    "declare -i n=3",
    "while read -r l; do n=$((n+1)); done < f",
    "read -r x y < f",
    "mapfile -t a < <(ls)",
    "printf -v x %s y",
    "unset 'a[1]'",
    "git commit -m 'repair [x] in $(y)'",
    "grep -n 'a[$(' f",
    "bash -lc 'x=${a[i]}; y=$(cat f); (( x ))'",
    "cat > r.sh <<'E'\na[i]=$(ls)\nE\nbash r.sh; [[ $? -eq 0 ]]",
    'm="[$(date)] $x"; ((x++))',
    'echo "[$x] ($y)"; ((x++))',
    "echo ${x//[^a-z]/} $((n))",
    "PS4='+ ' bash -x r.sh",
    "x=$(( $(awk '{print $(NF-1)}' f) + 1 ))",
    "cat > r.sh <<E\na[i]=\\$(ls) $y\nE\n((n++))",
    "command -v $tool",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_command_hidden_in_a_sum_cannot_be_judged(text: str) -> None:
    assert read_command(text).action is A.UNKNOWN


@pytest.mark.parametrize("text", ORDINARY)
def test_an_ordinary_sum_is_what_it_was(text: str) -> None:
    assert read_command(text).action is A.SHELL


def test_what_the_hidden_command_does_counts_too() -> None:
    reading = read_command("x='a[$(sudo rm .env)]'; (( x ))")
    assert reading.action is A.SYSTEM and ".env" in {one.path for one in reading.touches}


def test_a_later_option_does_not_hide_a_command() -> None:
    assert GRAVITY.index(read_command("command rm -rf x -v").action) <= GRAVITY.index(A.SHELL_DESTRUCTIVE)
