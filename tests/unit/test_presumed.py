"""Which texts are taken for JSON without a look."""

from __future__ import annotations

import json

import pytest

from otel_pg_exporter.encoding.presumed import seems_json


class Word(str):
    """A text of another type."""


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"question": "why", "top_k": 5}),
        json.dumps([{"role": "user", "parts": ["é\nü"]}], ensure_ascii=False),
        json.dumps(["a", 'says "no"']),
        '["it\'s", "no JSON]',
        '{"a": 1e999}',
    ],
)
def test_what_begins_and_ends_as_json_seems_to_be(text):
    """Whether it is, PostgreSQL says."""
    assert seems_json(text)


@pytest.mark.parametrize(
    "value",
    [
        "", "{", "[", "plain", "[INFO] started]", "{'a': 1}", "[{'a': 1}]", '{"a": "cut o', '{"a": "\\u0000"}',
        '["\\ud800"]', '["\0"]', "5", "null", "[1, 2]", 5, None, ("a", "]"), b'["a"]', Word('["a"]'),
    ],
)  # fmt: skip
def test_what_does_not_is_looked_into(value):
    """Reprs of Python and lines of logs, which programs give back often; what was cut; what readers may refuse."""
    assert not seems_json(value)
