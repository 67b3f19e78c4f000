"""Settings in groups: over the environment, with errors that name the path."""

from __future__ import annotations

import pytest

from otel_pg_exporter import Settings, create_event_config, get_event_config
from otel_pg_exporter.errors import ConfigurationError


def test_every_setting_has_a_path():
    """Each field can be given in a group, no two in the same place, and arrives in its field."""
    given = {
        "database": {
            "dsn": "host=a", "host": "b", "port": 1, "name": "c", "user": "d", "password": "e", "ssl_mode": "require",
            "schema": "s", "table_prefix": "p_", "auto_migrate": False, "connect_timeout_seconds": 7, "data_dir": "/d",
        },
        "pool": {"min_size": 3, "max_size": 50},
        "batch": {"size": 5, "timeout_millis": 6, "queue_size": 7, "export_timeout_millis": 800, "notify": True},
        "spool": {"durability": "power", "dir": "/s", "max_bytes": 8, "policy": "drop-newest"},
        "health": {"monitoring": False, "interval_seconds": 9},
        "integration": {"enabled": False},
        "auto_capture": {"tasks": False, "agents": False, "deployments": False},
    }  # fmt: skip

    assert Settings(
        dsn="host=a", host="b", port=1, database="c", user="d", password="e", ssl_mode="require", schema="s",
        table_prefix="p_", auto_migrate=False, batch_size=5, batch_timeout_millis=6, queue_size=7,
        export_timeout_millis=800, notify=True, connect_timeout_seconds=7, pool_min_size=3, pool_max_size=50,
        durability="power", spool_dir="/s", spool_max_bytes=8, spool_policy="drop-newest",
        health_monitoring=False, health_interval_seconds=9, integration_enabled=False, auto_capture_tasks=False,
        auto_capture_agents=False, auto_capture_deployments=False, data_dir="/d",
    ) == create_event_config(**given)  # fmt: skip


def test_what_is_left_out_comes_from_the_environment(monkeypatch):
    """A value wins over its variable; None and silence do not."""
    monkeypatch.setenv("EVENT_BATCH_SIZE", "11")
    monkeypatch.setenv("EVENT_QUEUE_SIZE", "12")
    monkeypatch.setenv("EVENT_AUTO_CAPTURE_TASKS", "off")

    settings = create_event_config(batch={"size": 21, "queue_size": None})

    assert (21, 12, False, True) == (
        settings.batch_size, settings.queue_size, settings.auto_capture_tasks, settings.auto_capture_agents,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ({"databse": {}}, "unknown group 'databse'; known are: database, batch, pool"),
        ({"batch": {"sise": 1}}, "unknown setting 'batch.sise'; batch has: size, timeout_millis"),
        ({"batch": {5: 1}}, "unknown setting 'batch.5'"),
        ({"batch": {"size": 0}}, "batch.size='0' is not allowed; allowed is a whole number from 1 to 100000"),
        ({"batch": {"size": True}}, "batch.size='true' is not allowed"),
        ({"pool": {"max_size": 51}}, "pool.max_size='51' is not allowed; allowed is a whole number from 2 to 50"),
        ({"pool": {"max_size": 1}}, "pool.max_size='1' is not allowed; allowed is a whole number from 2 to 50"),
        ({"pool": {"min_size": 9, "max_size": 8}}, "EVENT_POOL_MIN=9 is larger than EVENT_POOL_MAX=8"),
        ({"auto_capture": {"tasks": "maybe"}}, "auto_capture.tasks='maybe' is not allowed; allowed is one of true"),
        ({"integration": {"enabled": {}}}, "integration.enabled='{}' is not allowed"),
        ({"database": "postgresql://u:hunter2@h/d"}, "database=<str> is not allowed; allowed is a mapping of dsn"),
        ({"database": {"dsn": "mysql://u:hunter2@h"}}, "database.dsn='mysql://u:***@h' is not allowed"),
    ],
)
def test_a_wrong_setting_is_named_by_its_path(groups, said):
    """With what is allowed, and without a password."""
    with pytest.raises(ConfigurationError) as caught:
        create_event_config(**groups)

    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_secret_is_not_shown():
    """Settings made of groups hide passwords as all others do."""
    shown = repr(create_event_config(database={"host": "h", "password": "hunter2"}))

    assert "password='***'" in shown
    assert "hunter2" not in shown


def test_without_configure_the_environment_is_in_force(monkeypatch):
    """What configure() was called with is another test: it sets providers, once in a process."""
    monkeypatch.setenv("EVENT_SCHEMA", "telemetry")

    assert "telemetry" == get_event_config().schema


def test_a_wrong_variable_is_an_error(monkeypatch):
    """It is not ignored."""
    monkeypatch.setenv("EVENT_AUTO_CAPTURE_AGENTS", "perhaps")

    with pytest.raises(ConfigurationError, match="EVENT_AUTO_CAPTURE_AGENTS='perhaps' is not allowed"):
        get_event_config()
