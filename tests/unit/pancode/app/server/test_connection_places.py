"""A port's connections: bounded for each address and in all, and nobody shuts others out by waiting."""

from __future__ import annotations

from pancode.app.server.connection_places import PlaceBounds, Places, side_of

BOUNDS = PlaceBounds(most=6, strangers=4, each=2)


def test_the_eldest_stranger_of_an_address_gives_way_to_its_next() -> None:
    places = Places(BOUNDS)
    first, second = places.enter("10.0.0.1")[0], places.enter("10.0.0.1")[0]
    other, given = places.enter("10.0.0.2")
    assert first and second and other and given is None
    assert places.enter("10.0.0.1")[1] is first and len(places) == 3
    second.answered = True
    third, given = places.enter("10.0.0.1")
    assert third is not None and given is not second, "the one that is being answered goes last"


def test_strangers_of_many_addresses_leave_room_for_tokens() -> None:
    places = Places(BOUNDS)
    for number in range(50):
        place, _ = places.enter(f"10.0.1.{number}")
        assert place is not None and len(places) <= BOUNDS.strangers
    place = None
    for _ in range(BOUNDS.most):
        place = places.enter("10.0.2.1")[0]
        assert place is not None
        place.known = True
    assert len(places) == BOUNDS.most
    assert places.enter("10.0.2.1") == (None, None), "all have shown a token: no one of them gives way"
    assert place is not None
    places.leave(place)
    places.leave(place)
    assert len(places) == BOUNDS.most - 1 and places.enter("10.0.2.1")[0] is not None


def test_a_machine_is_one_side_whatever_ipv6_address_it_takes() -> None:
    assert side_of("2001:db8::1") == side_of("2001:db8::ffff:1") != side_of("2001:db8:0:1::1")
    assert side_of("::ffff:10.0.0.1") == side_of("10.0.0.1") and side_of("fe80::1%eth0") == side_of("fe80::2")
