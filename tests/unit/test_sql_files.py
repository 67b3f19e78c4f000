"""sql/: found, named, and filled in without a way to inject."""

from __future__ import annotations

import pytest

from otel_pg_exporter import sql_files
from otel_pg_exporter.errors import EventStoreError
from otel_pg_exporter.sql_files import Names, bind, migrations, query


def test_every_migration_has_a_way_back():
    """Versions count from 1 without a gap, each with an up and a down."""
    assert list(range(1, len(migrations()) + 1)) == [step.version for step in migrations()]
    assert all(step.up.strip() and step.down.strip() for step in migrations())


def test_an_unknown_query_is_named_with_those_that_exist():
    """A misspelt query name is an error that lists the names."""
    with pytest.raises(EventStoreError, match="claim_batch"):
        query("claim_bach", Names("otel"))


def test_two_queries_of_one_name_are_refused(tmp_path, monkeypatch):
    """A second query of the same name is an error that names the file."""
    (tmp_path / "queries").mkdir()
    (tmp_path / "queries" / "a.sql").write_text("-- name: x\n-- One.\nSELECT 1\n-- name: x\n-- Two.\nSELECT 2\n")
    monkeypatch.setattr(sql_files, "_root", lambda: tmp_path)
    sql_files._queries.cache_clear()
    try:
        with pytest.raises(EventStoreError, match=r"a\.sql.*'x'"):
            sql_files._queries()
    finally:
        sql_files._queries.cache_clear()


def test_every_query_is_described():
    """Each named query is followed by a line that says what it does."""
    for entry in (sql_files._root() / "queries").iterdir():
        for piece in entry.read_text("utf-8").split("-- name: ")[1:]:
            assert piece.splitlines()[1].startswith("-- "), piece.splitlines()[0]


def test_identifiers_are_quoted():
    """Whatever a schema is called, it stays one identifier."""
    assert Names('o"; DROP', "p_").table("events") == '"o""; DROP"."p_events"'


@pytest.mark.parametrize(
    ("value", "literal"),
    [(None, "NULL"), (-5, "-5"), ("it's", " E'it''s'"), ("\\'; DROP", " E'\\\\''; DROP'")],
)
def test_parameters_become_literals(value, literal):
    """Values are escaped, whatever standard_conforming_strings is."""
    assert f"SELECT {literal}" == bind("SELECT %(v)s", {"v": value})


@pytest.mark.parametrize("value", [1.5, b"x", "a\0b", ["x"]])
def test_a_value_without_a_safe_literal_is_refused(value):
    """What cannot be written safely is a TypeError, not SQL."""
    with pytest.raises(TypeError):
        bind("SELECT %(v)s", {"v": value})


def test_a_query_may_stand_in_another():
    """What several begin with is said once."""
    usual = sql_files.query("usual_settings", sql_files.Names("otel"))

    assert usual in sql_files.query("limit_time", sql_files.Names("otel"))
    assert usual in sql_files.query("same_moment", sql_files.Names("otel"))
