"""Draws trace.png: the trace of examples/research_agent.py, as a notebook shows it. Needs chromium: make pictures."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from opentelemetry.sdk.resources import Resource

from otel_pg_exporter import configure
from otel_pg_exporter.reading.trace import Trace

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "examples"))
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --hide-scrollbars --force-device-scale-factor=1.4"
).split()
PAGE = """<!doctype html><meta charset="utf-8"><style>body{{margin:0;padding:12px;background:#fff}}</style>{html}"""


def main(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        html = recorded(Path(folder))._repr_html_()
        draw(html.replace('<details class="error"', '<details open class="error"'), path, Path(folder))


def recorded(folder: Path) -> Trace:
    """Run the agent on a PostgreSQL of its own."""
    import research_agent

    settings = {"data_dir": folder / "postgres", "spool_dir": folder / "spool"}
    telemetry = configure(resource=Resource.create({"service.name": "travel"}), **settings)
    research_agent.main()
    if not telemetry.force_flush():
        sys.exit(f"Not stored: {telemetry.last_error}")
    (last,) = telemetry.query.task_events(name="plan a trip", limit=1)
    trace = telemetry.query.trace(last.trace_id)
    telemetry.shutdown()
    return trace


def draw(html: str, path: Path, folder: Path) -> None:
    """What a browser shows of a piece of HTML."""
    page = folder / "page.html"
    page.write_text(PAGE.format(html=html), "utf-8")
    own = [f"--user-data-dir={folder / 'browser'}", "--window-size=1000,560", f"--screenshot={path}", page.as_uri()]
    subprocess.run(["chromium", *FLAGS, *own], check=True, capture_output=True, timeout=120)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else HERE / "trace.png")
