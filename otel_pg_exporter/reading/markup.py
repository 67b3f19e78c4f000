"""HTML for notebooks: one look, light and dark, that needs nothing from the net and no script.

Whatever was stored comes through `escaped`: it can neither end an element or an attribute nor steer the text around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from .terminal import harmless

__all__ = ["bars", "block", "escaped", "facts", "table"]

_LIGHT = """--bg:#fff;--fg:#1f2430;--soft:#6a7282;--line:#e4e7ec;--hover:#f5f7fa;--red:#d92d3a;--redbg:#fdecee;
--task:#3b6fe0;--agent:#8250df;--llm:#0d9488;--tool:#d97706;--deployment:#d6409f;--system:#7d8696"""
_DARK = """--bg:#15181e;--fg:#e3e6ec;--soft:#949dad;--line:#2a303a;--hover:#1d222a;--red:#ff6b75;--redbg:#3a1d22;
--task:#6f9bff;--agent:#b392f0;--llm:#2dd4bf;--tool:#f5a83b;--deployment:#f27ac2;--system:#8f99a9"""
# a notebook's theme counts more than the system's
_STYLE = f"""
.otel-pg{{{_LIGHT};color-scheme:light}}
@media(prefers-color-scheme:dark){{.otel-pg{{{_DARK};color-scheme:dark}}}}
[data-jp-theme-light=true] .otel-pg,.vscode-light .otel-pg{{{_LIGHT};color-scheme:light}}
[data-jp-theme-light=false] .otel-pg,.vscode-dark .otel-pg{{{_DARK};color-scheme:dark}}
.otel-pg{{font:13px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;background:var(--bg);color:var(--fg);
border:1px solid var(--line);border-radius:8px;overflow:hidden;max-width:1200px;text-align:left}}
.otel-pg *{{box-sizing:border-box}}
.otel-pg .head{{padding:10px 14px;border-bottom:1px solid var(--line)}}
.otel-pg .title{{font-size:15px;font-weight:600;overflow-wrap:anywhere}}
.otel-pg .facts{{color:var(--soft);display:flex;flex-wrap:wrap;align-items:baseline;gap:2px 14px}}
.otel-pg .facts b{{color:var(--fg);font-weight:600}}.otel-pg .facts .bad b,.otel-pg .facts .bad{{color:var(--red)}}
.otel-pg code{{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;color:inherit;background:none;padding:0}}
.otel-pg summary,.otel-pg .axis{{display:grid;grid-template-columns:minmax(180px,34%) 1fr 72px 84px;align-items:center;
column-gap:10px;padding:0 14px}}
.otel-pg summary{{list-style:none;cursor:pointer;height:25px}}.otel-pg summary::-webkit-details-marker{{display:none}}
.otel-pg summary:hover{{background:var(--hover)}}
.otel-pg .axis{{color:var(--soft);font-size:11px;height:22px;border-bottom:1px solid var(--line)}}
.otel-pg .ticks{{position:relative;height:16px}}
.otel-pg .ticks span{{position:absolute;padding-left:4px;white-space:nowrap}}
.otel-pg .name{{align-self:stretch;display:flex;align-items:center;gap:7px;overflow:hidden;white-space:nowrap;
padding-left:calc(var(--d)*15px);background:repeating-linear-gradient(90deg,transparent 0 3px,var(--line) 3px 4px,
transparent 4px 15px) 0 0/calc(var(--d)*15px) 100% no-repeat}}
.otel-pg .name span{{overflow:hidden;text-overflow:ellipsis}}
.otel-pg .name::before{{content:"";flex:none;width:8px;height:8px;border-radius:50%;background:var(--c)}}
.otel-pg .name em,.otel-pg .more{{color:var(--soft);font-style:normal;font-size:11px}}
.otel-pg .lane{{position:relative;align-self:stretch;background:repeating-linear-gradient(90deg,var(--line) 0 1px,
transparent 1px 25%)}}
.otel-pg .lane i{{position:absolute;top:7px;height:11px;min-width:3px;border-radius:3px;background:var(--c)}}
.otel-pg .lane i.folded{{background:repeating-linear-gradient(90deg,var(--c) 0 5px,transparent 5px 7px)}}
.otel-pg .lane i.dot{{width:7px;height:7px;top:9px;border-radius:50%;margin-left:-3px}}
.otel-pg .took{{text-align:right;font-variant-numeric:tabular-nums}}
.otel-pg .mark{{font-size:11px;color:var(--soft);overflow:hidden;text-overflow:ellipsis;white-space:nowrap}}
.otel-pg .name .why{{color:var(--red);flex:0 99 auto;overflow:hidden;text-overflow:ellipsis}}
.otel-pg .error .mark{{color:var(--red);font-weight:600}}
.otel-pg .error summary{{background:var(--redbg)}}
.otel-pg .error{{--c:var(--red)!important}}
.otel-pg dl{{display:grid;grid-template-columns:max-content 1fr;gap:1px 14px;font-size:12px;margin:0;
padding:8px 14px 10px 28px;
border-bottom:1px solid var(--line);background:var(--hover)}}
.otel-pg dt{{color:var(--soft);font-weight:400}}.otel-pg dd{{margin:0;white-space:pre-wrap;overflow-wrap:anywhere}}
.otel-pg .more{{padding:6px 14px}}
.otel-pg table{{border-collapse:collapse;width:100%;font-size:13px;margin:0;color:inherit}}
.otel-pg th,.otel-pg td{{padding:4px 14px;text-align:right;border:0;border-top:1px solid var(--line);
font-variant-numeric:tabular-nums;background:none!important;color:inherit}}
.otel-pg th{{color:var(--soft);font-weight:500}}
.otel-pg th.text,.otel-pg td.text{{text-align:left;overflow-wrap:anywhere}}
.otel-pg td.bad{{color:var(--red);font-weight:600}}
.otel-pg svg{{display:block;width:100%;height:56px;padding:8px 14px 0}}
"""


def escaped(value: object, most: int = 200) -> str:
    """A text as it is shown, cut to a length, of which nothing is markup."""
    text = str(value)
    if len(text) > most:
        text = text[: most - 1] + "…"
    return escape("\n".join(map(harmless, text.split("\n"))), quote=True)


def block(title: str, told: str, body: Iterable[str]) -> str:
    """A framed block; `told` and `body` are markup, the title is not."""
    head = f'<div class="head"><div class="title">{escaped(title)}</div><div class="facts">{told}</div></div>'
    return f'<div class="otel-pg"><style>{_STYLE}</style>{head}{"".join(body)}</div>'


def facts(named: Iterable[tuple[str, str, bool]]) -> str:
    """Numbers in a line: what, how much, and whether it is bad."""
    opened = {True: '<span class="bad">', False: "<span>"}
    return "".join(f"{opened[is_bad]}<b>{escaped(number)}</b> {escaped(what)}</span>" for what, number, is_bad in named)


def table(titles: Sequence[str], rows: Iterable[Sequence[object]], *, texts: int = 1, bad: int | None = None) -> str:
    """A table whose first columns are texts and the others numbers; one of them may be bad where it is not zero."""

    def cell(tag: str, column: int, value: object) -> str:
        kind = "text" if column < texts else "bad" if column == bad and tag == "td" and value else "number"
        return f'<{tag} class="{kind}">{escaped(value)}</{tag}>'

    lines = (("th", titles), *(("td", row) for row in rows))
    drawn = ("".join(cell(tag, column, value) for column, value in enumerate(row)) for tag, row in lines)
    return "".join(("<table>", *(f"<tr>{row}</tr>" for row in drawn), "</table>"))


def bars(counts: Sequence[tuple[int, int, str]]) -> str:
    """A small chart: a bar for each count, the errors in it, and what a bar says when it is pointed at."""
    highest = max((count for count, _, _ in counts), default=0) or 1
    width = 100 / max(1, len(counts))
    drawn = []
    for place, (count, errors, said) in enumerate(counts):
        for number, colour in ((count, "--task"), (errors, "--red")):
            height = 40 * number / highest
            drawn.append(
                f'<rect x="{place * width + width * 0.08:.3f}%" width="{width * 0.84:.3f}%" y="{40 - height:.2f}"'
                f' height="{height:.2f}" rx="1.5" style="fill:var({colour})"><title>{escaped(said)}</title></rect>'
            )
    return f'<svg role="img">{"".join(drawn)}</svg>'
