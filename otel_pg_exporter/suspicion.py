"""Tells, much quicker than `redaction` itself, that a text holds no secret.

Nearly all texts hold none, so this is what every record pays. A single character is found in a text a hundred
times faster than a word, so each kind of secret is looked for by the rarest character that it must have, and
what stands around that is looked at then. Wrong alarms cost time; a secret that is missed would be stored.
"""

from __future__ import annotations

import re

__all__ = ["may_hold_secret"]

# What names of secrets end in, by length: patterns that look back have one length each.
_ENDS = (
    "pwd|dsn|jwt",
    "word|ords|sswd|rase|cret|rets|okie|kies|arer|oken|auth|pass|reds",
    "scode|keyid",
    "zation|key.id|(?:api|ssh)key",
    "dential|(?:api|ssh)(?:.key|keys)|(?:cess|vate|cret|ning|tion|ount|ared|ster|auth)key",
    "dentials|(?:api|ssh).keys|(?:cess|vate|cret|ning|tion|ount|ared|ster|auth)(?:.key|keys)",
    "(?:cess|vate|cret|ning|tion|ount|ared|ster|auth).keys",
)
_MOST_BETWEEN = 4
"""Quotes, backslashes and spaces between a name and its sign; more of them are suspicious whatever the name."""


def _after_name(sign: str) -> str:
    """The sign, where the name of a secret stands before it."""
    between = r"[\s\"'\\]"
    pattern = f"(?<={between * (_MOST_BETWEEN + 1)}{sign})"
    for count in range(_MOST_BETWEEN, -1, -1):
        gap = between * count
        names = "|".join(f"(?<=(?:{ends}){gap}{sign})" for ends in _ENDS)
        pattern = f"(?:{names}|(?<={between}{gap}{sign}){pattern})"
    return f"(?i){sign}{pattern}"


_colon, _equals = (re.compile(_after_name(sign)).search for sign in ":=")
_dash = re.compile(
    r"-(?:(?<=sk-)(?<![A-Za-z0-9]sk-)(?=[\w-]{8})|(?<=glpat-)|(?<=pypi-)|(?<=xapp-)|(?<=xox[a-z]-)"
    r"|(?<=--)(?<![\w-]--)(?=\w))"
).search
_underscore = re.compile(
    r"_(?<=[kfpousrmct]_)(?:(?<=[sr]k_)(?=live_|test_)|(?<=hf_)(?=[\w-]{16})|(?<=gh[pousr]_)(?=\w{10})"
    r"|(?<=npm_)(?=[\w-]{16})|(?<=whsec_)(?=\S{8})|(?<=github_pat_)(?=\w{10}))"
).search
_bearer = re.compile(r"b(?i:earer|asic)\s").search
_capital_bearer = re.compile(r"B(?i:earer|asic)\s").search


def may_hold_secret(text: str) -> bool:
    """False if no built-in pattern fits anything in the text, and no name of a secret stands in JSON text there."""
    return bool(
        (":" in text and _colon(text))
        or ("=" in text and _equals(text))
        or ("-" in text and _dash(text))
        or ("_" in text and _underscore(text))
        or ("@" in text and "://" in text)
        or ("b" in text and _bearer(text))
        or ("B" in text and _capital_bearer(text))
        or ("J" in text and "eyJ" in text)
        or ("K" in text and ("AKIA" in text or "PRIVATE KEY" in text))
        or ("S" in text and "ASIA" in text)
        or ("z" in text and "AIza" in text)
    )
