"""Tells, much quicker than `redaction` itself, that a text holds no secret.

Nearly all texts hold none, so this is what every record pays. A text is first flattened: what may stand between the
name of a secret and its sign is taken out, and all signs become one character. A single character is found in a text
much faster than a word, and what stands before it tells whether a name, or a kind of secret that looks like nothing
else, may be there. Only then is the text itself looked at. Wrong alarms cost time; a secret that is missed would be
stored.
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

# in flattened text: nothing but small letters, `-` for hyphens and underscores, and `:` for signs and commas
_FLAT = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ=,_", b"abcdefghijklmnopqrstuvwxyz::-")
_REST = bytes(set(range(128)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz:=,-_"))
_ENDINGS = (
    "a(?:ls|s[es])|dsn|e(?:ds|ts|ys)|i(?:al|es|on)|jwt|k(?:e[ny]|ie)|o(?:de|rd)|pwd|r(?:ds|e[drt])|s(?:ic|id|wd)|uth"
    "|yid|-id"
)
"""Three letters before a sign: with them end nearly no words but names of secrets."""
_NAMES = (
    ".token cookie ookies ssword swords ...swd ...pwd ...jwt secret ecrets ..pass phrase sscode ..cred .creds ential"
    " ntials ..auth zation ...dsn bearer .basic ..[ihsetgndr]key .[ihsetgndr][^a-z]key ..keys .keyid key-id keysid"
    " eys-id"
).split()
"""Six letters before a sign."""
_START = b"      "
_named = re.compile(f":(?<=(?:{_ENDINGS}):)(?<=(?:{'|'.join(_NAMES)}):)".encode()).search
_marked = re.compile(
    rb"-(?:(?<=--)|(?<=(?:sk|at|pi|pp|x[a-z]|rk|hf|h[pousr]|pm|ec)-)(?:(?<=sk-)|(?<=glpat-)|(?<=github-pat-)|(?<=pypi-)"
    rb"|(?<=xapp-)|(?<=xox[a-z]-)|(?<=rk-)|(?<=hf-)|(?<=gh[pousr]-)|(?<=npm-)|(?<=whsec-)))"
).search
_announced = re.compile(rb"b(?:earer|asic)").search


def may_hold_secret(text: str) -> bool:
    """False if no built-in pattern fits anything in the text, and no name of a secret stands in JSON text there."""
    raw = text.encode() if text.isascii() else text.lower().encode("ascii", "replace")
    flat = _START + raw.translate(_FLAT, _REST)
    return bool(
        (_named(flat) and _is_named(text.lower()))
        or (_announced(flat) and _bearer(text.lower()))
        or (_marked(flat) and (_dash(text) or _underscore(text)))
        or ("@" in text and "://" in text)
        or ("J" in text and "eyJ" in text)
        or ("K" in text and ("AKIA" in text or "PRIVATE KEY" in text))
        or ("S" in text and "ASIA" in text)
        or ("z" in text and "AIza" in text)
    )


def _is_named(lower: str) -> bool:
    return bool(_k(lower) or _w(lower)) or any(word in lower and named(lower) for word, named in _words)
