"""compose.yaml has what README says: three services, two of them on demand, and no port that others can reach."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
README = (ROOT / "README.md").read_text("utf-8")
DEFAULT = re.compile(r"\$\{(\w+):-([^}]*)\}")
CONTAINER_PORTS = {"postgres": "5432", "pgadmin": "80", "redis": "6379"}


def filled(value: Any) -> Any:
    """With every variable at its default, as an empty environment gives it."""
    if isinstance(value, dict):
        return {key: filled(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner) for inner in value]
    return DEFAULT.sub(lambda match: match[2], value).replace("$$", "$") if isinstance(value, str) else value


SERVICES = filled(COMPOSE["services"])


def test_only_postgres_starts_by_itself():
    """pgAdmin and Redis wait for their profile."""
    assert {"postgres": None, "pgadmin": ["admin"], "redis": ["cache"]} == {
        name: service.get("profiles") for name, service in SERVICES.items()
    }


@pytest.mark.parametrize("name", CONTAINER_PORTS)
def test_ports_are_this_machines_alone(name):
    """One for each service, at 127.0.0.1, to the port on which the program listens."""
    (published,) = SERVICES[name]["ports"]
    address, port, inside = published.split(":")

    assert ("127.0.0.1", CONTAINER_PORTS[name]) == (address, inside)
    assert 1024 < int(port) < 65536
    assert "network_mode" not in SERVICES[name]


@pytest.mark.parametrize("name", CONTAINER_PORTS)
def test_each_service_is_pinned_checked_and_kept(name):
    """An image of one version, a health check that ends, and a volume that is declared."""
    service = SERVICES[name]

    assert re.fullmatch(r"[\w/]+:\d+\.\d+[\w.-]*", service["image"])
    assert service["healthcheck"]["test"][0] == "CMD-SHELL"
    assert {"interval", "timeout", "retries"} <= service["healthcheck"].keys()
    (volume,) = service["volumes"]
    assert volume.split(":")[0] in COMPOSE["volumes"]


def test_passwords_come_from_the_environment_and_readme_names_each():
    """None is written into the file but as a default, and none is taken from a command line."""
    text = (ROOT / "compose.yaml").read_text("utf-8")
    variables = {name for name, _ in DEFAULT.findall(text)}

    assert {"POSTGRES_PASSWORD", "PGADMIN_PASSWORD", "REDIS_PASSWORD"} <= variables
    assert [] == [name for name in variables if f"`{name}`" not in README]
    for service in COMPOSE["services"].values():
        for key, value in service["environment"].items():
            assert DEFAULT.fullmatch(value), key


def test_health_checks_and_commands_see_the_variables_inside():
    """A dollar for the shell in the container is doubled: compose itself would fill it in from outside."""
    for name, service in COMPOSE["services"].items():
        for part in (*service["healthcheck"]["test"], *service.get("command", [])):
            assert not re.search(r"(?<!\$)\$(?!\$|\{)", part), name


@pytest.mark.services
@pytest.mark.skipif(shutil.which("docker") is None, reason="there is no docker client here")
def test_compose_itself_can_read_it():
    """`docker compose config` with every profile; it needs no engine."""
    command = ["docker", "compose", "--profile", "admin", "--profile", "cache", "config", "--quiet"]
    version = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if version.returncode:
        pytest.skip("the docker client here has no compose")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ("", 0) == (done.stderr, done.returncode)


@pytest.mark.services
def test_the_command_of_redis_is_one_that_redis_takes(tmp_path):
    """The same arguments start a redis-server here, and the health check gets in with the password."""
    environment = {**os.environ, "REDIS_PASSWORD": "p w"}
    here = {"cwd": tmp_path, "env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = [part.replace("otel", "p w") for part in SERVICES["redis"]["command"]]
    check = SERVICES["redis"]["healthcheck"]["test"][1].replace("redis-cli", "redis-cli -s s")
    with subprocess.Popen([*command, "--port", "0", "--unixsocket", "s"], **here) as server:
        try:
            give_up_at = time.monotonic() + 30
            while subprocess.run(["sh", "-c", check], **here, check=False).returncode:
                assert server.poll() is None, "it does not start"
                assert time.monotonic() < give_up_at, "it never became healthy"
                time.sleep(0.05)
        finally:
            server.kill()
