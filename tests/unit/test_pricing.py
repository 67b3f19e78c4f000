"""Prices: which holds when, which tokens are billed at which, and what is said about a wrong file."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest

from otel_pg_exporter.config import Settings
from otel_pg_exporter.encoding.pricing import Prices, built_in_prices, read_prices
from otel_pg_exporter.encoding.treatment import Treatment
from otel_pg_exporter.errors import ConfigurationError

TODAY = 1_795_000_000_000_000_000


def moment(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()) * 10**9


@pytest.fixture
def file_of(tmp_path):
    """Writes a file of prices."""

    def write(*entries):
        path = tmp_path / "prices.json"
        path.write_text(json.dumps({"prices": entries}))
        return path

    return write


def test_the_price_at_the_time_of_the_call_holds():
    """o3 became cheaper on 2025-06-10."""
    prices = Prices(built_in_prices())

    assert 10 == prices.of("openai", "o3", moment("2025-06-09T23:59:59")).input
    assert 2 == prices.of("openai", "o3", moment("2025-06-10T00:00:00")).input
    assert prices.of("openai", "o3", moment("2025-01-01")) is None


@pytest.mark.parametrize(
    ("provider", "model", "rate"),
    [
        ("openai", "gpt-4o-mini-2024-07-18", 0.15),
        ("OpenAI", "GPT-4o-mini", 0.15),
        (None, "openai/gpt-5", 1.25),
        ("anthropic", "claude-sonnet-4-20250514", 3),
        ("anthropic", "claude-opus-4-5-20251101", 5),
        ("gcp.gemini", "models/gemini-2.5-flash", 0.3),
        ("openai", "gpt-4o-mini-tts", None),
        ("openai", "gpt-fake", None),
        ("openrouter", "gpt-4o", None),
        ("openai", 5, None),
    ],
)
def test_a_model_is_found_under_its_names(provider, model, rate):
    """With its date, in any case, with its maker before it; another maker's, or another product, is not it."""
    price = Prices(built_in_prices()).of(provider, model, TODAY)

    assert rate == (price and price.input)


def test_each_token_is_billed_once(file_of):
    """Cached tokens are part of the input and reasoning of the output; where they are more, they were counted apart."""
    rates = {"input": 10, "output": 100, "cache_read": 1, "cache_write": 20, "reasoning": 200}
    (price,) = read_prices(file_of({"model": "m", **rates}))
    million = 1_000_000

    assert 10 == price.cost((million, 0, 0, 0, 0))
    assert pytest.approx(0.5 * 10 + 0.3 * 1 + 0.2 * 20) == price.cost((million, 0, million * 3 // 10, million // 5, 0))
    assert pytest.approx(0.75 * 100 + 0.25 * 200) == price.cost((0, million, 0, 0, million // 4))
    assert pytest.approx(10 + 2) == price.cost((million, 0, 2 * million, 0, 0))


def test_what_has_no_rate_of_its_own_pays_the_whole_one(file_of):
    """Cached tokens pay as input and reasoning as output where the table says nothing else."""
    (price,) = read_prices(file_of({"model": "m", "input": 1, "output": 2}))

    assert (1, 1, 2) == (price.cache_read, price.cache_write, price.reasoning)


def test_a_users_price_comes_first(file_of):
    """Of models that are known, and of others."""
    path = file_of({"model": "gpt-4o", "input": 7}, {"provider": "house", "model": "llama-*", "input": 0.5})

    prices = Treatment.of(Settings(prices_file=str(path))).prices

    assert 7 == prices.of("openai", "gpt-4o", TODAY).input
    assert 0.5 == prices.of("house", "llama-3", TODAY).input
    assert 0.15 == prices.of("openai", "gpt-4o-mini", TODAY).input


def test_until_a_users_price_begins_the_built_in_one_holds(file_of):
    """A price of tomorrow does not take away today's."""
    path = file_of({"model": "o3*", "from": "2026-06-01", "input": 7}, {"model": "*", "from": "2026-05-01", "input": 9})
    prices = Prices([*read_prices(path), *built_in_prices()])

    days = ("2026-06-01", "2026-05-31T23:59:59", "2026-04-30", "2025-01-01")
    assert [7, 9, 2] == [prices.of("openai", "o3", moment(day)).input for day in days[:3]]
    assert prices.of("openai", "o3", moment(days[3])) is None


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"model": "m"}, "input is missing"),
        ({"model": "m", "input": -1}, "input=-1 is not allowed; allowed are USD"),
        ({"model": "m", "input": "1"}, "input='1' is not allowed"),
        ({"model": "", "input": 1}, "model='' is not allowed; allowed is a glob"),
        ({"model": "m", "input": 1, "provider": [1]}, "provider=[1] is not allowed"),
        ({"model": "m", "input": 1, "from": "soon"}, "from='soon' is not allowed; allowed is a date"),
        ({"model": "m", "input": 1, "outptu": 1}, "'outptu' is unknown; allowed are provider"),
        (5, "5 is not allowed; allowed is an object"),
    ],
)
def test_a_wrong_price_is_named(file_of, entry, told):
    """With its file, its number and what is allowed."""
    path = file_of({"model": "ok", "input": 1}, entry)

    with pytest.raises(ConfigurationError) as caught:
        read_prices(path)

    assert f"price 2 in {path}: {told}" in str(caught.value)


def test_a_file_that_is_none_is_one_line_in_the_log(tmp_path, monkeypatch):
    """The program runs with the built-in prices."""
    said = []
    monkeypatch.setattr("otel_pg_exporter.encoding.treatment.say", lambda level, message: said.append(message))

    for name, text in (("missing.json", None), ("bad.json", "{"), ("other.json", "[]")):
        path = tmp_path / name
        if text is not None:
            path.write_text(text)
        prices = Treatment.of(Settings(prices_file=str(path))).prices
        assert 0.15 == prices.of("openai", "gpt-4o-mini", TODAY).input
        assert str(path) in said[-1]

    assert 3 == len(said)


def test_the_built_in_table_names_its_sources():
    """Each price has a source that the file describes, and the file says when it was looked up."""
    from otel_pg_exporter.encoding import pricing

    table = json.loads(pricing._BUILT_IN.read_text("utf-8"))

    assert {entry["source"] for entry in table["prices"]} == set(table["sources"])
    assert datetime.fromisoformat(table["checked"])
