"""Who is warned that a server's certificate is not checked."""

from __future__ import annotations

import pytest

from otel_pg_exporter.database import connecting


@pytest.mark.parametrize(
    ("address", "ssl_mode", "expected"),
    [
        ("8.8.8.8", "prefer", True),
        ("8.8.8.8", "require", True),
        ("2a00:1450:4001:82b::200e", "disable", True),
        ("8.8.8.8", "verify-ca", False),
        ("8.8.8.8", "verify-full", False),
        ("10.1.2.3", "prefer", False),
        ("127.0.0.1", "disable", False),
        ("fe80::1%eth0", "prefer", False),
        ("", "prefer", False),
    ],
)
def test_a_server_on_the_internet_is_exposed_without_a_check(address, ssl_mode, expected):
    """A public address needs verify-ca or verify-full; the own machine, a private network and a socket do not."""
    assert expected is connecting.is_exposed(address, ssl_mode)


def test_one_warning_for_a_server(caplog):
    """It says what to set; a second connection says nothing."""
    connecting._warn_once.cache_clear()
    with caplog.at_level("WARNING"):
        for _ in range(2):
            connecting._warn_once("host=db.example.com", "require")

    # pytest listens at the root and at loggers that do not propagate: the same record may come twice
    lines = [record.getMessage() for record in {id(record): record for record in caplog.records}.values()]
    (said,) = [line for line in lines if "pose as host=db.example.com" in line]
    assert "Set POSTGRES_SSL_MODE=verify-full and POSTGRES_SSL_ROOT_CERT" in said
