"""Which passport a model still has, and the file they are kept in."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.passport.queue import (
    FILE,
    MOST,
    NAMED_MS,
    NUMBERED_MS,
    SICK_MS,
    PassportCache,
    StoredPassport,
)
from node_agent.wire.endpoint import CheckFact, EndpointFact, ExamCheck, Grade, PassportFact, Residence
from tests.unit.node_agent.passport.interactive_runs import FACT, MODEL, with_model

AT = 1_000


def fact(grade: Grade = Grade.PASSED, taken_ms: int = AT) -> PassportFact:
    check = CheckFact(check=ExamCheck.ANSWERS, grade=grade, words="w")
    return PassportFact(taken_ms=taken_ms, took_ms=1, checks=(check,), ctx=32_768)


@pytest.mark.parametrize(
    "now",
    [
        FACT.model_copy(update={"version": "2"}),
        FACT.model_copy(update={"name": "other"}),
        with_model(digest="d2"),
        with_model(ctx_usable=4_096),
        with_model(ctx_usable=None, residence=None),
        with_model(size=1),
        with_model(quantisation="Q8"),
        with_model(tools=False),
        with_model(family="other"),
        with_model(parameters=1),
        with_model(ctx_max=1),
        with_model(id="m2"),
    ],
)
def test_another_model_or_server_than_was_tested(now: EndpointFact) -> None:
    kept = StoredPassport.of(FACT, MODEL, fact())
    assert kept.fits(FACT, MODEL, AT)
    assert not kept.fits(now, now.models[0], AT)


@pytest.mark.parametrize("residence", [Residence.NOT_LOADED, Residence.ASLEEP])
def test_the_context_of_an_unloaded_model_is_only_assumed(residence: Residence) -> None:
    """It was loaded for the test, and will be again: what is told in between changes nothing."""
    now = with_model(residence=residence, ctx_usable=4_096)
    assert StoredPassport.of(FACT, MODEL, fact()).fits(now, now.models[0], AT)


def test_that_it_did_not_answer_counts_for_a_while() -> None:
    """A restart of the server, which repairs it, changes nothing that is told of it."""
    sick = StoredPassport.of(FACT, MODEL, fact(Grade.FAILED))
    assert sick.fits(FACT, MODEL, AT + SICK_MS - 1) and not sick.fits(FACT, MODEL, AT + SICK_MS)
    assert StoredPassport.of(FACT, MODEL, fact()).fits(FACT, MODEL, AT + 100 * SICK_MS)


@pytest.mark.parametrize(
    ("told", "lasts"),
    [
        ({"digest": "d1"}, None),
        ({"digest": None, "size": 5_000_000_000}, NUMBERED_MS),
        ({"digest": None, "parameters": 8_000_000_000}, NUMBERED_MS),
        ({"digest": None}, NAMED_MS),
    ],
)
def test_without_a_digest_it_counts_for_so_long(told: dict[str, object], lasts: int | None) -> None:
    """Another model may stand behind the same name, and the server does not say so."""
    bare = {"digest": None, "size": None, "parameters": None}
    here = with_model(**{**bare, **told})
    kept = StoredPassport.of(here, here.models[0], fact())
    last = AT + (lasts or 1_000 * NUMBERED_MS)
    assert kept.fits(here, here.models[0], last - 1)
    assert kept.fits(here, here.models[0], last) is (lasts is None)


def test_of_a_model_that_is_not_loaded_a_server_tells_less() -> None:
    """A router of llama.cpp says of those only their names: that alone takes no passport away."""
    bare = with_model(residence=Residence.NOT_LOADED, ctx_usable=None, size=None, tools=None, ctx_max=None)
    kept = StoredPassport.of(FACT, MODEL, fact())
    assert kept.fits(bare, bare.models[0], AT)
    other = with_model(residence=Residence.NOT_LOADED, size=1)
    assert not kept.fits(other, other.models[0], AT)


def test_they_outlive_a_restart(tmp_path: Path) -> None:
    PassportCache(tmp_path).put(StoredPassport.of(FACT, MODEL, fact()))
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    again = PassportCache(tmp_path)
    assert again.find(FACT, MODEL, AT) == fact()
    again.put(StoredPassport.of(FACT, MODEL, fact(taken_ms=AT + 1)))
    assert PassportCache(tmp_path).find(FACT, MODEL, AT) == fact(taken_ms=AT + 1)


@pytest.mark.parametrize("data", [b"", b"not json", b'{"passports": [{}]}', b'{"unknown": 1}'])
def test_a_file_that_cannot_be_read_is_begun_anew(tmp_path: Path, data: bytes) -> None:
    (tmp_path / FILE).write_bytes(data)
    shelf = PassportCache(tmp_path)
    assert shelf.find(FACT, MODEL, AT) is None
    shelf.put(StoredPassport.of(FACT, MODEL, fact()))
    assert PassportCache(tmp_path).find(FACT, MODEL, AT) == fact()


def test_the_file_stays_small(tmp_path: Path) -> None:
    shelf = PassportCache(tmp_path)
    for number in range(MOST + 5):
        shelf.put(
            StoredPassport.of(FACT, MODEL.model_copy(update={"id": f"m{number}"}), fact(taken_ms=AT + number))
        )
    first, last = (MODEL.model_copy(update={"id": name}) for name in ("m0", f"m{MOST + 4}"))
    assert shelf.find(FACT, first, AT) is None and shelf.find(FACT, last, AT) is not None


def test_where_it_cannot_be_written_it_counts_for_now(tmp_path: Path) -> None:
    shelf = PassportCache(tmp_path / "gone")
    shelf.put(StoredPassport.of(FACT, MODEL, fact()))
    assert shelf.find(FACT, MODEL, AT) == fact()


def test_models_are_told_with_their_passports(tmp_path: Path) -> None:
    shelf = PassportCache(tmp_path)
    both = FACT.model_copy(update={"models": (MODEL, MODEL.model_copy(update={"id": "other"}))})
    assert shelf.stamped((both,), AT) == (both,)
    shelf.put(StoredPassport.of(FACT, MODEL, fact()))
    (told,) = shelf.stamped((both,), AT)
    assert [one.passport for one in told.models] == [fact(), None]
