"""Deployments: what went where, from which commit, how build and tests ended, and what broke.

python examples/deployments.py     # OTEL_EXPORTER_POSTGRES_DSN, else the embedded PostgreSQL
"""

from __future__ import annotations

from instrumentation import deployment, task
from otel_pg_exporter import configure


@task
def smoke_test(environment: str) -> None:
    """Production is not what staging was."""
    if environment == "production":
        raise ConnectionError("the shop does not answer")


def release(environment: str) -> None:
    """One deployment: its steps, then its outcome."""
    with deployment("shop", environment=environment, branch="main", commit="4f2a91c", pull_request="17") as deploy:
        deploy.build("success")
        try:
            smoke_test(environment)
        except ConnectionError:
            deploy.tests("failure")
            raise
        deploy.tests("success")


def main() -> None:
    """Release to two places, and ask which deployment broke."""
    telemetry = configure()
    for environment in ("staging", "production"):
        try:
            release(environment)
        except ConnectionError as error:
            print(f"{environment}: {error}")
    telemetry.force_flush()

    for event in reversed(telemetry.query.deployment_events(name="shop", limit=2)):
        about = event.details
        print(f"{about['environment']:<11} {about['commit_sha']} tests {about['test_result']:<8} {event.status}")


if __name__ == "__main__":
    main()
