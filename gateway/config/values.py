"""Single values of the configuration, read from their text.

YAML's own guesses about types are not used: ``0012``, ``1.20``, ``no`` and ``12:30`` reach
these functions as they stand in the file, and the field decides what they mean. Each function
raises ValueError with the offending text and what is allowed.
"""

import ipaddress
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, NamedTuple, TypeVar
from urllib.parse import SplitResult, urlsplit

from gateway.config.problems import WrongValue, allowed, did_you_mean, shown, unexpected

T = TypeVar("T")

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_HOST: Final = re.compile(r"(?!-)(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_NODE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_ROUTE_NAME: Final = re.compile(r"[^\s\\/](?:[^\\/]{0,98}[^\s\\/])?")
_BOOLEANS: Final = {"true": True, "false": False}
_BOOLEAN_WORDS: Final = {
    "yes": "true", "on": "true", "1": "true", "no": "false", "off": "false", "0": "false",
}  # fmt: skip


class Listen(NamedTuple):
    """Where to listen: an IP address or host name, and a TCP port (0: any free one)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_text(value: object, what: str) -> str:
    """Text without the white space around it."""
    if not isinstance(value, str):
        raise unexpected(what, value)
    if not value.strip():
        raise ValueError(f"{what} is empty")
    return value.strip()


def parse_ae_title(value: object) -> str:
    """An AE title without padding: 1 to 16 characters of ASCII (PS3.5 §6.2, VR AE)."""
    title = parse_text(value, "an AE title")
    if len(title) > 16:
        raise ValueError(f"AE title {shown(title)} has {len(title)} characters; allowed: 1 to 16")
    if "\\" in title or not title.isascii() or not title.isprintable():
        raise ValueError(
            f"AE title {shown(title)} has a character that PS3.5 forbids; allowed: ASCII letters,"
            " digits and signs, no backslash, no control characters"
        )
    return title


def parse_integer(value: object, lowest: int, highest: int) -> int:
    """A whole number between two bounds, both included."""
    bounds = f"a whole number from {lowest} to {highest}"
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        value = int(value)
    if not isinstance(value, int):
        raise unexpected(bounds, value)
    if not lowest <= value <= highest:
        raise ValueError(f"{value} is out of range; allowed: {bounds}")
    return value


def parse_boolean(value: object) -> bool:
    """``true`` or ``false``; YAML 1.2 knows no ``yes`` and no ``off``."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in _BOOLEANS:
        return _BOOLEANS[value]
    meant = str(value).lower()
    meant = _BOOLEAN_WORDS.get(meant, meant)
    raise ValueError(
        f"{shown(value)} is neither true nor false{allowed(_BOOLEANS)}"
        f"{did_you_mean(meant, _BOOLEANS)}"
    )


def parse_choice(value: object, choices: Collection[str]) -> str:
    """One of a few words."""
    if isinstance(value, str) and value in choices:
        return value
    raise ValueError(f"{shown(value)} is not known here{allowed(choices, value)}")


def parse_host(value: object) -> str:
    """A host name or an IP address, without scheme, port or brackets."""
    host = parse_text(value, "a host name or IP address")
    if re.fullmatch(r"[0-9.]+", host) or host.count(":") > 1:
        try:
            return str(ipaddress.ip_address(host))
        except ValueError:
            raise ValueError(f"{shown(host)} is not an IP address") from None
    if "://" in host or "/" in host:
        raise ValueError(f"{shown(host)} is a URL; allowed: a host name or IP address alone")
    if ":" in host:
        name, _, port = host.partition(":")
        raise ValueError(f"{shown(host)} names a port; write host: {name} and port: {port}")
    if not _HOST.fullmatch(host):
        raise ValueError(f"{shown(host)} is not a host name; allowed: letters, digits, '.', '-'")
    return host


def parse_listen(value: object) -> Listen:
    """``HOST:PORT`` or ``[IPv6]:PORT``."""
    if isinstance(value, Listen):
        return value
    form = "allowed: HOST:PORT, such as 0.0.0.0:11112"
    if not isinstance(value, str):
        raise unexpected("where to listen", value, f"; {form}")
    host, colon, port = value.strip().rpartition(":")
    if not colon and host + port.strip():
        raise ValueError(f"{shown(value)} lacks {_lacking(port)}; {form}")
    if not host or not port or (":" in host) != (host[:1] + host[-1:] == "[]"):
        raise ValueError(f"{shown(value)} is no place to listen; {form} or [::]:11112")
    return Listen(parse_host(host.strip("[]")), parse_integer(port, 0, 65535))


def _lacking(text: str) -> str:
    return "the host" if text.isdigit() else "the port"


def parse_node_name(value: object) -> str:
    """The name of a node: it is written in rules, commands and metrics."""
    if isinstance(value, str) and _NODE_NAME.fullmatch(value):
        return value
    raise ValueError(
        f"{shown(value)} cannot name a node; allowed: letters, digits, '_', '-', '.', at most 64"
    )


def parse_route_name(value: object, what: str = "a route") -> str:
    """The name of a route or rule: it is written in commands and in the ledger."""
    if isinstance(value, str) and _ROUTE_NAME.fullmatch(value):
        return value
    raise ValueError(
        f"{shown(value)} cannot name {what}; allowed: 1 to 100 characters, no / or \\"
    )


def parse_url(value: object) -> str:
    """An http or https URL without user, query and fragment; the last slash is taken off."""
    form = "allowed: such as https://pacs.example/dicom-web"
    text = parse_text(value, "a URL")
    parts = _split(text)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{shown(text)} is not a URL of HTTP; {form}")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"the URL holds a user or password; write them under auth:; {form}")
    if "?" in text or "#" in text or not text.isprintable() or " " in text:
        raise ValueError(f"the URL has a query, a fragment or a blank; {form}")
    parse_host(_in_ascii(parts.hostname))
    return text.rstrip("/")


def _in_ascii(host: str) -> str:
    """A host's name as it is asked for in the DNS (RFC 3490); itself where it can be none."""
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return host


def _split(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        usable = parts.port != 0
    except ValueError:
        return None
    return parts if usable else None


def parse_web_origin(value: object) -> str:
    """A web origin (RFC 6454), such as https://viewer.example; ``*`` is all of them."""
    if value == "*":
        return "*"
    text = parse_url(value)
    parts = urlsplit(text)
    if parts.path:
        meant = f"{parts.scheme}://{parts.netloc}"
        raise ValueError(f"{shown(text)} has a path; did you mean {meant}?")
    return text


def parse_version(value: object) -> int:
    """The version of the configuration language."""
    if value in (1, "1"):
        return 1
    raise ValueError(f"version {shown(value)} of the language is not known; allowed: 1")


def parse_path(value: object) -> Path:
    """A path on this machine; relative ones start at the working directory."""
    path = parse_text(str(value) if isinstance(value, Path) else value, "a path")
    if path.startswith("~"):
        raise ValueError(f"{shown(path)}: '~' is not expanded; write the path in full")
    return Path(path)


def or_word(parse: Callable[[object], T], word: str) -> Callable[[object], T | None]:
    """A reader that takes ``word`` (and None) as None and hands everything else to ``parse``."""

    def read(value: object) -> T | None:
        if value == word:
            return None
        try:
            return parse(value)
        except WrongValue:
            raise
        except ValueError as error:
            raise ValueError(
                _with_choice(str(error), word) + did_you_mean(value, [word])
            ) from None

    return read


def _with_choice(text: str, word: str) -> str:
    """``text`` with ``word`` added to what it says is allowed."""
    head, found, tail = text.partition("; allowed: ")
    return f"{head}{found}{word}, or {tail}" if found else f"{text}; allowed also: {word}"
