"""What was seen lately."""

from __future__ import annotations

from otel_pg_exporter.encoding.remembered import Remembered


def keys(*numbers):
    return [number.to_bytes(2, "big") for number in numbers]


def test_what_is_asked_for_again_and_again_is_remembered_and_no_more_than_so_much():
    """However much else comes."""
    remembered = Remembered(100)
    (often,) = keys(0)
    remembered.update([often])

    for number in range(1, 1000):
        remembered.update(keys(number))
        assert often in remembered
        assert keys(number)[0] in remembered

    known = [key for key in keys(*range(1000)) if key in remembered]
    assert 50 <= len(known) <= 100
    assert keys(1)[0] not in remembered


def test_all_is_forgotten_when_told():
    """After an error nothing is taken for stored."""
    remembered = Remembered(100)
    remembered.update(keys(*range(80)))
    remembered.clear()

    assert not [key for key in keys(*range(80)) if key in remembered]
