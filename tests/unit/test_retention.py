"""What is to go, by the settings and by what there is."""

from __future__ import annotations

import pytest

from otel_pg_exporter.config import Settings
from otel_pg_exporter.schema.inventory import Held, Inventory, readable_size
from otel_pg_exporter.sql_files import EVENT_TABLES, PARTITIONED
from otel_pg_exporter.upkeep.retention import Policy

TODAY = 20_000
AGES = (0, 1, 5, 20, 30, 31, 37, 38, 100)


def held(table: str, first: int, end: int, size: int = 10) -> Held:
    return Held(table, f"{table}_{first}", first, end, 0, size, True, hash((table, first)))


def inventory(ages: tuple[int, ...] = AGES, size: int = 10) -> Inventory:
    """A partition of each table for each day that is so many days ago, of ten bytes each."""
    partitions = [held(table, TODAY - age, TODAY - age + 1, size) for age in ages for table in PARTITIONED]
    return Inventory(TODAY, tuple(partitions), size * len(partitions))


def left(found: Inventory, **settings: object) -> dict[str, set[int]]:
    """Table → how old the days are that stay."""
    gone = {due.held for due in Policy.of(Settings(**settings)).due(found)}
    return {
        table: {TODAY - one.lower for one in found.partitions if one.table == table and one not in gone}
        for table in PARTITIONED
    }


def in_step(ages: set[int]) -> dict[str, set[int]]:
    return dict.fromkeys(PARTITIONED, ages)


def test_nothing_goes_without_a_limit():
    """The default keeps everything, and so does the other policy of the limit of size."""
    for settings in ({}, {"max_bytes": 1, "max_bytes_policy": "refuse"}):
        assert in_step(set(AGES)) == left(inventory(), **settings)
        assert not Policy.of(Settings(**settings)).is_set


def test_a_day_is_kept_until_its_last_moment_is_old_enough():
    """In step over all tables but the ledger, which keeps a week more."""
    kept = {0, 1, 5, 20, 30}
    expected = in_step(kept) | {"event_batches": {*kept, 31, 37}}
    assert expected == left(inventory(), retention_days=30)


def test_the_ledger_is_kept_for_thirty_days_at_least():
    """Whatever may come from a spool is looked up there."""
    found = left(inventory(), retention_days=1)
    assert {"events": {0, 1}, "event_batches": {0, 1, 5, 20, 30}} == {
        table: found[table] for table in ("events", "event_batches")
    }


def test_each_category_has_a_limit_of_its_own():
    """Tasks for 5 days, agents for ever, the others for 35: what serves all of them is kept for ever."""
    found = left(inventory(), retention_days=35, retention_task_days=5, retention_agent_days=0)
    expected = in_step(set(AGES)) | {"task_events": {0, 1, 5}}
    expected |= {table: set(AGES) - {37, 38, 100} for table in ("events", "deployment_events")}
    assert expected == found


def test_every_setting_reaches_its_table():
    """By category, over the general one; what is shared is kept as long as any of them."""
    days = Policy.of(
        Settings(
            retention_days=9,
            retention_task_days=1,
            retention_agent_days=2,
            retention_deployment_days=3,
            retention_system_days=4,
        )
    ).days
    assert (4, 1, 2, 3) == tuple(days[table] for table in EVENT_TABLES)
    assert {4} == {days[table] for table in PARTITIONED if table not in (*EVENT_TABLES, "event_batches")}


DAY_BYTES = 10 * len(PARTITIONED)


@pytest.mark.parametrize(
    ("surplus", "gone"), [(0, set()), (1, {100}), (10, {100}), (DAY_BYTES, {100}), (DAY_BYTES + 1, {38, 100})]
)
def test_at_the_limit_of_size_days_go_in_step_until_it_fits(surplus, gone):
    """Each of all tables, though less would do."""
    found = inventory()
    stays = set(AGES) - gone
    assert in_step(stays) == left(found, max_bytes=found.bytes - surplus)


def test_no_limit_of_size_takes_today_or_tomorrow_or_the_ledger_of_a_month():
    """A byte is too little for anything: what is being written stays."""
    found = left(inventory((-1, *AGES)), max_bytes=1)
    assert in_step({-1, 0}) | {"event_batches": {-1, 0, 1, 5, 20, 30}} == found


def test_age_comes_before_size():
    """What is old goes anyway, and may be enough."""
    found = inventory()
    old = [due.reason for due in Policy.of(Settings(retention_days=30, max_bytes=found.bytes - 10)).due(found)]
    assert {"age"} == set(old)


def test_a_year_goes_when_its_last_day_is_old_enough():
    """1970 goes; the year of a clock that was ahead stays, by either limit."""
    years = (
        held("events", 0, 365),
        held("events", TODAY - 400, TODAY - 35),
        held("events", TODAY + 30_000, TODAY + 30_365),
    )
    found = Inventory(TODAY, years, 30)
    assert [0] == [due.held.lower for due in Policy.of(Settings(retention_days=36)).due(found)]
    assert [0, TODAY - 400] == [due.held.lower for due in Policy.of(Settings(retention_days=35)).due(found)]
    assert [0, TODAY - 400] == [due.held.lower for due in Policy.of(Settings(max_bytes=1)).due(found)]


@pytest.mark.parametrize("settings", [{"retention_days": 30}, {"max_bytes": 1}])
def test_what_the_rows_of_a_year_refer_to_goes_after_them(settings):
    """Where events lie in a year, and what they refer to lies in days: of that year it waits, due or not."""
    shared = ("contents", "event_summaries", "resource_days")
    before, within = ([held(table, TODAY - age, TODAY - age + 1) for table in shared] for age in (700, 50))
    for age, is_due in ((40, True), (-5, False)):
        year = held("task_events", TODAY - age - 365, TODAY - age)
        found = Inventory(TODAY, (*within, *before, year), 70)
        due = [one.held for one in Policy.of(Settings(**settings)).due(found)]
        assert ([*before, year, *within] if is_due else before) == due


def test_sizes_can_be_read():
    """In steps of a thousand, as disks are sold."""
    assert ["999 B", "1.0 kB", "1.5 MB", "2.0 TB", "3000.0 TB"] == [
        *map(readable_size, (999, 1000, 1_500_000, 2 * 10**12, 3 * 10**15))
    ]
