"""Long texts that hold no secret are looked through once; those that hold one each time."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from otel_pg_exporter.encoding import scrubbing
from otel_pg_exporter.encoding.scrubbing import Scrubber
from otel_pg_exporter.redaction import REDACTED, Redactor

INNOCENT = "The new password is due on Friday, says the policy: ask Ann. " + "Nothing else was said. " * 20
"""It only looks as if it held one: the name of a secret stands before a sign further on."""
SUSPICIOUS = INNOCENT + '{"max_tokens": 5, "keys": 2}, unexpected token: x'


@pytest.fixture
def looked_at(monkeypatch):
    """Texts that were searched closely."""
    seen = []
    text = Redactor.text
    monkeypatch.setattr(Redactor, "text", lambda self, given: seen.append(given) or text(self, given))
    return seen


@pytest.mark.parametrize("shape", [str, lambda text: json.dumps([{"role": "user", "content": text}] * 3)])
def test_a_long_text_is_searched_once(looked_at, shape):
    """As it is, or as one of the messages of a history that grows."""
    scrubber = Scrubber()
    for _ in range(5):
        assert shape(SUSPICIOUS) == scrubber.text("x", shape(SUSPICIOUS))

    assert 1 == looked_at.count(SUSPICIOUS)


def test_a_history_is_searched_where_it_is_new(looked_at):
    """Each message once, though each turn sends all of them."""
    scrubber = Scrubber()
    messages = []
    for turn in range(20):
        messages.append({"role": "user", "content": f"{turn} {SUSPICIOUS}"})
        scrubber.text("x", json.dumps(messages))

    assert [f"{turn} {SUSPICIOUS}" for turn in range(20)] == looked_at


def test_of_a_history_that_speaks_of_secrets_only_what_is_new_is_looked_at(monkeypatch):
    """Not the whole of it at each turn, though it could hold one by its looks."""
    looked_at, may_hold_secret = [], scrubbing.may_hold_secret
    monkeypatch.setattr(scrubbing, "may_hold_secret", lambda text: looked_at.append(text) or may_hold_secret(text))
    scrubber = Scrubber()
    messages = [{"role": "user", "content": f"{number} {SUSPICIOUS}"} for number in range(50)]
    assert may_hold_secret(json.dumps(messages))
    scrubber.suspects(json.dumps(messages))
    scrubber.text("x", json.dumps(messages))
    looked_at.clear()

    assert json.dumps([*messages, NEW]) == scrubber.text("x", json.dumps([*messages, NEW]))

    assert sum(map(len, looked_at)) < 2 * len(NEW["content"])


NEW = {"role": "assistant", "content": "A plain answer. " * 100}
SECRETS = {
    "in prose": {"content": INNOCENT + " password=planted8"},
    "in a short value": {"content": NEW["content"], "note": "Bearer planted8planted8planted8"},
    "by its name": {"content": NEW["content"], "password": "planted8"},
    "by the name beside it": {"content": NEW["content"], "env": {"name": "DB_PASSWORD", "value": "planted8"}},
    "after an option": {"content": NEW["content"], "args": ["run", "--token", "planted8"]},
    "as one of two": {"content": NEW["content"], "header": ["Authorization", "planted8"]},
    "in JSON text": {"content": NEW["content"], "arguments": json.dumps({"api_key": "planted8"})},
    "as the key": {"content": NEW["content"], "password=planted8": 1},
    "by a pattern": {"content": NEW["content"] + "planted8"},
}


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("place", [0, 10, 20])
@pytest.mark.parametrize("message", [NEW, {"n": 1, "ok": True, "tags": ["a", "b"]}], ids=["long", "short"])
def test_a_secret_in_a_history_is_found_wherever_it_is(secret, place, message):
    """And nothing else changes, whether values are long or short; also in a turn after others without it."""
    scrubber = Scrubber(patterns=["planted8"] if secret == "by a pattern" else ())
    history = [message] * 20
    assert json.dumps(history) == scrubber.text("x", json.dumps(history))
    history.insert(place, SECRETS[secret])

    found = scrubber.text("x", json.dumps(history))

    assert "planted8" not in found
    assert [message] * 20 == [one for one in json.loads(found) if one == message]
    assert 21 == len(json.loads(found))


def test_what_is_cut_off_in_the_middle_of_json_is_looked_through():
    """It is a text like any other."""
    text = json.dumps([NEW, SECRETS["by its name"], NEW])[:-20]

    assert "planted8" not in Scrubber().text("x", text)


def test_a_secret_is_found_each_time():
    """Also after the same text without it, and in a text that is sent again."""
    scrubber = Scrubber()
    secret = SUSPICIOUS + " password=hunter22"
    for _ in range(3):
        assert SUSPICIOUS == scrubber.text("x", SUSPICIOUS)
        assert SUSPICIOUS + f" password={REDACTED}" == scrubber.text("x", secret)


def test_what_is_innocent_as_a_text_is_none_as_the_value_of_a_secret():
    """The name decides there, whatever was found in the text before."""
    scrubber = Scrubber()
    assert SUSPICIOUS == scrubber.text("x", SUSPICIOUS)

    assert {"password": REDACTED} == scrubber.attributes({"password": SUSPICIOUS})
    (found,) = json.loads(scrubber.text("x", json.dumps([{"api_key": SUSPICIOUS, "note": SUSPICIOUS}])))
    assert {"api_key": REDACTED, "note": SUSPICIOUS} == found


@pytest.mark.parametrize("name", ["password", "password_confirmation", "passWord"])
@pytest.mark.parametrize(
    "shape", [json.dumps, lambda value: f"\n  {json.dumps(value)}\n", lambda value: json.dumps(json.dumps(value))]
)
def test_json_text_is_taken_apart(shape, name):
    """Whatever stands around it, and as a JSON string too: a list under the name of a secret goes as a whole."""
    cleaned = Scrubber().text("x", shape([{name: ["planted", "too"]}, {"value": "planted", "name": name}, "stays"]))

    assert "planted" not in cleaned
    assert "too" not in cleaned
    assert "stays" in cleaned


@pytest.mark.parametrize("number", [2**70, -(2**64), 10**300 + 1], ids=lambda number: number.bit_length())
def test_numbers_beside_a_secret_stay(number):
    """Also where they are beyond 64 bits."""
    text = f'{{"password":"hunter2","n":{number},"f":1.0,"t":"é"}}'

    assert text.replace('"hunter2"', f'"{REDACTED}"') == Scrubber().text("input.value", text)


def test_each_scrubber_remembers_for_itself():
    """One with patterns of its own finds what another did not."""
    assert SUSPICIOUS == Scrubber().text("x", SUSPICIOUS)

    assert "Friday" not in Scrubber(patterns=["Friday"]).text("x", SUSPICIOUS)


def test_a_callback_sees_every_text_each_time():
    """It may think otherwise the second time."""
    asked = []
    scrubber = Scrubber(redact=lambda key, text: asked.append(text) or text)
    for _ in range(3):
        scrubber.text("x", SUSPICIOUS)

    assert [SUSPICIOUS] * 3 == asked


def log_of(attributes, body="b", event_name="e", severity_text="INFO"):
    record = SimpleNamespace(attributes=attributes, body=body, event_name=event_name, severity_text=severity_text)
    return SimpleNamespace(log_record=record, dropped_attributes=0)


@pytest.mark.parametrize(
    "readable",
    [
        log_of({"n": 1, "t": "x", "l": (1, "a"), "o": object(), "max_tokens": 5}),
        log_of(None),
        log_of({}, {"a": [None]}),
    ],
    ids=["of many types", "without attributes", "with a map"],
)
def test_a_log_record_with_nothing_to_take_out_is_handed_on(readable):
    """The very same."""
    assert readable is Scrubber().log(readable)


@pytest.mark.parametrize(
    "readable",
    [
        log_of({"password": "planted"}),
        log_of({"a": "password=planted"}),
        log_of({"name": "DB_PASSWORD", "value": "planted"}),
        log_of({"a": ("--token", "planted")}),
        log_of({}, "password=planted"),
        log_of({}, {"api_key": "planted"}),
        log_of({}, event_name="password=planted"),
        log_of({}, severity_text="password=planted"),
        log_of({"password=planted": 1}),
    ],
    ids=["name", "text", "pair", "option", "body", "map", "event", "severity", "key"],
)
def test_a_log_record_loses_its_secret_wherever_it_is(readable):
    """In a stand-in."""
    record = Scrubber().log(readable).log_record

    found = str([record.body, record.event_name, record.severity_text, record.attributes])
    assert "planted" not in found
    assert REDACTED in found
