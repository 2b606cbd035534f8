"""The kinds of fields the models have: how each is read from text and written again."""

import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import PlainSerializer, PlainValidator

from gateway.config.charsets import parse_charset
from gateway.config.dicom_names import parse_sop_class, parse_transfer_syntax, uid_name
from gateway.config.expression import parse_expr
from gateway.config.filters import Filter, parse_filter, write_filter
from gateway.config.predicates import Match, parse_match, write_match
from gateway.config.problems import Complaint, WrongValue, shown, unexpected
from gateway.config.secrets import Secret, parse_file, parse_secret, write_secret
from gateway.config.senders import Sender, parse_sender
from gateway.config.units import (
    Retry,
    format_duration,
    format_rate,
    format_retry,
    format_size,
    parse_duration,
    parse_rate,
    parse_retry,
    parse_size,
)
from gateway.config.values import (
    Listen,
    or_word,
    parse_ae_title,
    parse_boolean,
    parse_choice,
    parse_host,
    parse_integer,
    parse_listen,
    parse_node_name,
    parse_path,
    parse_route_name,
    parse_text,
    parse_url,
    parse_version,
    parse_web_origin,
)
from gateway.config.windows import LOCAL, Window, parse_window, parse_zone
from gateway.model import ORDERS, UID
from gateway.transfer_syntax import name_of

AS_RECEIVED: Final = "as-received"
ANYONE: Final = "anyone"
FOREVER: Final = "forever"
NEVER: Final = "never"
UNLIMITED: Final = "unlimited"
AUTO: Final = "auto"
ALL: Final = "all"
ANY: Final = "any"
_PERCENT: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?) ?(%?)")


def whole(lowest: int, highest: int) -> PlainValidator:
    """Reads a whole number between two bounds, both included."""
    return PlainValidator(partial(parse_integer, lowest=lowest, highest=highest))


def _choice(*words: str) -> PlainValidator:
    return PlainValidator(partial(parse_choice, choices=words))


def each(parse: Callable[[object], Any]) -> Callable[[object], tuple[Any, ...]]:
    """A reader of one value or a list of them; repetitions are dropped, the order is kept."""

    def read(value: object) -> tuple[Any, ...]:
        if isinstance(value, str | dict | Sender | Window):
            return (parse(value),)
        if not isinstance(value, list | tuple):
            raise unexpected("a value or a list of values", value)
        if not value:
            raise ValueError("the list is empty; allowed: one value or more")
        return _all_of(parse, value)

    return read


def some(parse: Callable[[object], Any]) -> Callable[[object], tuple[Any, ...]]:
    """As ``each``, of a list that may be empty."""
    return lambda value: () if value in ([], ()) else each(parse)(value)


def _all_of(
    parse: Callable[[object], Any], entries: list[Any] | tuple[Any, ...]
) -> tuple[Any, ...]:
    complaints: list[Complaint] = []
    values: dict[Any, None] = {}
    for index, entry in enumerate(entries):
        try:
            values[parse(entry)] = None
        except ValueError as error:
            complaints.append(Complaint((index,), str(error)))
    if complaints:
        raise WrongValue(complaints)
    return tuple(values)


def _syntaxes(value: object) -> tuple[UID, ...] | None:
    if value is None or value in (AS_RECEIVED, [AS_RECEIVED]):
        return None
    if isinstance(value, list) and AS_RECEIVED in value:
        raise ValueError(f"{AS_RECEIVED} means any transfer syntax and stands alone")
    return each(parse_transfer_syntax)(value)


def _color(value: object) -> str:
    return "" if value in ("", AS_RECEIVED) else parse_choice(value, ("RGB", AS_RECEIVED))


def _planar(value: object) -> str:
    choices = ("interleaved", "separate", AS_RECEIVED)
    return "" if value in ("", AS_RECEIVED) else parse_choice(value, choices)


def _verify(value: object) -> str:
    if value in ("off", "lossless"):
        return str(value)
    found = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
    percent = float(found[1]) if found else 0.0
    if found and found[2] and 0 < percent <= 100:
        return f"{percent:g}%"
    meant = percent * 100 if percent < 1 else percent  # 0.05 is 5% of all; 1 may be either
    unsure = not found or found[2] or percent == 1 or not 0 < meant <= 100
    hint = "" if unsure else f"; did you mean {meant:g}%?"
    raise ValueError(
        f"{shown(value)} does not say what is verified; allowed: off, lossless, or a share of "
        f"the instances, above 0% and up to 100%, such as 5%{hint}"
    )


def _keep(value: object) -> timedelta | None:
    seconds = or_word(parse_duration, FOREVER)(value)
    return None if seconds is None else timedelta(seconds=seconds)


def _or(write: Callable[[Any], Any], word: str) -> PlainSerializer:
    return PlainSerializer(lambda value: word if value is None else write(value))


Boolean: TypeAlias = Annotated[bool, PlainValidator(parse_boolean)]
Host: TypeAlias = Annotated[str, PlainValidator(parse_host)]
Place: TypeAlias = Annotated[Listen, PlainValidator(parse_listen), PlainSerializer(str)]
Folder: TypeAlias = Annotated[Path, PlainValidator(parse_path), PlainSerializer(str)]
NodeName: TypeAlias = Annotated[str, PlainValidator(parse_node_name)]
Text: TypeAlias = Annotated[str, PlainValidator(lambda value: parse_text(value, "a text"))]
Texts: TypeAlias = Annotated[
    tuple[str, ...], PlainValidator(some(lambda value: parse_text(value, "a text")))
]
Url: TypeAlias = Annotated[str, PlainValidator(parse_url)]
File: TypeAlias = Annotated[
    Path | None,
    PlainValidator(parse_file),
    PlainSerializer(lambda path: path if path is None else str(path)),
]
SecretText: TypeAlias = Annotated[
    Secret | None,
    PlainValidator(parse_secret),
    PlainSerializer(lambda secret: secret if secret is None else write_secret(secret)),
]
Origins: TypeAlias = Annotated[tuple[str, ...], PlainValidator(some(parse_web_origin))]
NodeReference: TypeAlias = Annotated[str, PlainValidator(parse_node_name)]
Nodes: TypeAlias = Annotated[tuple[str, ...], PlainValidator(some(parse_node_name))]
RuleName: TypeAlias = Annotated[
    str, PlainValidator(lambda value: parse_route_name(value, "a fetch rule"))
]
LevelName: TypeAlias = Annotated[Literal["study", "series"], _choice("study", "series")]
SendBy: TypeAlias = Annotated[Literal["dimse", "dicomweb"], _choice("dimse", "dicomweb")]
QueryFilter: TypeAlias = Annotated[
    Filter, PlainValidator(parse_filter), PlainSerializer(write_filter)
]
Windows: TypeAlias = Annotated[
    tuple[Window, ...],
    PlainValidator(some(parse_window)),
    PlainSerializer(lambda windows: [str(window) for window in windows]),
]
TimeZone: TypeAlias = Annotated[
    str | None, PlainValidator(or_word(parse_zone, LOCAL)), _or(str, LOCAL)
]
RouteName: TypeAlias = Annotated[str, PlainValidator(parse_route_name)]
Port: TypeAlias = Annotated[int, whole(1, 65535)]

AETitle: TypeAlias = Annotated[str, PlainValidator(parse_ae_title)]
OwnTitle: TypeAlias = Annotated[str | None, PlainValidator(parse_ae_title)]
Callers: TypeAlias = Annotated[
    tuple[str, ...] | None,
    PlainValidator(or_word(each(parse_ae_title), ANYONE)),
    _or(list, ANYONE),
]

Seconds: TypeAlias = Annotated[
    float, PlainValidator(parse_duration), PlainSerializer(format_duration)
]
SecondsOrNever: TypeAlias = Annotated[
    float | None, PlainValidator(or_word(parse_duration, NEVER)), _or(format_duration, NEVER)
]
Keep: TypeAlias = Annotated[
    timedelta | None,
    PlainValidator(_keep),
    _or(lambda span: format_duration(span.total_seconds()), FOREVER),
]
Schedule: TypeAlias = Annotated[Retry, PlainValidator(parse_retry), PlainSerializer(format_retry)]
Bytes: TypeAlias = Annotated[int, PlainValidator(parse_size), PlainSerializer(format_size)]
BytesOrUnlimited: TypeAlias = Annotated[
    int | None, PlainValidator(or_word(parse_size, UNLIMITED)), _or(format_size, UNLIMITED)
]
RateOrUnlimited: TypeAlias = Annotated[
    float | None, PlainValidator(or_word(parse_rate, UNLIMITED)), _or(format_rate, UNLIMITED)
]
Count: TypeAlias = Annotated[int, whole(1, 64)]
CountOrAuto: TypeAlias = Annotated[
    int | None,
    PlainValidator(or_word(lambda value: parse_integer(value, 1, 256), AUTO)),
    _or(int, AUTO),
]

Syntaxes: TypeAlias = Annotated[
    tuple[UID, ...] | None,
    PlainValidator(_syntaxes),
    _or(lambda uids: [name_of(uid) for uid in uids], AS_RECEIVED),
]
Color: TypeAlias = Annotated[
    str, PlainValidator(_color), PlainSerializer(lambda color: color or AS_RECEIVED)
]
Planar: TypeAlias = Annotated[
    str, PlainValidator(_planar), PlainSerializer(lambda planar: planar or AS_RECEIVED)
]
Charsets: TypeAlias = Annotated[
    tuple[str, ...] | None,
    PlainValidator(or_word(each(parse_charset), AS_RECEIVED)),
    _or(list, AS_RECEIVED),
]
Senders: TypeAlias = Annotated[
    tuple[Sender, ...],
    PlainValidator(each(parse_sender)),
    PlainSerializer(lambda senders: [str(sender) for sender in senders]),
]
Destinations: TypeAlias = Annotated[tuple[str, ...], PlainValidator(each(parse_node_name))]
Predicates: TypeAlias = Annotated[Match, PlainValidator(parse_match), PlainSerializer(write_match)]

Expression: TypeAlias = Annotated[str | None, PlainValidator(parse_expr)]
QueryName: TypeAlias = Annotated[
    str, PlainValidator(lambda value: parse_route_name(value, "an entry of query_retrieve"))
]
SopClasses: TypeAlias = Annotated[
    tuple[UID, ...] | None,
    PlainValidator(or_word(each(parse_sop_class), ALL)),
    _or(lambda uids: [uid_name("SOPClassUID", uid) for uid in uids], ALL),
]
BitsOrAny: TypeAlias = Annotated[
    int | None,
    PlainValidator(or_word(lambda value: parse_integer(value, 1, 64), ANY)),
    _or(int, ANY),
]

Change: TypeAlias = Annotated[
    Literal["never", "if-needed", "always"], _choice("never", "if-needed", "always")
]
IfUndecodable: TypeAlias = Annotated[
    Literal["quarantine", "forward-as-stored", "reject"],
    _choice("quarantine", "forward-as-stored", "reject"),
]
Verify: TypeAlias = Annotated[str, PlainValidator(_verify)]
Priority: TypeAlias = Annotated[Literal["high", "normal", "low"], _choice("high", "normal", "low")]
OrderName: TypeAlias = Annotated[
    Literal["as-received", "newest-first", "by-series", "by-study"], _choice(*ORDERS)
]
Reload: TypeAlias = Annotated[
    Literal["on-request", "on-change"], _choice("on-request", "on-change")
]
Version: TypeAlias = Annotated[Literal[1], PlainValidator(parse_version)]
