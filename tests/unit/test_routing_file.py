"""A user's own routing: rules and columns from a file, and what is said about a wrong one."""

from __future__ import annotations

import json
import sys

import pytest

from otel_pg_exporter.config import Settings
from otel_pg_exporter.encoding.plans import Plans
from otel_pg_exporter.encoding.treatment import Treatment
from otel_pg_exporter.errors import ConfigurationError
from otel_pg_exporter.routing import RULES, route
from otel_pg_exporter.routing.conventions import SOURCES
from otel_pg_exporter.routing.files import read_routing

OWN = {
    "rules": [
        {"attribute": "myapp.kind", "value": "nightly", "category": "task", "event_type": "nightly_job"},
        {"attribute": "myapp.kind", "values": ["a", 5], "category": "agent", "action": "tool", "status": "started"},
        {"attribute": "myapp.deploys", "category": "deployment"},
    ],
    "columns": {"session_id": ["myapp.session"], "model": "myapp.model"},
}


def written(tmp_path, content, name="routing.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_own_rules_and_columns_come_before_the_built_in_ones(tmp_path):
    """A value that no rule of the user's knows goes on to the built-in rules."""
    rules, sources = read_routing(written(tmp_path, OWN))

    def goes(name, value, **others):
        routed = route({name: value, **others}, kind=1, rules=rules)
        return routed.category, routed.event_type, routed.action, routed.status

    chat = {"gen_ai.operation.name": "chat"}
    assert ("task", "nightly_job", None, None) == goes("myapp.kind", "nightly", **chat)
    assert ("agent", "agent_action", "tool", "started") == goes("myapp.kind", 5)
    assert ("deployment", "deployment", None, None) == goes("myapp.deploys", True)
    assert ("agent", "agent_action", "llm", None) == goes("myapp.kind", "other", **chat)
    assert sources["agent"]["session_id"][0] == "myapp.session"
    assert sources["agent"]["model"] == ("myapp.model", *SOURCES["agent"]["model"])
    assert "model" not in sources["task"]


def test_settings_bring_them_to_the_rows(tmp_path):
    """EVENT_ROUTING_FILE decides table and columns."""
    treatment = Treatment.of(Settings.from_env({"EVENT_ROUTING_FILE": written(tmp_path, OWN)}))

    plan = Plans(treatment).span({"myapp.kind": "a", "myapp.session": "s"}, 1, True, 0)

    assert "agent_events" == plan.table
    assert "myapp.session" == dict(zip(plan.text_columns, plan.text_keys, strict=True))["session_id"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="TOML comes with Python 3.11")
def test_toml_and_pyproject(tmp_path):
    """The same as a TOML file, or as a table of pyproject.toml."""
    rule = '[[{}rules]]\nattribute = "k"\nvalue = "v"\ncategory = "task"\n'

    for name, prefix in (("routing.toml", ""), ("pyproject.toml", "tool.otel_pg.routing.")):
        rules, _ = read_routing(written(tmp_path, rule.format(prefix), name))
        assert "task" == route({"k": "v"}, kind=1, rules=rules).category
    assert (RULES, SOURCES) == read_routing(written(tmp_path, "[project]\n", "pyproject.toml"))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"rulez": []}, "'rulez' is unknown; allowed are rules and columns"),
        ({"rules": [{"attribute": "a"}]}, "rule 1: category=None is not allowed; allowed is one of system, task,"),
        ({"rules": [{"attribute": "a", "category": "x"}]}, "rule 1: category='x' is not allowed; allowed is one of"),
        ({"rules": [{"category": "task"}]}, "rule 1: attribute=None is not allowed; allowed is a text"),
        ({"rules": [{"attribute": "a", "category": "task", "action": "tool"}]}, "rule 1: action='tool' is not allowed"),
        (
            {"rules": [{"attribute": "a", "category": "task", "status": "ok"}]},
            "rule 1: status='ok' is not allowed; allowed is one of started, completed, error, cancelled, suspended",
        ),
        ({"rules": [{"attribute": "a", "category": "task", "values": []}]}, "rule 1: values=[] is not allowed"),
        (
            {"rules": [{"attribute": "a", "category": "task", "value": "x", "values": ["y"]}]},
            "rule 1: value and values are both given; allowed is one of them",
        ),
        ({"rules": [{"attribute": "a", "category": "task", "valeu": "x"}]}, "rule 1: 'valeu' is unknown; allowed are"),
        ({"rules": ["a"]}, "rule 1: 'a' is not allowed; allowed is a table"),
        ({"columns": {"trace_id": ["a"]}}, "column 'trace_id' cannot be filled; allowed are agent_id,"),
        ({"columns": {"model": [5]}}, "column model = [5] is not allowed; allowed is a list of attributes"),
        ("{", "Expecting property name"),
        ([], "it holds a list; allowed is a table"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, content, told):
    """With the rule or column, the value and what is allowed."""
    path = written(tmp_path, content)

    with pytest.raises(ConfigurationError) as caught:
        read_routing(path)

    assert path in str(caught.value)
    assert told in str(caught.value)


def test_in_a_program_it_is_one_line_in_the_log(tmp_path, monkeypatch):
    """Records go where the built-in rules say, and nothing is raised."""
    said = []
    monkeypatch.setattr("otel_pg_exporter.encoding.treatment.say", lambda level, message: said.append(message))
    path = written(tmp_path, {"rules": [{"attribute": "a"}]})

    treatment = Treatment.of(Settings(routing_file=path))

    assert RULES == treatment.rules
    (line,) = said
    assert line.startswith(f"the routing in {path} is not used: rule 1: category=None is not allowed")
