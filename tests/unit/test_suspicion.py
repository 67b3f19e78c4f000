"""What the quick look calls clean, the patterns call clean too; and both packages know the same secrets."""

from __future__ import annotations

import importlib.util
import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_pg_exporter import suspicion
from otel_pg_exporter.redaction import _PATTERNS, Redactor, _without_known
from otel_pg_exporter.suspicion import may_hold_secret

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("by_look", ROOT / "tests/unit/instrumentation/test_redaction.py")
_examples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_examples)

PIECES = [
    *(needle for _, needles, *_ in _PATTERNS for needle in needles), *(text for text, _ in _examples.BY_LOOK),
    *_examples.BY_KEY, "PRIVATE KEY-----", "-----BEGIN ", "Bearer ", "Basic ", "sk_live_", "AKIA", "ASIA",
    "eyJ", "AIza",
    "=", ":", " ", '"', "'", "\\", "\n", "://", "@", "-", "_", ".", "=>", "\\\"", "aB3dE5gH7jK9mN1pQ3rS",
    "a", "7", "Token", ",", "(", ")", "curl -u ", "X-Amz-Signature", "sig=", "hooks.slack.com/services/",
    "ALTER USER x IDENTIFIED ", "by '", " PASSWORD '", "<", "</", ">", " login ", " password ", "<![CDATA[",
    "password", "API_KEY", "apiKey", "access_key_id", "secretkey", "\u0130", "\u017f", "\u212a",
]  # fmt: skip
NAME_PARTS = [
    "password", "Password", "pass", "Word", "phrase", "passwd", "pwd", "secret", "Token", "tokens",
    "api", "Key", "keys", "cookie", "credential", "creds", "authorization", "auth", "bearer", "jwt", "DSN", "passcode",
    "1", "new", "Value", "count", "type",
]  # fmt: skip
LAST_BY_ITS_SIGN = ("basic_auth", "smtp_pass")


@pytest.mark.parametrize("name", ["redaction.py", "suspicion.py", "host/signal_handlers.py"])
def test_both_packages_know_the_same_secrets_and_signal_handlers(name):
    """Storage may not import capture, which must work without storage: each has a copy of these modules."""
    mine = (ROOT / "otel_pg_exporter" / name).read_text()

    assert mine == (ROOT / "instrumentation" / Path(name).name).read_text()


@pytest.mark.parametrize("text", [text for text, _ in _examples.BY_LOOK], ids=range(len(_examples.BY_LOOK)))
def test_what_looks_like_a_secret_is_suspicious(text):
    """Alone, in a sentence, and in JSON text within JSON text."""
    for around in (text, f"it was {text} all along", '{"a": "' + text.replace('"', '\\\\\\"') + '"}'):
        assert may_hold_secret(around)


@pytest.mark.parametrize("name", _examples.BY_KEY)
def test_names_of_secrets_in_json_text_are_suspicious(name):
    """However deep the JSON text is escaped, and with any spaces."""
    for quote in ('"', '\\"', '\\\\\\"', "'"):
        assert may_hold_secret(f"{{{quote}x{quote}: 1, {quote}{name}{quote} : {quote}planted{quote}}}")


@pytest.mark.parametrize("name", _examples.BY_A_WORD)
def test_names_that_go_on_are_suspicious(name):
    """In JSON text, however deep it is escaped."""
    for quote in ('"', '\\"', '\\\\\\"'):
        assert may_hold_secret(f"{{{quote}x{quote}: 1, {quote}{name}{quote} : [{quote}planted{quote}]}}")


@pytest.mark.parametrize("name", [*_examples.BY_KEY, *_examples.BY_A_WORD])
def test_a_name_may_come_after_its_value(name):
    """As the last member, where no sign follows."""
    assert name in LAST_BY_ITS_SIGN or may_hold_secret(json.dumps([{"value": "planted", "name": name}]))


@settings(max_examples=3000, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(NAME_PARTS), st.sampled_from(["", "_", "-", ".", " "])), max_size=4))
def test_every_name_of_a_secret_in_json_text_is_suspicious(parts):
    """Wherever in it the word stands that makes it one."""
    name = "".join(itertools.chain.from_iterable(parts))
    assert may_hold_secret(json.dumps({name: "planted"})) or not Redactor().is_secret(name)


@settings(max_examples=3000, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=8).map("".join))
def test_no_text_that_would_be_changed_is_called_clean(text):
    """Texts made of the parts of secrets, in any order."""
    assert _without_known(text) == text or may_hold_secret(text)


@settings(max_examples=3000, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=8).map("".join))
def test_flattened_text_hides_nothing_from_the_closer_look(text):
    """What is found in the text itself is looked for."""
    folded, looks = text.casefold(), suspicion._looks()
    if suspicion._is_named(looks, folded) or looks.bearer(folded) or looks.dash(text) or looks.underscore(text):
        assert may_hold_secret(text)


@pytest.mark.parametrize(
    "text",
    ["sk-12345678", "pwd=x", "dsn :x", "--token x", "a\u00a0jwt\u00a0: x", "x-to\u212aen=1", "credential\u017f: x",
     "---token x"],
)  # fmt: skip
def test_texts_at_the_edge_are_suspicious(text):
    """Short ones, and such with white space and letters that are not ASCII."""
    assert may_hold_secret(text)


def test_counts_of_tokens_are_not_suspicious():
    """They stand in nearly all that models give back."""
    usage = {
        "input_tokens": 1,
        "max_token": 2,
        "token_count": 3,
        "input_token_details": {"cache_read": 4},
        "tokenType": 5,
    }
    assert not may_hold_secret(json.dumps(usage))


def test_hooks_are_not_suspicious():
    """Many modules are called so, and stand in tracebacks; addresses of webhooks have more of it."""
    assert not may_hold_secret('Traceback:\n  File "/app/hooks.py", line 7, in run_hooks\n    call(hook=hook)')
    assert may_hold_secret('{"url": "https://hooks.slack.com/services/T0/B0/planted"}')


@pytest.mark.parametrize("text", _examples.INNOCENT_TEXTS)
def test_suspicion_alone_changes_nothing(text):
    """A wrong alarm costs time, not the text."""
    assert _without_known(text) == text
