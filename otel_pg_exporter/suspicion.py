"""Tells, much quicker than `redaction` itself, that a text holds no secret.

Nearly all texts hold none, so this is what every record pays. A single character is found in a text a hundred
times faster than a word, so most kinds of secrets are looked for by a rare character that they must have, and
what stands around that is looked at then. Wrong alarms cost time; a secret that is missed would be stored.
"""

from __future__ import annotations

import re

__all__ = ["may_hold_secret"]

_SIGN = r"(?:[\s\"'\\]*[:=]|[\"'\\]+\s*,)"
"""What follows the name of a secret, in JSON text too, where name and value may be neighbours."""
_OWNERS = ("api", "ssh", "access", "private", "secret", "signing", "encryption", "account", "shared", "master", "auth")
"""What makes a key a secret."""
_KEY = "|".join(f"(?<={owner}key)|(?<={owner}[^a-z]key)" for owner in _OWNERS)

# in text that is lower case
_k = re.compile(rf"k(?:en(?<=token)|ie(?<=cookie)s?|ey(?:{_KEY})s?(?:[_-]?id)?){_SIGN}").search
_w = re.compile(rf"w(?:ord(?<=password)s?|d(?<=swd|pwd)|t(?<=jwt)){_SIGN}").search
_words = tuple(
    (word, re.compile(rf"{word}(?:{rest}){_SIGN}").search)
    for word, rest in (
        ("secret", "s?"),
        ("pass", "|phrase|code"),
        ("cred", "s|entials?"),
        ("auth", "|orization"),
        ("dsn", ""),
    )
)
_bearer = re.compile(rf"b(?:earer|asic)(?:\s|{_SIGN})").search
# in any text
_dash = re.compile(
    r"-(?:(?<=sk-)(?<![A-Za-z0-9]sk-)(?=[\w-]{8})|(?<=glpat-)|(?<=pypi-)|(?<=xapp-)|(?<=xox[a-z]-)"
    r"|(?<=--)(?<![\w-]--)(?=\w))"
).search
_underscore = re.compile(
    r"_(?<=[kfpousrmct]_)(?:(?<=[sr]k_)(?=live_|test_)|(?<=hf_)(?=[\w-]{16})|(?<=gh[pousr]_)(?=\w{10})"
    r"|(?<=npm_)(?=[\w-]{16})|(?<=whsec_)(?=\S{8})|(?<=github_pat_)(?=\w{10}))"
).search


def may_hold_secret(text: str) -> bool:
    """False if no built-in pattern fits anything in the text, and no name of a secret stands in JSON text there."""
    lower = text.lower()
    if _k(lower) or _w(lower) or _bearer(lower):
        return True
    for word, named in _words:
        if word in lower and named(lower):
            return True
    return bool(
        ("-" in text and _dash(text))
        or ("_" in text and _underscore(text))
        or ("@" in text and "://" in text)
        or ("J" in text and "eyJ" in text)
        or ("K" in text and ("AKIA" in text or "PRIVATE KEY" in text))
        or ("S" in text and "ASIA" in text)
        or ("z" in text and "AIza" in text)
    )
