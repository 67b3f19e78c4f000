"""Settings: where they come from, and what is said about a wrong one."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

import pytest

from otel_pg_exporter import (
    AsyncEventQuery,
    AsyncEventStore,
    EventIntegration,
    EventQuery,
    EventStore,
    configure,
    migrate,
)
from otel_pg_exporter.config import Settings, hide_password
from otel_pg_exporter.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _no_libpq_variables(monkeypatch):
    for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE", "PGPORT", "PGUSER"):
        monkeypatch.delenv(name, raising=False)


def test_with_nothing_set_the_embedded_server_is_used():
    """No variable and no argument mean the embedded server and schema otel."""
    settings = Settings.from_env({})

    assert settings.is_embedded
    assert (settings.schema, settings.table_prefix) == ("otel", "")


def test_an_argument_wins_over_the_dsn_variable_and_that_over_the_parts():
    """Precedence: argument, OTEL_EXPORTER_POSTGRES_DSN, POSTGRES_*."""
    parts = {"POSTGRES_HOST": "c", "POSTGRES_DATABASE": "d"}
    both = {**parts, "OTEL_EXPORTER_POSTGRES_DSN": "host=b"}

    assert Settings.from_env(parts).conninfo == "host='c' dbname='d'"
    assert Settings.from_env(both).conninfo == "host=b"
    assert Settings.from_env(both, dsn="host=a").conninfo == "host=a"
    assert Settings.from_env(both, host="a").conninfo == "host='a' dbname='d'"


@pytest.mark.parametrize("given", [{"password": "hunter2"}, {"ssl_mode": "verify-full"}, {"ssl_root_cert": "/ca.pem"}])
def test_what_says_how_to_connect_does_not_hide_where(given):
    """Beside a DSN it is refused: neither may win alone, nor the embedded server be used."""
    (name,) = given
    with pytest.raises(ConfigurationError, match=f"^{name}= is given, and OTEL_EXPORTER_POSTGRES_DSN says where"):
        Settings.from_env({"OTEL_EXPORTER_POSTGRES_DSN": "host=b"}, **given)
    with pytest.raises(ConfigurationError, match=f"^{name}= is given, and dsn= says where"):
        Settings.from_env({}, dsn="host=a", **given)
    assert "host='c'" in str(Settings.from_env({"POSTGRES_HOST": "c"}, **given).conninfo)
    assert "host='d'" in str(Settings.from_env({"OTEL_EXPORTER_POSTGRES_DSN": "host=b"}, host="d", **given).conninfo)


def test_an_empty_argument_hides_no_variable():
    """As of a variable that is not set: a DSN is refused, for another database is not meant; parts count as none."""
    environ = {"OTEL_EXPORTER_POSTGRES_DSN": "host=b"}
    for empty in ("", " "):
        with pytest.raises(ConfigurationError, match=r"^dsn='.*' is not allowed; allowed is a URI"):
            Settings.from_env(environ, dsn=empty)
    assert "host=b" == Settings.from_env(environ, host="", password="").conninfo


def test_libpq_variables_are_left_to_libpq(monkeypatch):
    """With PGHOST set libpq gets an empty connection string, and no embedded server starts."""
    monkeypatch.setenv("PGHOST", "somewhere")

    assert Settings.from_env({}).conninfo == ""


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("EVENT_TABLE_PREFIX", 'x"; DROP TABLE y; --', "^[a-z_]"),
        ("EVENT_TABLE_PREFIX", "Upper", "^[a-z_]"),
        ("EVENT_SCHEMA", "a-b", "^(?!pg_)[a-z_]"),
        ("EVENT_BATCH_SIZE", "0", "from 1 to"),
        ("EVENT_BATCH_SIZE", "many", "a whole number"),
        ("EVENT_POOL_MAX", "51", "from 2 to 50"),
        ("EVENT_AUTO_MIGRATE", "maybe", "true, false"),
        ("POSTGRES_PORT", "99999", "65535"),
        ("POSTGRES_SSL_MODE", "on", "verify-full"),
        ("OTEL_EXPORTER_POSTGRES_DSN", "mysql://h/d", "postgresql://"),
        ("OTEL_EXPORTER_POSTGRES_DSN", "postgresql://h:5432,g:65536/d", "0 to 65535"),
        ("OTEL_EXPORTER_POSTGRES_DSN", "postgresql://[::1]:x/d", "0 to 65535"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(variable, value, allowed):
    """The message holds the variable, the value and what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_env({variable: value})

    assert all(part in str(caught.value) for part in (variable, repr(value), allowed))


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u@a:5432,b:5433/d?target_session_attrs=read-write",
        "postgresql://[::1]:5432,[2001:db8::1],c/d",
        "postgres://u:p@%2Frun%2Fpg:6432/d",
        "postgresql://a,b?dbname=d",
        "postgresql://u:p#w@h:5432/d",
        "postgresql:///d?host=a,b&port=5432,5433",
        "postgresql://",
    ],
)
def test_what_libpq_takes_for_a_uri_is_one(dsn):
    """Several hosts with ports too, of which failover makes use."""
    from psycopg.conninfo import conninfo_to_dict

    assert conninfo_to_dict(dsn) is not None
    assert dsn == Settings.from_env({"OTEL_EXPORTER_POSTGRES_DSN": dsn}).conninfo


def test_a_password_with_an_at_sign_is_not_taken_for_a_host():
    """libpq would, and show the half of it in an error."""
    with pytest.raises(ConfigurationError, match="%40") as caught:
        Settings.from_env({}, dsn="postgresql://user:hun@ter2@h/d")
    assert "ter2" not in str(caught.value)


def test_an_unknown_setting_is_named():
    """A misspelt keyword is no silent default."""
    with pytest.raises(ConfigurationError, match="'batchsize'; did you mean 'batch_size'"):
        Settings.from_env({}, batchsize=3)
    with pytest.raises(ConfigurationError, match="'frobnicate'; known are: dsn, host"):
        Settings.from_env({}, frobnicate=3)
    with pytest.raises(ConfigurationError, match="OTEL_SERVICE_NAME"):
        Settings.from_env({}, service_name="shop")


def test_a_connection_string_is_no_settings():
    """It is refused at once, without its password; so are fields beside settings, that would be ignored."""
    for call in (configure, EventQuery, AsyncEventQuery, EventStore, AsyncEventStore, EventIntegration, migrate.status):
        with pytest.raises(ConfigurationError) as caught:
            call("postgresql://ada:hunter2@h/db")
        assert "settings='postgresql://ada:***@h/db' is not allowed" in str(caught.value)
        assert "dsn=" in str(caught.value)
    with pytest.raises(ConfigurationError, match="settings=<dict> is not allowed"):
        configure({"dsn": "postgresql://h/db"})
    for given in ({"schema": "other"}, {"redact": False}):
        with pytest.raises(ConfigurationError, match="one of them"):
            configure(Settings.from_env({}), **given)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://user:hunter2@host/db",
        "postgresql://user:hun%2Fhunter2@host/db?sslmode=require",
        "postgresql://user@host/db?password=hunter2",
        "host=h user=u password=hunter2",
        "host=h password='it is hunter2' user=u",
        "host=h sslpassword = hunter2",
    ],
)
def test_no_password_is_shown(dsn):
    """Neither repr nor target nor an error message shows a password, however it is written."""
    settings = Settings.from_env({}, dsn=dsn)

    assert "hunter2" not in repr(settings) + settings.target
    assert "hunter2" not in repr(Settings.from_env({"POSTGRES_PASSWORD": "hunter2"}))
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_env({}, dsn="postgres//user:hunter2@host")
    assert "hunter2" not in str(caught.value)


def test_a_password_with_quotes_reaches_libpq_whole():
    """Quotes and backslashes in the parts are escaped for libpq."""
    from psycopg.conninfo import conninfo_to_dict

    settings = Settings.from_env({"POSTGRES_HOST": "h", "POSTGRES_PASSWORD": "it's \\ me"})

    assert conninfo_to_dict(settings.conninfo)["password"] == "it's \\ me"


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("OTEL_EXPORTER_POSTGRES_DNS", "did you mean OTEL_EXPORTER_POSTGRES_DSN?"),
        ("OTEL_EXPORTER_POSTGRESQL_DSN", "did you mean OTEL_EXPORTER_POSTGRES_DSN?"),
        ("POSTGRES_HOTS", "did you mean POSTGRES_HOST?"),
        ("EVENT_RETENTION_TASKS_DAYS", "did you mean EVENT_RETENTION_TASK_DAYS?"),
        ("EVENT_BATCHSIZE", "did you mean EVENT_BATCH_SIZE?"),
        ("EVENT_CAPTURE_INPUT", "did you mean EVENT_CAPTURE_INPUTS?"),
        ("OTEL_EXPORTER_POSTGRES_COMPRESSION", "does nothing"),
    ],
)
def test_a_variable_that_is_misspelt_is_told(heard, variable, meant):
    """What it was to change stays as it is."""
    Settings.from_env({variable: "1"})

    (line,) = heard
    assert f"the environment variable {variable} is not known" in line
    assert line.endswith(meant)


@pytest.mark.parametrize(
    "environ",
    [
        {"POSTGRES_DB": "shop", "POSTGRES_INITDB_ARGS": "-k", "POSTGRES_HOST_AUTH_METHOD": "trust"},
        {"EVENT_LOOP": "uvloop", "EVENT_NAME": "x"},
        {"EVENT_POOL_MAX": "9", "EVENT_POOL_MAX2": "8"},
    ],
)
def test_variables_of_others_are_theirs(heard, environ):
    """What looks like none of ours, or stands beside it, is no slip."""
    Settings.from_env(environ)

    assert [] == list(heard)


def test_of_several_patterns_the_wrong_one_is_named():
    """With what is wrong about it: the others may be long."""
    with pytest.raises(ConfigurationError, match=r"EVENT_REDACT_PATTERNS=.*; '\(b' is none: missing \)"):
        Settings.from_env({"EVENT_REDACT_PATTERNS": "a+||(b"})


def test_several_texts_may_be_given_in_any_collection():
    """A set of them is as good as a list; in one text they are separated."""
    for given in ({"a+"}, ("a+",), ["a+"], frozenset({"a+"}), "a+"):
        assert ("a+",) == Settings.from_env({}, redact_patterns=given).redact_patterns
    assert ("a+", "b+") == Settings.from_env({}, redact_patterns="a+||b+").redact_patterns


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"redact_patterns": [re.compile("a+")]}, "redact_patterns=<Pattern>"),
        ({"redact_keys": iter(["a"])}, "redact_keys=<list_iterator>"),
    ],
)
def test_what_is_no_text_is_not_taken_for_one(given, told):
    """What str() makes of it would be another pattern than was meant, and let secrets pass."""
    with pytest.raises(ConfigurationError, match=f"{told} is not allowed; allowed is a text, or a list of texts"):
        Settings.from_env({}, **given)


def test_settings_that_differ_are_told_without_secrets():
    """Where the database is counts as a whole, and is no difference; a password in a URL is not shown."""
    one = Settings.from_env({}, host="h", ssl_root_cert="/a.pem", cache_url="redis://:hunter2@one/0")
    other = Settings.from_env({}, host="h", ssl_root_cert="/b.pem", cache_url="redis://:hunter3@two/0")

    assert ["cache_url='redis://:***@two/0'"] == one.differences(other)


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("durability", "forever", "one of memory, process, power"),
        ("batch_size", 0, "a whole number from 1 to 100000"),
        ("auto_migrate", "perhaps", "one of true, false"),
        ("schema", "Events", "a name matching"),
        ("schema", "pg_events", "a name matching"),
        ("password", object(), "a text"),
        ("spool_dir", b"/tmp", "a text"),
        ("host", ["a", "b"], "a text"),
    ],
)
def test_settings_that_are_made_by_hand_are_checked_too(field, value, allowed):
    """A durability that nobody knows would be none; what str() makes of a secret of pydantic's is a row of stars."""
    for make in (Settings, partial(replace, Settings()), Settings.from_env):
        with pytest.raises(ConfigurationError, match=rf"^{field}=.* is not allowed; allowed is {re.escape(allowed)}"):
            make(**{field: value})
    with pytest.raises(ConfigurationError, match="EVENT_POOL_MIN=9 is larger than EVENT_POOL_MAX=5"):
        Settings(pool_min_size=9, pool_max_size=5)


def test_settings_that_are_made_by_hand_are_of_the_fields_types(tmp_path):
    """A false that is a text does not switch on; folders may be paths."""
    settings = Settings(auto_migrate="false", batch_size="512", redact_keys="a,b", spool_dir=tmp_path)

    assert (False, 512, ("a", "b"), str(tmp_path)) == (
        settings.auto_migrate, settings.batch_size, settings.redact_keys, settings.spool_dir,
    )  # fmt: skip
    assert settings == replace(settings)


@pytest.mark.parametrize(
    ("conninfo", "shown"),
    [
        ("postgresql://ada:planted@h/db", "postgresql://ada:***@h/db"),
        ("host=h password='plan ted' user=ada", "host=h password=*** user=ada"),
        ("host=h passwrd=planted user=ada", "host=h passwrd=*** user=ada"),
        ("host=h pass = planted user=ada", "host=h pass = *** user=ada"),
        ("postgresql://h/db?sslpassword=planted&pwd=planted&x=1", "postgresql://h/db?sslpassword=***&pwd=***&x=1"),
        ("host=h password=plan&ted user=ada", "host=h password=*** user=ada"),
        (r"host=h password=plan\ ted user=ada", "host=h password=*** user=ada"),
        (r"host=h password='plan\' ted' user=ada", "host=h password=*** user=ada"),
        ("host=h password=plan ted planted user=ada", "host=h password=*** user=ada"),
        ("host=h password='plan ted", "host=h password=***"),
        ("host=h pasword=planted", "host=h pasword=***"),
        ("host=h password=pl:an@ted user=ada", "host=h password=*** user=ada"),
        ("postgresql://ada:pl@n#t?e/d@h/db", "postgresql://ada:***@h/db"),
        ("host=h passfile=/home/ada/.pgpass sslkey=/k", "host=h passfile=/home/ada/.pgpass sslkey=/k"),
    ],
)
def test_a_password_is_hidden_however_its_name_is_spelt(conninfo, shown):
    """libpq does not know such a name, and the error shows where it was."""
    assert shown == hide_password(conninfo)
