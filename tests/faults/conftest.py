"""What fault tests get: a seed, a judge, a wire to the run's server, and a server that may be killed."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.cluster import Cluster
from harness.judge import Judge
from harness.patience import wait_for_tables
from harness.wire import Wire


@pytest.fixture
def seed() -> int:
    """From `FAULTS_SEED`, else by chance; printed, so that a failure can be run again."""
    chosen = int(os.environ.get("FAULTS_SEED") or random.randrange(1 << 32))
    print(f"FAULTS_SEED={chosen}")
    return chosen


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process stores waits for the tables for longer than a busy machine keeps it waiting."""
    wait_for_tables(monkeypatch.setattr)


@pytest.fixture
def judge(seed: int) -> Judge:
    """A judge of this run."""
    return Judge(seed)


@pytest.fixture
def wire(dsn: str) -> Iterator[Wire]:
    """A proxy before the test's own database on the server of the run."""
    with Wire(dsn) as made:
        yield made


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A running server of the test's own, with fsync on."""
    with Cluster(tmp_path / "server") as made:
        yield made
