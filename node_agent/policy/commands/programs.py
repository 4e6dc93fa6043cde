"""Classifies common programs by name and options, and finds which of their arguments are files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from node_agent.policy.commands.tree import ShellWord
from node_agent.wire.policy import ActionClass

A = ActionClass


class Use(StrEnum):
    """The way in which a command uses a path."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Touched:
    """A path in a command. `glob`: the shell replaces the word by the paths that match it.

    `sure`: the word is certainly a path, and its use is known. Otherwise the word may not be a path.
    """

    path: str
    use: Use
    glob: bool = False
    sure: bool = True


_SYSTEM = frozenset(
    """
    sudo su doas pkexec run0 systemctl service systemd-run loginctl hostnamectl timedatectl mount umount
    losetup swapon swapoff useradd userdel usermod groupadd groupdel passwd chpasswd visudo reboot shutdown
    halt poweroff init telinit fdisk parted wipefs mkswap apt apt-get dpkg yum dnf rpm zypper pacman apk snap
    flatpak iptables ip6tables nft sysctl modprobe insmod rmmod chroot nsenter unshare crontab at batch setcap
    chattr update-rc.d update-alternatives ufw firewall-cmd
    """.split()
)
_DESTRUCTIVE = frozenset("dd truncate shred kill killall pkill fuser chown chgrp".split())
_DELETES = frozenset("rmdir unlink".split())
_INTERPRETERS = {
    **dict.fromkeys(("python", "pypy"), ("-c",)),
    **dict.fromkeys(("perl",), ("-e", "-E")),
    **dict.fromkeys(("ruby", "lua", "tclsh", "osascript"), ("-e",)),
    **dict.fromkeys(("node", "nodejs", "bun"), ("-e", "--eval", "-p", "--print")),
    "php": ("-r", "-R", "-B", "-E"),
    **dict.fromkeys(("R", "Rscript"), ("-e",)),
    "deno": ("eval",),
}
"""Programs that run code in their arguments, and the options before such code."""
_AWKS = frozenset("awk gawk mawk nawk".split())
_STARTERS = {
    "tar": ("--checkpoint-action", "--to-command", "--use-compress-program", "-I", "--rsh-command"),
    "rg": ("--pre",),
    "sort": ("--compress-program",),
    "rsync": ("-e", "--rsh", "--rsync-path"),
    "zip": ("-TT", "--unzip-command"),
    "man": ("-P", "--pager", "-H"),
}
"""Options whose value is the name of another program that the call starts."""
_ELSEWHERE = frozenset("ssh autossh mosh rsh telnet nc ncat netcat socat".split())
_WRITERS = frozenset("tee touch mkdir mkfifo mknod truncate chmod chown chgrp".split())
_TO_LAST = frozenset("cp ln install rsync scp".split())
_READERS = _TO_LAST | frozenset(
    """
    cat head tail less more bat mv base64 base32 xxd od hexdump strings nl tac rev cut paste sort uniq diff
    cmp comm wc tar zip gzip bzip2 xz zstd gpg md5sum sha256sum source . vi vim nano ed
    """.split()
)
"""Programs whose arguments are files, except for options."""
_LOOSE = ("777", "666", "a+w", "o+w", "a+rwx", "o+rwx", "+s")


def plain_action(program: str, words: Sequence[ShellWord], fed: bool) -> ActionClass:
    """Return the class of a call whose arguments start no other program. `fed`: the call has input."""
    args = [word.text for word in words if word.text is not None]
    if program in _SYSTEM or program.startswith("mkfs"):
        return A.SYSTEM
    if program == "rm":
        return A.SHELL_DESTRUCTIVE if _has_option(args, "rRf", ("--recursive", "--force")) else A.FILE_DELETE
    if program in _DELETES:
        return A.FILE_DELETE
    if program in _DESTRUCTIVE or (program == "chmod" and _is_loose(args)):
        return A.SHELL_DESTRUCTIVE
    if program == "rsync" and any(word.startswith("--del") for word in args):
        return A.SHELL_DESTRUCTIVE
    return A.UNKNOWN if _is_hidden(program, args, words, fed) else A.SHELL


def _is_hidden(program: str, args: Sequence[str], words: Sequence[ShellWord], fed: bool) -> bool:
    """Whether the call's real work is unknown: in another language, from elsewhere or on another computer."""
    if program in _ELSEWHERE:
        return True
    starters = _STARTERS.get(program, ())
    if any(word == one or (one[:2] == "--" and word.startswith(one)) for word in args for one in starters):
        return True
    if program in _AWKS:
        return any("system" in word or "|" in word for word in args if not word.startswith("-"))
    code = _INTERPRETERS.get(program.rstrip("0123456789."))
    if code is None:
        return False
    inline = any(_has_code(word, code) for word in args)
    return inline or "-" in args or (fed and not any(_is_operand(word) for word in words))


def _has_code(word: str, options: Sequence[str]) -> bool:
    """Whether the word is an option with code: `-c`, `-cCODE`, or `c` after other letters, as in `-Bc`."""
    if word in options or any(word.startswith(f"{one}=") for one in options if one.startswith("--")):
        return True
    letters = {one[1] for one in options if len(one) == 2}
    return word[:1] == "-" and word[:2] != "--" and bool(letters.intersection(word[1:]))


def _is_operand(word: ShellWord) -> bool:
    return word.text is None or not word.text.startswith("-")


def _has_option(args: Sequence[str], letters: str, long: Sequence[str]) -> bool:
    """Whether a word has one of these letters in a bundle, or begins one of these long options."""
    for word in args:
        if word == "--":
            return False
        if word.startswith("--") and any(one.startswith(word.partition("=")[0]) for one in long):
            return True
        if word[:1] == "-" and word[:2] != "--" and set(letters).intersection(word[1:]):
            return True
    return False


def _is_loose(args: Sequence[str]) -> bool:
    """Whether the call opens access to everyone or in a whole tree, or runs a program as another user."""
    modes = [word for word in args if not word.startswith("--")]
    numbers = any(len(word) == 4 and word.isdigit() and word[0] in "4567" for word in modes)
    return (
        _has_option(args, "R", ("--recursive",))
        or numbers
        or any(m in word for word in modes for m in _LOOSE)
    )


def find_touched(program: str, words: Sequence[ShellWord]) -> Iterator[Touched]:
    """Yield the words that may be paths, with their use. A word that may not be a path is only read."""
    ends = next((at for at, word in enumerate(words) if word.text == "--"), len(words))
    options, rest = words[:ends], words[ends + 1 :]
    files = [word for word in options if word.text and not word.text.startswith("-")]
    files += [word for word in rest if word.text]
    for number, word in enumerate(files):
        use = _use(program, words, number, len(files))
        yield Touched(word.text or "", use, word.glob, use is not Use.READ or program in _READERS)
    for word in words:
        if word.text is not None:
            yield from _find_inside(program, word.text)


def _use(program: str, words: Sequence[ShellWord], number: int, count: int) -> Use:
    is_last = number == count - 1
    if program in ("rm", "rmdir", "unlink", "shred"):
        return Use.DELETE
    if program == "mv":
        return Use.WRITE if is_last else Use.DELETE
    if program in _WRITERS or (program in _TO_LAST and is_last):
        return Use.WRITE
    in_place = program in ("sed", "perl") and any(
        (w.text or "").startswith(("-i", "--in-place")) for w in words
    )
    return Use.WRITE if in_place else Use.READ


def _find_inside(program: str, word: str) -> Iterator[Touched]:
    """Yield the path inside a word: `--file=PATH`, `of=PATH`, `@PATH`, `HEAD:PATH`."""
    key, equals, value = word.partition("=")
    if equals and value:
        yield Touched(value, Use.WRITE if program == "dd" and key == "of" else Use.READ, sure=program == "dd")
    for mark in "@:":
        if mark in word and word.rpartition(mark)[2]:
            yield Touched(word.rpartition(mark)[2], Use.READ, sure=False)
