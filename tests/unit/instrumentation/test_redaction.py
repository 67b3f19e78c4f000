"""Secrets do not leave the process, whatever way they come; what only looks like one does."""

from __future__ import annotations

import json
import re
import time
from types import SimpleNamespace
from typing import Any

import pytest

from instrumentation import action, configure_capture, current, event, task
from instrumentation import attributes as names
from instrumentation.capture import settings
from instrumentation.encoding import json_text
from instrumentation.redaction import Redactor

# The key of each is the name of a secret, the value has no look of its own.
BY_KEY = [
    "password",
    "PASSWORD",
    "db_password",
    "dbPassword",
    "passwd",
    "user.passwd",
    "passphrase",
    "secret",
    "client_secret",
    "clientSecret",
    "token",
    "access_token",
    "accessToken",
    "refresh-token",
    "GITHUB_TOKEN",
    "x-auth-token",
    "api_key",
    "apikey",
    "apiKey",
    "API-KEY",
    "x-api-key",
    "OPENAI_API_KEY",
    "Authorization",
    "Proxy-Authorization",
    "cookie",
    "Set-Cookie",
    "credential",
    "aws_credentials",
    "private_key",
    "privateKey",
    "secret_access_key",
    "accessKey",
    "Ocp-Apim-Subscription-Key",
    "x-functions-key",
    "DD-APPLICATION-KEY",
    "consumer_key",
    "LICENSE_KEY",
    "OPENAI_KEY",
    "stripeKey",
    "dsn",
    "DATABASE_DSN",
    "mypassword",
    "awssecretaccesskey",
    "basic_auth",
    "smtp_pass",
    "passWord",
]

BY_A_WORD = [
    "pass_word",
    "pass-phrase",
    "password_confirmation",
    "passwordHash",
    "tokenString",
    "password2",
    "secret.name",
    "api key prod",
]
"""Names in which the word does not come last."""

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAplanted\nq83vEjRWplanted\n-----END RSA PRIVATE KEY-----"
# (text, the part of it that must be gone)
BY_LOOK = [
    ("Authorization: Bearer planted.Token_1234", "planted.Token_1234"),
    ("sent bearer abcdefplanted to it", "abcdefplanted"),
    ("Authorization: Basic cGxhbnRlZDpzZWNyZXQ=", "cGxhbnRlZDpzZWNyZXQ"),
    ("curl -H 'Basic cGxhbnRlZDpzZWNyZXQ='", "cGxhbnRlZDpzZWNyZXQ"),
    ("key sk-plantedABCDEF1234567890 used", "sk-plantedABCDEF1234567890"),
    ("sk-proj-planted_ABC-DEF1234567890", "planted_ABC"),
    ("sk-ant-api03-plantedABCDEF1234567890", "plantedABCDEF"),
    ("sk_" + "live_plantedABCDEF123456", "plantedABCDEF123456"),
    ("ghp_plantedABCDEF1234567890abcdefghijkl", "plantedABCDEF"),
    ("github_pat_11PLANTED0_abcdefghijklmnop", "11PLANTED0"),
    ("https://ghp_plantedABCDEF1234567890abcdefghijkl@github.com/x", "plantedABCDEF"),
    ("xox" + "b-123456789012-planted", "123456789012-planted"),
    ("xox" + "p-123456789012-planted", "123456789012-planted"),
    ("AKIAIOSFODNN7PLANTED", "AKIAIOSFODNN7PLANTED"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJwbGFudGVkIjoxfQ.c2lnbmF0dXJl", "eyJwbGFudGVkIjoxfQ"),
    (PEM, "MIIEowIBAAKCAQEAplanted"),
    (PEM.replace("\n", "\\n"), "q83vEjRWplanted"),
    (PEM[:60], "MIIEowIBAAKC"),
    ("postgresql://user:planted%40pw@host:5432/db", "planted%40pw"),
    ("redis://:plantedpw@host/0", "plantedpw"),
    ("amqp://user:pl@nted@host/", "pl@nted"),
    ("host=db user=me password=plantedpw dbname=x", "plantedpw"),
    ("host=db password='planted pw' dbname=x", "planted pw"),
    ("{'password': 'plantedpw', 'user': 'me'}", "plantedpw"),
    ('{"api_key": "planted key"}', "planted key"),
    (r"{\"api_key\": \"planted key\"}", "planted key"),
    ("Config(user='me', secret='plantedpw')", "plantedpw"),
    ("https://host/?token=plantedpw&x=1", "plantedpw"),
    ("OPENAI_API_KEY=plantedpw python x.py", "plantedpw"),
    ("deploy --password plantedpw --verbose", "plantedpw"),
    ("deploy --api-key=plantedpw", "plantedpw"),
    ("Cookie: session=planted; other=planted2", "planted2"),
    ('Cookie: session="planted"; other=planted2', "planted"),
    ('Authorization: Digest username="me", response="planted"', "planted"),
    ("assert password == 'plantedpw'", "plantedpw"),
    ("connect(password=b'plantedpw')", "plantedpw"),
    ("Config(secret=SecretStr('plantedpw'), user='me')", "plantedpw"),
    ("{'password': ['one', 'plantedpw'], 'user': 'me'}", "plantedpw"),
    ("{'token': {'value': 'plantedpw'}}", "plantedpw"),
    ("user: me\npassword: |\n  plantedpw\nhost: db", "plantedpw"),
    ("AIzaSyPlantedABCDEFGHIJKLMNOPQRSTUVWX", "SyPlantedABC"),
    ("glpat-PlantedABCDEFGHIJKL", "PlantedABC"),
    ("hf_PlantedABCDEFGHIJKLMNOP", "PlantedABC"),
    ("gsk_PlantedABCDEFGHIJKLMNOPQRSTUVWXYZ0123", "PlantedABC"),
    ("xai-PlantedABCDEFGHIJKLMNOPQRSTUVWXYZ0123", "PlantedABC"),
    ("pplx-PlantedABCDEFGHIJKLMNOPQRSTUVWXYZ01", "PlantedABC"),
    ("tvly-dev-PlantedABCDEFGHIJKLMNOP", "PlantedABC"),
    ("nvapi-PlantedABCDEFGHIJKLMNOPQRSTUVW", "PlantedABC"),
    ("lsv2_" + "pt_planted0123456789abcdef_0123456789", "planted0123"),
    ("lsv2_" + "sk_planted0123456789abcdef_0123456789", "planted0123"),
    ("pcsk_PlantedABCDEFGHIJKLMNOP", "PlantedABC"),
    ("SG" + ".PlantedABCDEFGHIJKLMNO.PlantedABCDEFGHIJKLMNOPQ", "PlantedABC"),
    ("git clone https://planted0123456789abcdef0123@host/x.git", "planted0123"),
    ("DB_PASS=plantedpw ./migrate", "plantedpw"),
    ("Settings(smtp_pass='planted pw')", "planted pw"),
    ("headers [('Accept', '*/*'), ('X-Api-Key', 'plantedpw')]", "plantedpw"),
    ("[(b'host', b'h'), (b'Cookie', b'session=planted')]", "planted"),
    ("Invalid API key: plantedpw", "plantedpw"),
    ("Ocp-Apim-Subscription-Key: plantedpw", "plantedpw"),
    ("OPENAI_KEY=plantedpw python app.py", "plantedpw"),
    ("https://b.s3.example.com/k?X-Amz-Signature=0planted1234567890abcdef&x=1", "planted1234"),
    ("sv=2022-11-02&sig=Planted%2Babcdefghijkl0%3D&se=2026", "Planted"),
    ("https://hooks.slack.com/services/T000/B000/Planted0123", "Planted0123"),
    ("https://discord.com/api/webhooks/123456/Planted-0123", "Planted-0123"),
    ("curl -s -u me:plantedpw https://host/x", "plantedpw"),
    ("curl --user admin:plantedpw localhost:9200/_cat", "plantedpw"),
    ("postgresql://user:pa#planted@host/db", "planted"),
    ("mysql://user:planted?x@host/db", "planted"),
    ("redis://:a/planted@host/0", "planted"),
    ("amqp://guest:a#planted@host//", "planted"),
    ("ALTER ROLE app WITH LOGIN PASSWORD 'planted pw' VALID UNTIL 'infinity'", "planted pw"),
    ("CREATE USER app ENCRYPTED PASSWORD 'it''s planted'", "planted"),
    (r"execute('CREATE USER app PASSWORD \'planted pw\'')", "planted pw"),
    ("CREATE USER 'app'@'%' IDENTIFIED BY 'planted pw'", "planted pw"),
    ("ALTER USER app IDENTIFIED WITH caching_sha2_password BY 'planted pw'", "planted pw"),
    ("ALTER USER a IDENTIFIED WITH 'mysql_native_password' BY 'planted pw'", "planted pw"),
    ("<server><id>nexus</id><password>planted pw</password></server>", "planted pw"),
    ('<ns:clientSecret type="plain">\n  planted pw\n</ns:clientSecret>', "planted pw"),
    ("<db_pass><![CDATA[planted <pw>]]></db_pass>", "planted"),
    ("machine host login me password plantedpw", "plantedpw"),
    (r"machine host\nlogin me\npassword plantedpw\n", "plantedpw"),
    ("machine host\n  login me\n  password plantedpw\n", "plantedpw"),
]

INNOCENT_KEYS = [
    "input_tokens",
    "gen_ai.usage.output_tokens",
    "max_tokens",
    "max_token",
    "token_count",
    "llm.token_count.prompt",
    "tokens",
    "tokenizer",
    "token_type",
    "eos_token",
    "author",
    "authors",
    "authority",
    "authenticated",
    "secretary",
    "keyboard",
    "key",
    "primary_key",
    "cache_key",
    "idempotency_key",
    "session_id",
    "session.id",
    "user.id",
    "passenger",
    "pass_rate",
    "compass",
    "passed",
    "bypass",
    "path",
    "monkey",
]

INNOCENT_TEXTS = [
    "a task-abcdefgh12345 and a risk-assessment-2024",
    "basic understanding of Basic Authentication",
    "bearer token",
    "sk-learn-contrib is a package",
    "https://host:8080/path?x=1#y",
    "user@host.example and git@github.com:owner/repo.git",
    "at 12:30 the token was bought; tokens: 5 were used",
    "unexpected token: '<'",
    "the author= is me, input_tokens=5, max_tokens: 7, tokenizer=bpe",
    "the passwords are long, the secret of success",
    "ghost_writer eyJ AKIA",
    "ssh://deploy@build-server/x and https://continuous-integration@host/y",
    "two-pass: first the names; pass: 12, fail: 3; bypass=1",
    "fields ('key', 'name') and (5, 'token'), the sig=short, its signature= none",
    "curl -u https://host/x, https://host/hooks/x, and https://discord.com/app",
    "http://host:8080/path?to=ada@host.example and http://[::1]:80/@x, https://medium.com:443/@ada",
    "http://host:{port}/mail@x and file://C:/Users/ada@x",
    "it isn't the password that 'they' know; the fault was identified by Bob's team",
    "<label>Password</label> <key>name</key> <max_tokens>5</max_tokens> <password/> <secret></secret>",
    "login and password are asked for; login with a password",
    "xai-sdk, an early-stopping-callback, SG. and nvapi-client",
]


@pytest.mark.parametrize("key", [*BY_KEY, *BY_A_WORD])
def test_secret_names(key: str) -> None:
    """Names of secrets are known, whatever their case and separators."""
    assert Redactor().is_secret(key)


@pytest.mark.parametrize("key", INNOCENT_KEYS)
def test_innocent_names(key: str) -> None:
    """Names that only resemble those of secrets are not taken for them."""
    assert not Redactor().is_secret(key)


@pytest.mark.parametrize(("text", "secret"), BY_LOOK)
def test_secret_looks(text: str, secret: str) -> None:
    """What looks like a secret is replaced within the text."""
    cleaned = Redactor().text(text)
    assert secret not in cleaned
    assert "[redacted]" in cleaned


@pytest.mark.parametrize("text", INNOCENT_TEXTS)
def test_innocent_texts(text: str) -> None:
    """Texts that only resemble secrets stay as they are."""
    assert Redactor().text(text) == text.replace("tokens: 5", "tokens: 5")


def test_the_rest_of_the_text_stays() -> None:
    """Only the secret goes: who, where and what stays readable."""
    clean = Redactor().text
    assert clean("postgresql://user:pw@host:5432/db") == "postgresql://user:[redacted]@host:5432/db"
    assert clean("host=db password=pw dbname=x") == "host=db password=[redacted] dbname=x"
    assert clean("Bearer abcdefgh1 done") == "Bearer [redacted] done"
    assert clean("f(token=b'a b', user='me')") == "f(token=[redacted], user='me')"
    assert clean("{'token': ['a', 'b'], 'user': 'me'}") == "{'token': [redacted], 'user': 'me'}"
    assert clean("if token == 'a b':") == "if token == [redacted]:"
    assert clean("{'password': 'a b', 'user': 'me'}") == "{'password': [redacted], 'user': 'me'}"


def every_way_out(payload: Any, text: str) -> None:
    """Send a value and a text through every place that records something."""

    @task
    def work(argument: Any, *rest: Any, **named: Any) -> Any:
        current().set("attribute", payload)
        current().set_attributes({"more": payload, "text": text})
        event("an.event", body=payload, attributes={"payload": payload, "text": text})
        event("a.text", body=text)
        current().event("inner", payload=payload, text=text)
        return payload

    @task
    def items() -> Any:
        yield payload
        yield text

    work(payload, payload, text, named=payload, other=text)
    list(items())
    with action(text, attributes={"payload": payload}) as block:
        block.input(payload)
        block.output(text)
    with action("failing") as block:
        block.fail(text)
    with action("cancelled") as block:
        block.cancel(text)
    with pytest.raises(ValueError), task("raising"):  # noqa: PT011
        raise ValueError(text) from RuntimeError(text)
    with task("fails") as block:
        block.fail(KeyError(text))


def shapes_of(key: str, secret: str) -> Any:
    return [
        {key: secret},
        {"deep": [{key: {"inside": secret}}]},
        [(key, secret)],
        [[key.encode(), secret.encode()]],
        {key.encode(): secret},
        {"name": key, "value": secret},
        SimpleNamespace(**{"password": secret}),
        ["run", "--password", secret],
    ]


@pytest.mark.parametrize("key", [*BY_KEY, *BY_A_WORD])
def test_no_way_out_by_name(recorded: Any, key: str) -> None:
    """A value under a secret's name reaches no span and no log record, in any shape."""
    secret = "plantedvalue"
    every_way_out(shapes_of(key, secret), "nothing")
    with task("direct", attributes={key: secret}) as block:
        block.set(key, secret)
        block.event("e", **{key: secret})

    @task
    def argument(**named: str) -> None: ...

    argument(**{key: secret})
    assert len(recorded.spans) == 9
    assert len(recorded.logs) == 4
    assert secret not in recorded.everything()


@pytest.mark.parametrize(("text", "secret"), BY_LOOK)
def test_no_way_out_by_look(recorded: Any, text: str, secret: str) -> None:
    """A text that looks like a secret reaches no span and no log record."""
    every_way_out({"a": [text, {"b": text}], text: 1, "bytes": text.encode()}, f"before {text}")
    everything = recorded.everything()
    for form in {secret, json.dumps(secret)[1:-1]}:
        assert form not in everything
    assert everything.count("[redacted]") > 10


def test_innocent_values_arrive(recorded: Any) -> None:
    """Values under innocent names are recorded as they are."""
    with task("t") as block:
        for number, key in enumerate(INNOCENT_KEYS):
            block.set(f"x.{key}", number)
        block.input(dict.fromkeys(INNOCENT_KEYS, "kept"))
    assert json.loads(recorded.span.attributes["input.value"]) == dict.fromkeys(INNOCENT_KEYS, "kept")
    assert [recorded.span.attributes[f"x.{key}"] for key in INNOCENT_KEYS] == list(range(len(INNOCENT_KEYS)))


def test_none_and_switches_stay(recorded: Any) -> None:
    """Whether a secret is there is no secret: None, True and False stay."""
    assert json_text({"password": None, "token": True}) == '{"password":null,"token":true}'


JSON_TEXTS = [
    '{"secret": {"labels": {"a": "b"}, "data": {"k": "planted"}}}',
    '{"credentials": [[["planted"]]], "user": "me"}',
    ' {"x": {"password_confirmation": "planted"}}',
    '{"x": "{\\"secret\\": {\\"k\\": [[\\"planted\\"]]}}"}',
    '[{"name": "DB_PASSWORD", "value": "planted"}, {"Value": "planted", "Key": "token"}]',
    '[{"content": "the token: planted"}, {"token": null, "secret": true}]',
]


@pytest.mark.parametrize("text", JSON_TEXTS)
def test_json_text_stays_json_text_without_secrets(recorded: Any, text: str) -> None:
    """Tools of models are called with it: names of members tell what is secret, however deep it is nested."""
    task("t")(lambda arguments, *more: arguments)(text, [text])
    with task("b") as block:
        block.set("payload", text)
        block.input(text)
    for span in recorded.spans:
        for value in (span.attributes[names.INPUT_VALUE], span.attributes.get("payload", "{}")):
            assert "planted" not in value
            inner = json.loads(value)
            for one in inner.values() if isinstance(inner, dict) else ():
                assert not isinstance(one, str) or one.lstrip()[:1] != "{" or json.loads(one)


def test_a_member_that_says_the_name_may_come_after_the_value(recorded: Any) -> None:
    """As AWS, Kubernetes and forms have it."""
    task("t")(lambda *given: None)({"value": "planted", "name": "DB_PASSWORD"}, {"Value": "planted", "Key": "token"})
    assert "planted" not in recorded.span.attributes[names.INPUT_VALUE]
    assert 2 == recorded.span.attributes[names.INPUT_VALUE].count("[redacted]")


def test_json_text_that_hides_nothing_stays_as_it_is(recorded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Letter by letter; but for what own patterns find, in the text as a whole."""
    text = '{ "token": null,  "max_tokens": 5, "n": 1.50 }'
    with task("b") as block:
        block.set("payload", text)
    assert text == recorded.span.attributes["payload"]
    configure_capture(redact_patterns=['"n": [0-9.]+'])
    with task("c") as block:
        block.set("payload", text)
    assert text.replace('"n": 1.50', "[redacted]") == recorded.named("c").attributes["payload"]


def test_own_keys_and_patterns(recorded: Any) -> None:
    """Keys and patterns of the user's own hold beside the built-in ones, from now on, for old decorators too."""
    given = task("t", attributes={"customer_ssn": "123", "note": "order 4711-X"})
    with given:
        pass
    configure_capture(redact_keys=["ssn", "Account Holder"], redact_patterns=[r"\d{4}-X"])
    with given as block:
        block.input({"accountHolder": "Ann", "password": "x", "assn": "kept"})
    before, after = recorded.spans
    assert before.attributes["customer_ssn"] == "123"
    assert after.attributes["customer_ssn"] == "[redacted]"
    assert after.attributes["note"] == "order [redacted]"
    assert json.loads(after.attributes["input.value"]) == {
        "accountHolder": "[redacted]",
        "password": "[redacted]",
        "assn": "kept",
    }


def test_keys_and_patterns_from_the_environment(monkeypatch: pytest.MonkeyPatch, complaints_expected: Any) -> None:
    """The environment gives keys and patterns; a bad pattern is one warning that names it, and the others hold."""
    monkeypatch.setenv("EVENT_REDACT_KEYS", "ssn, iban")
    monkeypatch.setenv("EVENT_REDACT_PATTERNS", r"\d{4}-X||([||cust-\d+")
    clean = settings().redactor
    assert clean.is_secret("IBAN")
    assert clean.text("order 4711-X of cust-12") == "order [redacted] of [redacted]"
    (warning,) = [record.getMessage() for record in complaints_expected.records]
    assert "EVENT_REDACT_PATTERNS" in warning
    assert "'(['" in warning
    settings()
    assert len(complaints_expected.records) == 1


def test_a_secret_at_the_cut(recorded: Any) -> None:
    """A secret that the limit would cut in the middle is not recorded in part."""
    secret = "ghp_" + "planted1" * 5
    for limit in (16_384, 4_096):
        configure_capture(max_string=limit)
        for before in range(limit - 120, limit + 1):
            assert "planted" not in json_text("x " * (before // 2) + secret)
    with task("t") as block:
        block.set("note", " " * (16_384 - 20) + secret)
    with pytest.raises(ValueError), task("u"):  # noqa: PT011
        raise ValueError("y " * 20_000 + secret + " y" * 20_000)
    assert "planted" not in recorded.everything()


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "-",
        "://",
        "password",
        "eyJ",
        "token='",
        '\\"',
        "bearer ",
        "sk-",
        "a-",
        '"',
        "{'a':",
        "curl -u ",
        "('",
        "sig=",
        "://a:#",
        "://a:/@",
        "password '",
        "identified with ",
        "identified by '",
        "<a",
        "<a:",
        "<key a",
        "<token>a",
        "<token><![CDATA[",
        "login a ",
        "machine a login b ",
        "machine\\n",
    ],
)
def test_no_text_takes_long(unit: str) -> None:
    """No pattern is slow on a long text made to be slow."""
    text = unit * (20_000 // len(unit))
    begin = time.thread_time()
    Redactor().text("-----BEGIN PRIVATE KEY-----" + text)
    Redactor().text(text)
    Redactor().text("password=" + text)
    assert time.thread_time() - begin < 2


def test_patterns_are_on_top() -> None:
    """A redactor with own patterns still knows the built-in ones."""
    assert Redactor((), [re.compile("foo")]).text("foo password=x") == "[redacted] password=[redacted]"
