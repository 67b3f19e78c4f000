"""Is orjson worth a dependency? The attributes of a realistic span, written by it and by the standard library."""

from __future__ import annotations

import json

import orjson
from realistic import attributes, content, cpu_per_item, medians

CALLS = 5000
ATTRIBUTES, CONTENT = attributes(1), content(1)


def main() -> None:
    """Print the figures."""
    encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
    cases = {
        "orjson: write, check two inputs": lambda: (
            orjson.dumps(ATTRIBUTES), orjson.loads(CONTENT), orjson.loads(CONTENT),
        ),
        "json: write, check two inputs": lambda: (
            encoder.encode(ATTRIBUTES).encode(), json.loads(CONTENT), json.loads(CONTENT),
        ),
    }  # fmt: skip
    found = medians(
        {name: lambda a=a: cpu_per_item(lambda: [a() for _ in range(CALLS)], CALLS) for name, a in cases.items()}
    )
    print("\nJSON library: CPU for the JSON of one span (median of 9)")
    for name, microseconds in found.items():
        print(f"  {name:<32} {microseconds:6.1f} us")
