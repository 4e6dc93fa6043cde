"""Reads Redis as a read-only user: prints PanCode's own counts, or RQ's `info`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import replace
from typing import Any, TextIO

import click
from click.core import ParameterSource

from node_agent.wire.clock import Ids
from pancode.kernel.errors import UnavailableError, UsageError, describe_cause
from pancode.queue.valkey.access import RedisAccess, connect
from pancode.queue.valkey.faults import translate_redis_errors

QUEUE, WORKER = "rq:queue:", "rq:worker:"
READER = "pancode-look-"
_RIGHTS = "on resetkeys ~rq:* resetchannels -@all +@read +@connection -@dangerous +multi +exec"
WORD_CAP = 100
"""The most characters shown of a text that a node has written about itself."""
OPTIONS = frozenset({"url", "config", "path", "serializer", "interval"})
"""Options of RQ's `info` that are refused: PanCode sets the Redis and the classes, and does not poll."""
REGISTRIES = (("started", "wip"), ("finished", "finished"), ("failed", "failed"))


@contextmanager
def open_read_access(access: RedisAccess, ids: Ids) -> Iterator[RedisAccess]:
    """Yield a login that may only read keys that begin with `rq:`; remove it afterwards. UnavailableError."""
    name, password = READER + ids.short(8), ids.token(24)
    with translate_redis_errors(access, "look"), closing(connect(access)) as client:
        ours: Any = client
        ours.execute_command("ACL", "SETUSER", name, *_RIGHTS.split(), f">{password}")
        try:
            beside = replace(access.beside, password_file=None)
            yield replace(access, user=name, password=password, beside=beside)
        finally:
            ours.execute_command("ACL", "DELUSER", name)


def read_counts(access: RedisAccess) -> dict[str, list[dict[str, Any]]]:
    """Return the queues and workers that RQ's tools would show, as counts only; no job is read."""
    with closing(connect(access)) as reader:
        client: Any = reader
        queues = sorted(key.decode() for key in client.smembers("rq:queues"))
        workers = sorted(key.decode() for key in client.smembers("rq:workers"))
        return {
            "queues": [_queue(client, key.removeprefix(QUEUE)) for key in queues],
            "workers": [_describe_worker(client, key) for key in workers],
        }


def _queue(client: Any, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "waiting": client.llen(QUEUE + name)}
    return found | {word: client.zcard(f"rq:{kind}:{name}") for word, kind in REGISTRIES}


def _describe_worker(client: Any, key: str) -> dict[str, Any]:
    columns = ("hostname", "state", "last_heartbeat")
    values = client.hmget(key, list(columns))
    words = [None if one is None else one[:WORD_CAP].decode("utf-8", "replace") for one in values]
    return {"name": key.removeprefix(WORKER), **dict(zip(columns, words, strict=True))}


def rq_info(access: RedisAccess, words: Sequence[str], out: TextIO) -> None:
    """Run RQ's own `info` with these arguments and this login. UsageError for refused arguments."""
    from rq.cli import cli, helpers

    from pancode.queue.rq_json import make_harmless

    make_harmless()
    vars(helpers)["CliConfig"] = _make_cli_config(access)
    try:
        with redirect_stdout(out):
            cli.main.main(args=list(words), prog_name="pancode admin queue --rq", standalone_mode=False)
    except click.ClickException as exc:
        raise UsageError(exc.format_message(), fix="pancode admin queue --rq info --help") from exc
    except SystemExit as exc:
        why = f"exit status {exc.code}"
        raise UnavailableError("RQ's info exited early", why=why, fix="pancode doctor") from exc
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as exc:
        why = f"a node can write arbitrary data to Redis; {describe_cause(exc)}"[:300]
        raise UnavailableError(
            "RQ cannot read the data in Redis", why=why, fix="pancode admin queue"
        ) from exc


def _make_cli_config(access: RedisAccess) -> Any:
    """Return a substitute for RQ's CLI configuration, with PanCode's Redis and safe classes."""
    from rq.cli.helpers import CliConfig

    class Configured(CliConfig):
        def __init__(self, **value: Any) -> None:
            given = click.get_current_context().get_parameter_source
            for name in value:
                theirs = name in OPTIONS or name.endswith("_class")
                if theirs and given(name) is ParameterSource.COMMANDLINE:
                    raise click.UsageError(
                        f"--{name.replace('_', '-')} does not apply to the Redis of this fleet"
                    )
            super().__init__()
            self._connection: Any = connect(access)

    return Configured
