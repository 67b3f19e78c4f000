"""Secrets, found by the name they go by and by the look of them, before they reach a span or a log record."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from typing import Final

from .suspicion import may_hold_secret

REDACTED: Final = "[redacted]"
"""What stands where a secret stood."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_a-zA-Z]+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SECRET_WORDS = _words(
    "password passwords passwd pwd passphrase passcode secret secrets apikey apikeys authorization cookie"
    " cookies credential credentials creds dsn bearer jwt"
)
# Words run together without a capital or a separator: mypassword, awssecretaccesskey.
_SECRET_ENDINGS = tuple(
    _words(
        "password passwd passphrase secret apikey accesskey privatekey secretkey credential credentials"
        " authtoken accesstoken refreshtoken sessiontoken idtoken"
    )
)
_SECRET_KEYS = _words(
    "api access private secret signing encryption ssh account shared master auth subscription functions application"
    " consumer license openai stripe admin decryption"
)
# A token next to one of these is a unit of text or a setting, not a secret: max_token, token_count.
_TOKEN_INNOCENT = _words(
    "count counts type types usage limit limits budget max min total num number per price cost length len size"
    " index position ids expires expiry expiration ttl first next prob probability logprob logprobs pad eos"
    " bos unk mask special stop rate input output prompt completion cached reasoning"
)

_VALUE = (
    r"""(?:\w*[\[({][^\[\](){}]{0,1000}[\])}]|[bfru]{1,2}(?=["'])(?:"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?)"""
    r"""|[|>][+-]?[ \t]*(?:\n|\\+n)(?:[ \t]+(?:(?!\\{1,4}n)[^\n"'])+(?:\n|\\{1,4}n)?)+"""
    r"""|\\+"(?:(?!\\+").)*(?:\\+")?|\\+'(?:(?!\\+').)*(?:\\+')?"""
    r"""|"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[^\s"'&;]+)"""
)
_NAMES = (
    r"password|passwd|pwd|passphrase|secret|token|api[ _-]?key|access[_-]?key(?:[_-]?id)?|private[_-]?key"
    r"|(?:secret|account|subscription|functions|application|consumer|license|openai|stripe|admin)[_-]?key|credentials?"
    r"|(?<=[A-Za-z0-9]_)pass"
)
_GAP = r"(?:\s|\\+[nt])+"
_LOOKS_RANDOM = r"(?=\S*[0-9=]|\S*[a-z]\S*[A-Z])"

# (a character that must occur, which is found much faster than words: ":" stands for "=" too, "" for none; words of
# which one must occur for the pattern to be worth trying; pattern; replacement).
# Compiled at the first use: compiling all takes longer than importing the rest of the package.
_PATTERNS: tuple[tuple[str, tuple[str, ...], str, str], ...] = (
    (
        "-",
        ("private key",),
        (
            r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----[\s\S]*?"
            r"(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\Z)"
        ),
        REDACTED,
    ),
    ("@", ("://",), r"(://[^\s/?#:@\"']*):[^\s/?#]+@", rf"\1:{REDACTED}@"),
    ("@", ("://",), r"(://)(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{20,}@", rf"\1{REDACTED}@"),
    # with a character that ought to be encoded, and what is no port
    (
        "@",
        ("://",),
        r"(://[^\s/?#:@\"'\[]*):(?![0-9]{1,5}(?:[/?#]|$)|[/\\{<]|\[redacted\])[^\s\"'<>@]*[/?#][^\s\"'<>@]*@",
        rf"\1:{REDACTED}@",
    ),
    (
        ":",
        ("authorization", "cookie", "api-key"),
        (
            r"(?i)((?:authorization|cookie|api-key)[\"'\\]*\s*[:=]\s*(?:b(?=[\"']))?)"
            r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|(?:="[^"\r\n]*"|[^\r\n"'}])+)"""
        ),
        rf"\1{REDACTED}",
    ),
    (
        "",
        ("bearer",),
        r"(?i)\b(bearer\s+)(?!(?:tokens?|auth\w*|credentials?)\b)[A-Za-z0-9._~+/=-]{6,}",
        rf"\1{REDACTED}",
    ),
    (
        "",
        ("basic",),
        rf"\b((?i:basic)\s+){_LOOKS_RANDOM}[A-Za-z0-9+/_-]{{6,}}={{0,2}}",
        rf"\1{REDACTED}",
    ),
    ("-", ("sk-",), r"(?<![A-Za-z0-9])sk-(?!learn)[A-Za-z0-9_-]{8,}", REDACTED),
    (
        "_",
        ("sk_", "rk_", "whsec_"),
        r"(?<![A-Za-z0-9])(?:[sr]k_(?:live|test)_|whsec_)[A-Za-z0-9+/=]{8,}",
        REDACTED,
    ),
    (
        "_",
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{10,}|github_pat_\w{10,})",
        REDACTED,
    ),
    ("-", ("xox", "xapp-"), r"(?<![A-Za-z0-9])(?:xox[a-z]|xapp)-[A-Za-z0-9-]{8,}", REDACTED),
    ("", ("akia", "asia"), r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{12,}", REDACTED),
    (".", ("eyj",), r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)*", REDACTED),
    (
        "",
        ("aiza", "hf_", "glpat-", "npm_", "pypi-"),
        r"(?<![A-Za-z0-9])(?:AIza|hf_|glpat-|npm_|pypi-)[A-Za-z0-9_-]{16,}",
        REDACTED,
    ),
    (
        "",
        ("gsk_", "xai-", "pplx-", "tvly-", "nvapi-", "lsv2_", "pcsk_", "sg."),
        r"(?<![A-Za-z0-9])(?:(?:gsk_|xai-|pplx-|tvly-|nvapi-|lsv2_[ps][tk]_|pcsk_)[A-Za-z0-9_-]{16,}"
        r"|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,})",
        REDACTED,
    ),
    # a header as Python shows it
    (
        ",",
        ("passw", "secret", "token", "key", "credential", "authorization", "cookie"),
        rf"""(?i)([\[(]\s*b?(["'])[\w.-]{{0,64}}(?:{_NAMES}|authorization|cookie)\2\s*,\s*b?)"""
        r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')(?=\s*[\])])""",
        rf"\1{REDACTED}",
    ),
    # who has an address that is signed, or a webhook's, needs no more
    (
        ":",
        ("signature:", "sig:"),
        r"((?<![A-Za-z])(?:X-(?:Amz|Goog)-Signature|[Ss]ignature|sig)=)[A-Za-z0-9%+/_-]{16,}=*",
        rf"\1{REDACTED}",
    ),
    (
        "://",
        ("hooks",),
        r"(://(?:hooks\.slack\.com/(?:services|workflows|triggers)|discord(?:app)?\.com/api/(?:v[0-9]+/)?webhooks)/)"
        r"[\w/-]+",
        rf"\1{REDACTED}",
    ),
    (
        ":",
        ("curl",),
        r"""(\bcurl\s(?:[^\n]{0,1000}?\s)??(?:-u|--user)(?:\s+|=)?["']?[^\s:"']{1,200}:(?!//))[^\s"']+""",
        rf"\1{REDACTED}",
    ),
    # as SQL says it
    (
        "'",
        ("password", "identified"),
        r"(?i)(\b(?:password|identified\s+(?:with\s+\S{1,100}\s+)?(?:by|as)(?:\s+password)?)\s+)"
        r"(?:\\+'(?:(?!\\+').)*(?:\\+')?|'(?:[^'\\]|''|\\.)*'?)",
        rf"\1{REDACTED}",
    ),
    # the text of an element
    (
        "</",
        ("passw", "pwd", "pass", "secret", "token", "key", "credential"),
        rf"(?i)(<(?:[\w.-]{{1,64}}:)?[\w.-]{{0,64}}?(?:{_NAMES})(?:\s[^<>]{{0,300}})?>\s*)"
        r"(?:<!\[CDATA\[[\s\S]*?(?:\]\]>|\Z)|[^<>\s][^<>]*)(?=\s*</)",
        rf"\1{REDACTED}",
    ),
    # .netrc
    (
        "",
        ("login",),
        rf"(?i)(\b(?:machine{_GAP}[^\s\\]{{1,200}}|default){_GAP}login{_GAP}[^\s\\]{{1,200}}{_GAP}password{_GAP})"
        r"[^\s\"'\\]+",
        rf"\1{REDACTED}",
    ),
    (
        ":",
        ("password", "passwd", "pwd", "passphrase", "_pass", "secret", "token", "key", "credential"),
        rf"(?i)(?<!unexpected )((?:{_NAMES})(?:[\"'\\]{{0,4}}\s*(?:=>|:=|={{2,3}}|[=:])\s*)){_VALUE}",
        rf"\1{REDACTED}",
    ),
    (
        "-",
        ("--",),
        rf"(?i)((?<![\w-])--[\w-]*(?:password|passwd|passphrase|secret|token|api-?key)\s+){_VALUE}",
        rf"\1{REDACTED}",
    ),
)

_compiled = functools.cache(re.compile)


def words_of(key: str) -> tuple[str, ...]:
    """The words of a name, lower case: `x-apiKey` gives `("x", "api", "key")`."""
    return tuple(word.lower() for word in _WORD.findall(key))


def _without_known(text: str) -> str:
    lower = text.lower().replace("=", ":")
    for sign, needles, pattern, replacement in _PATTERNS:
        for needle in needles if sign in lower else ():
            if needle in lower:
                text = _compiled(pattern).sub(replacement, text)
                break
    return text


class Redactor:
    """Knows secrets by name and by look: the built-in ones and the user's own `keys` and `patterns`.

    `is_on=False` knows none.
    """

    def __init__(
        self, keys: Iterable[str] = (), patterns: Iterable[re.Pattern[str]] = (), *, is_on: bool = True
    ) -> None:
        self._is_on = is_on
        self._keys = tuple(words for words in map(words_of, keys) if words)
        self._patterns = tuple(patterns)
        self._known: dict[str, bool] = {}

    def is_secret(self, key: str) -> bool:
        """Whether the value that goes by this name is a secret. Case and separators do not matter."""
        known = self._known.get(key)
        if known is None:
            known = self._judge(words_of(key[:256]))
            if len(self._known) < 4096 and len(key) <= 256:
                self._known[key] = known
        return known

    def _judge(self, words: tuple[str, ...]) -> bool:
        if not self._is_on:
            return False
        glued = "".join(words)
        for own in self._keys:
            if glued == "".join(own) or any(
                words[at : at + len(own)] == own for at in range(len(words) - len(own) + 1)
            ):
                return True
        for position, word in enumerate(words):
            if word in _SECRET_WORDS or word.endswith(_SECRET_ENDINGS):
                return True
            if word in {"key", "keys"} and position and words[position - 1] in _SECRET_KEYS:
                return True
            if position and words[position - 1] == "pass" and f"pass{word}" in _SECRET_WORDS:  # passWord, pass_phrase
                return True
        if "token" in words:
            return _TOKEN_INNOCENT.isdisjoint(words)
        return bool(words) and (words[-1] == "auth" or (words[-1] == "pass" and len(words) > 1))

    def text(self, text: str) -> str:
        """The text with whatever looks like a secret replaced by `[redacted]`."""
        if not self._is_on or (len(text) < 16 and text.isalnum() and not self._patterns):
            return text  # most names and ids; every built-in pattern needs a separator or more letters
        if may_hold_secret(text):
            text = _without_known(text)
        return self.without_own(text)

    def without_own(self, text: str) -> str:
        """The text without what the user's own patterns find."""
        for own in self._patterns:
            text = own.sub(REDACTED, text)
        return text

    def may_change(self, text: str) -> bool:
        """False if nothing is to be hidden in the text, nor in what it stands for, if it is JSON text."""
        return self._is_on and bool(self._patterns or self._keys or may_hold_secret(text))

    def leaves(self, texts: Sequence[str]) -> bool:
        """Whether `text` would change none of these texts; False if it is not sure."""
        if self._patterns:
            return all(self.text(text) == text for text in texts)
        together = "\n".join(texts)
        return self.text(together) == together
