"""What a browser makes of a trace in a notebook. Needs chromium: make test-services."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.trace import Status, StatusCode

from otel_pg_exporter import EventQuery

pytestmark = pytest.mark.services
ROOT = Path(__file__).parents[2]
DRAW = runpy.run_path(str(ROOT / "docs" / "pictures" / "draw.py"), run_name="draw")
HOSTILE = "\"'><script>document.title='hurt'</script><img src=x onerror=\"document.title='hurt'\">"
# a script of the test's own tells what the page is like once it is drawn
LOOK = """<script>window.onload=()=>{
const bars=[...document.querySelectorAll('.lane i')];
const lanes=bars.map(b=>b.parentElement.getBoundingClientRect()),boxes=bars.map(b=>b.getBoundingClientRect());
const seen='<pre id="seen">'+JSON.stringify({title:document.title,
scripts:document.querySelectorAll('.otel-pg script,.otel-pg img,.otel-pg iframe').length,
rows:document.querySelectorAll('.otel-pg details').length,
outside:boxes.filter((b,i)=>b.left<lanes[i].left-4||b.right>lanes[i].right+4).length,
narrow:boxes.filter(b=>b.width<2).length,
loaded:performance.getEntriesByType('resource').length,
background:getComputedStyle(document.querySelector('.otel-pg')||document.body).backgroundColor})+'</pre>';
document.body.insertAdjacentHTML('beforeend',seen)}
</script>"""


@pytest.fixture
def browser(tmp_path):
    """What a page says of itself, in a browser that has no net."""
    program = shutil.which("chromium")
    assert program, "there is no chromium: make test-services installs it"

    def look(html: str, around: str = "{}"):
        page = tmp_path / "page.html"
        page.write_text(DRAW["PAGE"].format(html=around.format(html) + LOOK), "utf-8")
        command = [program, *DRAW["FLAGS"], f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
        return json.loads(re.search(r'<pre id="seen">(.*?)</pre>', done.stdout)[1])

    return look


@pytest.fixture
def hostile(record_spans, dsn):
    """A trace and statistics in which everything is hostile."""

    def make(tracer):
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": HOSTILE,
            "gen_ai.agent.name": HOSTILE,
        }
        with tracer.start_as_current_span(HOSTILE, attributes={**attributes, HOSTILE: HOSTILE}) as span:
            span.set_status(Status(StatusCode.ERROR, HOSTILE))
            for _ in range(30):
                with tracer.start_as_current_span("alike"):
                    pass
        return f"{span.get_span_context().trace_id:032x}"

    trace_id = record_spans(make, HOSTILE)
    with EventQuery(dsn=dsn) as query:
        yield query.trace(trace_id), query.statistics()


def test_a_browser_runs_nothing_of_what_was_stored(browser, hostile):
    """No script, no element and no request comes out of the data; bars lie where they belong; both themes hold."""
    trace, statistics = hostile

    light = browser(trace._repr_html_(), '<div data-jp-theme-light="true">{}</div>')
    dark = browser(trace._repr_html_(), '<div data-jp-theme-light="false">{}</div>')
    table = browser(statistics._repr_html_())

    for seen in (light, dark, table):
        assert ("", 0, 0) == (seen["title"], seen["scripts"], seen["loaded"])
    assert (2, 0, 0) == (light["rows"], light["outside"], light["narrow"])
    assert ("rgb(255, 255, 255)", "rgb(21, 24, 30)") == (light["background"], dark["background"])


def test_the_look_would_see_what_gets_through(browser):
    """Its counterpart: markup that is not escaped is found."""
    seen = browser(f'<div class="otel-pg">{HOSTILE}</div>')

    assert "hurt" == seen["title"]
    assert 0 < seen["scripts"]


def test_the_picture_can_be_drawn(tmp_path):
    """By the command that `make pictures` runs, with something on it; the one in README.md is as small."""
    target = tmp_path / "trace.png"
    command = [sys.executable, str(ROOT / "docs" / "pictures" / "draw.py"), str(target)]
    subprocess.run(command, check=True, timeout=300, env={**os.environ})

    for picture in (target, ROOT / "docs" / "pictures" / "trace.png"):
        assert b"\x89PNG\r\n\x1a\n" == picture.read_bytes()[:8]
        assert 40_000 < picture.stat().st_size < 150_000
    assert "docs/pictures/trace.png" in (ROOT / "README.md").read_text("utf-8")
