"""Tells, much quicker than the patterns of `redaction` themselves, that a text holds no secret.

Nearly all texts hold none, so this is what every text pays. A text is first flattened: what may stand between the
name of a secret and its sign is taken out, and all signs become one character. A single character is found in a text
much faster than a word, and what stands before it tells whether a name, or a kind of secret that looks like nothing
else, may be there. Only then is the text itself looked at. Wrong alarms cost time; a secret that is missed would be
stored.
"""

from __future__ import annotations

import functools
import re

__all__ = ["may_hold_secret"]

_SIGN = r"(?:[\s\"'\\]*[:=]|[\"'\\]+\s*,)"
"""What follows the name of a secret, in JSON text too, where name and value may be neighbours."""
_GOES_ON = r"[^\"'\\,;!?(){}<>\n]{0,64}"
"""What a name may go on with, and few sentences do."""
_END_OF_NAME = r"[\"'\\]+\s*[:,}]"
"""In JSON text, where a name may also come after its value."""
_COUNTED = r"(?!(?:s|[^a-z]?(?:count|limit|type|usage))(?![a-z]))" + "".join(
    f"(?<!{unit}token)(?<!{unit}[^a-z]token)" for unit in ("input", "output", "prompt", "completion", "max")
)
"""What tells, after its name, a token that may be a secret from a unit of text."""
_OWNERS = (
    "api ssh access private secret signing encryption account shared master auth subscription functions application"
    " consumer license openai stripe admin decryption"
).split()
"""What makes a key a secret."""
_KEY = "|".join(f"(?<={owner}key)|(?<={owner}[^a-z]key)" for owner in _OWNERS)

# flattened text: nothing but small letters, `-` for hyphens and underscores, and `:` for signs and commas
_FLAT = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ=,_", b"abcdefghijklmnopqrstuvwxyz::-")
_REST = bytes(set(range(128)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz:=,-_"))
_ENDINGS = (
    "a(?:ls|s[es])|dsn|e(?:ds|ts|ys)|i(?:al|es|on)|jwt|k(?:e[ny]|ie)|o(?:de|rd)|pwd|r(?:ds|e[drt])|s(?:i[cdg]|wd)"
    "|u(?:re|th)|yid|-id"
)
"""Three letters before a sign: with them end nearly no words but names of secrets."""
_NAMES = (
    ".token cookie ookies ssword swords ...swd ...pwd ...jwt secret ecrets ..pass phrase sscode ..cred .creds ential"
    " ntials ..auth zation ...dsn ...sig nature bearer .basic ..[ihsetgndr]key .[ihsetgndr][^a-z]key ..keys .keyid"
    " key-id keysid eys-id"
).split()
"""Six letters before a sign."""
_START = b"      "


class _Looks:
    """The patterns, compiled: not before one is needed, for that takes as long as importing all the rest."""

    def __init__(self) -> None:
        # in text without capitals
        self.k = re.compile(rf"k(?:en(?<=token)|ie(?<=cookie)s?|ey(?:{_KEY})s?(?:[_-]?id)?){_SIGN}").search
        self.w = re.compile(rf"w(?:ord(?<=password)s?|d(?<=swd|pwd)|t(?<=jwt)){_SIGN}").search
        self.words = tuple(
            (word, re.compile(rf"{word}(?:{rest}){_SIGN}").search)
            for word, rest in (
                ("secret", "s?"),
                ("pass", "|phrase|code"),
                ("cred", "s|entials?"),
                ("auth", "|orization"),
                ("dsn", ""),
            )
        )
        self.bearer = re.compile(rf"b(?:earer|asic)(?:\s|{_SIGN})").search
        self.quoted = re.compile(r"(?:password|identified\s[\s\S]{0,200}?\b(?:by|as))\s+\\*'").search
        self.element = re.compile(
            r"(?:passwd|pwd|pass(?:word|phrase)?|secret|token|key(?:[_-]?id)?|credentials?)(?:\s[^<>]{0,300})?>\s*(?:<!|[^<>\s])"
        ).search
        self.netrc = re.compile(r"login(?:\s|\\+[nt])+[^\s\\]{1,200}(?:\s|\\+[nt])+password(?:\s|\\+[nt])").search
        # in any text
        self.signature = re.compile(r"=(?:(?<=sig=)|(?<=ignature=))").search
        self.dash = re.compile(
            r"-(?:(?<=sk-)(?<![A-Za-z0-9]sk-)(?=[\w-]{8})|(?<=glpat-)|(?<=pypi-)|(?<=xapp-)|(?<=xox[a-z]-)"
            r"|(?<=xai-)|(?<=pplx-)|(?<=tvly-)|(?<=nvapi-)|(?<=--)(?<![\w-]--)(?=-*\w)|(?<=\s-)(?=u))"
        ).search
        self.underscore = re.compile(
            r"_(?<=[kfpousrmct]_)(?:(?<=[sr]k_)(?=live_|test_)|(?<=hf_)(?=[\w-]{16})|(?<=gh[pousr]_)(?=\w{10})"
            r"|(?<=npm_)(?=[\w-]{16})|(?<=whsec_)(?=\S{8})|(?<=github_pat_)(?=\w{10})"
            r"|(?:(?<=gsk_)|(?<=pcsk_)|(?<=lsv2_[ps][tk]_))(?=[\w-]{16}))"
        ).search
        # in JSON text without capitals, each only where its word is
        self.members = tuple(
            (word, re.compile(f"{word}{rest}{_END_OF_NAME}").search)
            for word, rest in (
                ("pass", rf"[\W_]?(?:(?:word|phrase|code|wd){_GOES_ON})?"),
                ("auth", rf"(?:orization{_GOES_ON}|[\W_]?)"),
                ("cred", f"(?:entials?|s){_GOES_ON}"),
                ("token", _COUNTED + _GOES_ON),
                ("key", f"(?:{_KEY}){_GOES_ON}"),
                *((word, _GOES_ON) for word in ("secret", "cookie", "pwd", "bearer", "jwt", "dsn")),
            )
        )
        # in flattened JSON text
        self.any_k = re.compile(
            rf"k(?:en(?<=token){_COUNTED}|ie(?<=cookie)|s(?<=hooks)"
            r"|ey(?<=[ihsetgndr]key)|ey(?<=[ihsetgndr][^a-z]key))".encode()
        ).search
        self.any_w = re.compile(rb"w(?<=[psj]w)(?:(?<=[ps]w)d|(?<=jw)t)").search
        self.any_cre = re.compile(rb"cre(?:t(?<=secret)|d(?:s|ential|[^a-z]))").search
        self.any_pass = re.compile(rb"pass(?:[^a-z]?(?:w|phrase|code)|[^a-z])").search
        self.any_auth = re.compile(rb"auth(?:orization|[^a-z])").search
        self.any_dsn = re.compile(rb"dsn").search
        # in flattened text
        self.named = re.compile(
            f":(?:(?<=(?:{_ENDINGS}):)(?<=(?:{'|'.join(_NAMES)}):)|(?=hooksslack|discord))".encode()
        ).search
        self.marked = re.compile(
            rb"-(?:(?<=--)|(?=u)|(?<=(?:sk|at|pi|pp|x[a-z]|rk|hf|h[pousr]|pm|ec|ai|lx|ly|[ps]t)-)"
            rb"(?:(?<=sk-)|(?<=glpat-)|(?<=github-pat-)|(?<=pypi-)|(?<=xapp-)|(?<=xox[a-z]-)|(?<=rk-)|(?<=hf-)|(?<=gh[pousr]-)|(?<=npm-)|(?<=whsec-)"
            rb"|(?<=xai-)|(?<=pplx-)|(?<=tvly-)|(?<=nvapi-)|(?<=lsv-[ps][tk]-)))"
        ).search
        self.announced = re.compile(rb"b(?:earer|asic)").search


_looks = functools.cache(_Looks)


def may_hold_secret(text: str) -> bool:
    """False if no built-in pattern fits anything in the text, and no name of a secret stands in JSON text there."""
    # patterns that do not care about case take a long s for an s
    raw = text.encode() if text.isascii() else text.casefold().encode("ascii", "replace")
    flat = _START + raw.translate(_FLAT, _REST)
    looks = _looks()
    is_announced, has_pass = looks.announced(flat), looks.any_pass(flat)
    if '"' in text:  # in JSON text the name may go on
        is_named = (has_pass or _has_word(looks, flat) or is_announced) and (
            _is_member(looks, text.casefold()) or _is_webhook(flat, text)
        )
        is_named = is_named or ("=" in text and looks.signature(text) is not None)
    else:
        is_named = looks.named(flat) and (
            _is_named(looks, text.casefold()) or looks.signature(text) is not None or _is_webhook(flat, text)
        )
    return bool(
        is_named
        or (is_announced and looks.bearer(text.casefold()))
        or (looks.marked(flat) and (looks.dash(text) or looks.underscore(text)))
        or ("@" in text and "://" in text)
        or ("J" in text and "eyJ" in text)
        or ("K" in text and ("AKIA" in text or "PRIVATE KEY" in text))
        or ("S" in text and "ASIA" in text)
        or ("z" in text and "AIza" in text)
        or ("G" in text and "SG." in text)
        or ("'" in text and (has_pass or b"identified" in flat) and looks.quoted(text.casefold()))
        or ("<" in text and "</" in text and _is_element(looks, flat, text))
        or (has_pass and b"login" in flat and looks.netrc(text.casefold()))
    )


def _is_named(looks: _Looks, folded: str) -> bool:
    return bool(looks.k(folded) or looks.w(folded)) or any(
        word in folded and named(folded) for word, named in looks.words
    )


def _is_webhook(flat: bytes, text: str) -> bool:
    # a character is found in a tenth of the time
    return "/" in text and b"hooks" in flat and ("hooks.slack.com/" in text or "/webhooks/" in text)


def _is_element(looks: _Looks, flat: bytes, text: str) -> bool:
    return (b"pass" in flat or _has_word(looks, flat)) and looks.element(text.casefold()) is not None


def _has_word(looks: _Looks, flat: bytes) -> bool:
    return bool(
        looks.any_k(flat) or looks.any_w(flat) or looks.any_cre(flat) or looks.any_auth(flat) or looks.any_dsn(flat)
    )


def _is_member(looks: _Looks, folded: str) -> bool:
    return _is_named(looks, folded) or any(word in folded and named(folded) for word, named in looks.members)
