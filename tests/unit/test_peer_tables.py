"""The tables of benchmarks/peers say what the recorded run has, and benchmarks/README.md shows them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RECORDED = sorted((BENCHMARKS / "peers" / "results").glob("*.json"))[-1]


@pytest.fixture
def table() -> ModuleType:
    """peers/table.py, which needs nothing but the standard library."""
    spec = importlib.util.spec_from_file_location("peers_table", BENCHMARKS / "peers" / "table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def found() -> dict[str, Any]:
    """The newest run that is kept."""
    result: dict[str, Any] = json.loads(RECORDED.read_text("utf-8"))
    return result


def rows(text: str) -> dict[str, list[str]]:
    """The first cell → the others, below the two lines of the head."""
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return {cells[0]: cells[1:] for cells in ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)}


def test_each_call_is_compared_with_its_own_bare_span(table: ModuleType, found: dict[str, Any]) -> None:
    """A process that ran at a slow moment, its bare span included, changes nothing."""
    before = rows(table.calls(found))
    for run in found["calls"]["logfire"]:
        run["microseconds"] = {case: 3 * cost for case, cost in run["microseconds"].items()}
    assert before == rows(table.calls(found))
    assert set(before) == {table.NAMES[name] for name in found["calls"]}
    assert "1.00 ×" == before["**ours**"][1]


def test_what_is_dearer_is_seen(table: ModuleType, found: dict[str, Any]) -> None:
    """Twice the cost of the calls is twice the ratio to ours."""
    before = rows(table.calls(found))["Logfire `@instrument`"]
    for run in found["calls"]["logfire"]:
        run["microseconds"]["captured"] *= 2
    after = rows(table.calls(found))["Logfire `@instrument`"]
    assert before[:2] == after[:2]
    assert float(after[3].split()[0]) == pytest.approx(2 * float(before[3].split()[0]), abs=0.02)


def test_stores_are_compared_for_each_span(table: ModuleType, found: dict[str, Any]) -> None:
    """Runs have different numbers of spans; what was lost is said."""
    shown = rows(table.stores(found))
    runs = found["stores"]["phoenix"]
    cpu = [sum(run["cpu_seconds"].values()) / run["stored"] for run in runs]
    ours = [sum(run["cpu_seconds"].values()) / run["stored"] for run in found["stores"]["ours"]]
    assert shown["Arize Phoenix"][4] == f"{median(cpu) / median(ours):.1f} ×"
    assert shown["**ours**"][4] == "1.0 ×"
    assert shown["**ours**"][6].startswith("0 of ")
    runs[0]["stored"] -= 7
    assert rows(table.stores(found))["Arize Phoenix"][6].startswith("7 of ")


def test_the_page_shows_the_recorded_run(table: ModuleType, found: dict[str, Any]) -> None:
    """Nothing in it is typed by hand."""
    page = (BENCHMARKS / "README.md").read_text("utf-8")
    assert table.calls(found) in page
    assert table.stores(found) in page
    assert RECORDED.stem in page
