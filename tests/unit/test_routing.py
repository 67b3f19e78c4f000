"""Routing: which rule decides, and which attribute fills a column."""

from __future__ import annotations

import pytest

from otel_pg_exporter.encoding.tables import COLUMNS
from otel_pg_exporter.routing import CATEGORIES, RULES, Route, Rule, route
from otel_pg_exporter.routing.conventions import SOURCES, column_sources

CONSUMER = 5


@pytest.mark.parametrize(
    ("attributes", "category", "action"),
    [
        ({"otel_pg.category": "task", "gen_ai.operation.name": "chat"}, "task", None),
        ({"logfire.span_type": "log", "gen_ai.operation.name": "chat"}, "system", None),
        ({"logfire.span_type": "span", "gen_ai.operation.name": "chat"}, "agent", "llm"),
        ({"gen_ai.operation.name": "execute_tool", "openinference.span.kind": "LLM"}, "agent", "tool"),
        ({"gen_ai.operation.name": "invoke_workflow"}, "task", None),
        ({"gen_ai.operation.name": "search_memory"}, "agent", "search_memory"),
        ({"openinference.span.kind": "RETRIEVER", "traceloop.span.kind": "task"}, "agent", "retrieval"),
        ({"openinference.span.kind": "UNKNOWN", "traceloop.span.kind": "task"}, "task", None),
        ({"traceloop.span.kind": "agent", "mlflow.spanType": "TASK"}, "agent", "invoke"),
        ({"mlflow.spanType": "TOOL", "cicd.pipeline.name": "x"}, "agent", "tool"),
        ({"cicd.pipeline.name": "x", "celery.action": "run"}, "deployment", None),
        ({"deployment.id": "x"}, "deployment", None),
        ({"celery.action": "run"}, "task", None),
        ({"celery.action": "apply_async"}, "system", None),
        ({"gen_ai.agent.name": "x"}, "system", None),
        ({"gen_ai.request.model": "gpt-5", "gen_ai.system": "openai"}, "agent", "llm"),
        ({"gen_ai.request.model": "gpt-5", "traceloop.span.kind": "task"}, "task", None),
        ({"deployment.environment.name": "x"}, "system", None),
        ({"gen_ai.operation.name": 5}, "agent", "5"),
    ],
)
def test_the_first_rule_that_knows_the_value_decides(attributes, category, action):
    """Explicit kinds decide in their order of precedence; names of agents and environments never do."""
    routed = route(attributes, kind=1)

    assert (category, action) == (routed.category, str(routed.action) if routed.action else None)


def test_only_the_outermost_chain_is_a_task():
    """A CHAIN without a parent is a task; one inside is a step."""
    chain = {"openinference.span.kind": "CHAIN"}

    assert route(chain, kind=1, is_root=True).category == "task"
    assert (route(chain, kind=1).category, route(chain, kind=1).action) == ("agent", "step")


def test_a_messaging_consumer_is_a_task():
    """A consumer span of a messaging system is a task; any other consumer is not."""
    assert route({"messaging.system": "kafka"}, kind=CONSUMER).category == "task"
    assert route({}, kind=CONSUMER).category == "system"
    assert route({"messaging.system": "kafka"}, kind=4).category == "system"


def test_log_records_go_by_their_event_name():
    """A GenAI event is an agent's; other records are system events."""
    assert route({}, event_name="gen_ai.evaluation.result").category == "agent"
    assert route({}, event_name="session.start").event_type == "event"
    assert route({}).event_type == "log"


def test_a_users_own_rule_comes_first():
    """Rules are data: one more before them changes where records go."""
    own = Rule("my.kind", {"job": Route("task", "my_job")})

    assert route({"my.kind": "job"}, kind=1, rules=(own, *RULES)).event_type == "my_job"


def test_own_type_and_action_name_the_row():
    """Explicit event type and action are taken as they are."""
    routed = route({"otel_pg.category": "agent", "otel_pg.event_type": "t", "otel_pg.action": "a"}, kind=1)

    assert (routed.event_type, routed.action) == ("t", "a")


def test_the_current_name_wins_over_the_older_one():
    """Where two conventions fill one column, the first of its sources is taken."""
    keys = ("gen_ai.system", "gen_ai.provider.name", "llm.model_name", "gen_ai.request.model")

    chosen = column_sources(SOURCES["agent"], keys)

    assert chosen["provider"] == "gen_ai.provider.name"
    assert chosen["model"] == "gen_ai.request.model"


def test_sources_name_columns_that_exist():
    """Every column that attributes may fill is one of its table."""
    for category, sources in SOURCES.items():
        assert set(sources) <= set(COLUMNS[CATEGORIES[category]])
