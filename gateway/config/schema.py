"""The JSON Schema of the configuration language, by which editors complete and check keys.

It says what may stand where; what values mean together only the loader knows.
"""

from collections.abc import Iterable
from functools import partial
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import PlainValidator
from pydantic.fields import FieldInfo

from gateway.config import examples, query_retrieve, readers
from gateway.config.charsets import ALONE, EXTENDING
from gateway.config.conditions import OPERATORS
from gateway.config.models import Config
from gateway.config.section import Section
from gateway.config.subjects import COMPONENTS
from gateway.config.tags import Tags
from gateway.transfer_syntax import KNOWN

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_TEXT: Final[dict[str, Any]] = {"type": ["string", "number", "boolean"]}
_TRUE: Final[dict[str, Any]] = {"type": "boolean"}
_DURATION: Final[dict[str, Any]] = {"type": "string", "pattern": r"^[0-9]+ ?(ms|s|m|h|d|w)$"}
_SIZE: Final[dict[str, Any]] = {
    "type": "string", "pattern": r"^[0-9]+ ?(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$",
}  # fmt: skip
_SYNTAX: Final[dict[str, Any]] = {"$ref": "#/$defs/syntax"}
_KEYWORDS: Final = (
    "AccessionNumber", "BodyPartExamined", "Columns", "DeviceSerialNumber", "ImageType",
    "InstitutionName", "InstitutionalDepartmentName", "Laterality", "Manufacturer",
    "ManufacturerModelName", "Modality", "NumberOfFrames", "PatientAge", "PatientBirthDate",
    "PatientID", "PatientName", "PatientSex", "PhotometricInterpretation", "ProtocolName",
    "ReferringPhysicianName", "RequestedProcedureDescription", "Rows", "SOPClassUID",
    "SeriesDescription", "SeriesInstanceUID", "SliceThickness", "StationName", "StudyDate",
    "StudyDescription", "StudyInstanceUID", "StudyTime", "TransferSyntaxUID",
    "RequestAttributesSequence.ScheduledProcedureStepID",
    *(f"PatientName.{component}" for component in COMPONENTS[:2]),
    "calling_ae", "called_ae", "address", "size",
)  # fmt: skip
"""The keys that editors offer for ``match``; every other DICOM keyword is as good."""


def _some(one: dict[str, Any], *words: str) -> dict[str, Any]:
    """One, a list of them, or a word that stands alone."""
    choices = [one, {"type": "array", "items": one}]
    return {"anyOf": [*choices, {"enum": list(words)}] if words else choices}


def _or(one: dict[str, Any], *words: str) -> dict[str, Any]:
    return {"anyOf": [one, {"enum": list(words)}]}


def _condition() -> dict[str, Any]:
    operators: dict[str, Any] = {name: _some(_TEXT) for name in OPERATORS}
    operators |= {"min": _TEXT, "max": _TEXT, "missing": _TRUE, "ignore_case": _TRUE}
    mapping = {"type": "object", "properties": operators, "additionalProperties": False}
    return {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}, {**mapping, "minProperties": 1}]}


def _keyed(definition: str) -> dict[str, Any]:
    """A mapping from keywords to what is defined so; keywords that are common are offered."""
    one = {"$ref": f"#/$defs/{definition}"}
    properties = dict.fromkeys(sorted(_KEYWORDS), one)
    return {"type": "object", "properties": properties, "additionalProperties": one}


_RANGE: Final[dict[str, Any]] = {
    "type": "object", "properties": {"min": _TEXT, "max": _TEXT}, "additionalProperties": False,
}  # fmt: skip
_SECRET: Final[dict[str, Any]] = {"type": "string", "pattern": r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$"}
_NODES: Final = _some(_TEXT)
_EXPECTED: Final[dict[str, Any]] = {
    "anyOf": [
        {"enum": ["nothing"]},
        {
            "type": "object",
            "additionalProperties": {
                "anyOf": [
                    _NODES,
                    {
                        "type": "object",
                        "additionalProperties": {
                            "type": "object",
                            "properties": {
                                "syntax": _SYNTAX,
                                "photometric": {"enum": list(examples.PHOTOMETRICS)},
                            },
                            "additionalProperties": False,
                        },
                    },
                ]
            },
        },
    ]
}


def _table() -> dict[int, dict[str, Any]]:
    """The schema of each kind of field, by the identity of its reader."""
    kinds: list[tuple[Any, dict[str, Any]]] = [
        (readers.Boolean, _TRUE),
        (readers.Seconds, _DURATION),
        (readers.SecondsOrNever, _or(_DURATION, readers.NEVER)),
        (readers.Keep, _or(_DURATION, readers.FOREVER)),
        (readers.Bytes, _SIZE),
        (readers.BytesOrUnlimited, _or(_SIZE, readers.UNLIMITED)),
        (readers.RateOrUnlimited, _or({"type": "number"}, readers.UNLIMITED)),
        (readers.SopClasses, _some(_TEXT, readers.ALL)),
        (readers.BitsOrAny, _or({"type": "integer", "minimum": 1}, readers.ANY)),
        (readers.CountOrAuto, _or({"type": "integer", "minimum": 1}, readers.AUTO)),
        (readers.Charsets, _some({"enum": [*ALONE, *EXTENDING]}, readers.AS_RECEIVED)),
        (query_retrieve.Services, _some({"enum": list(query_retrieve.SERVICES)})),
        (readers.Syntaxes, _some(_SYNTAX, readers.AS_RECEIVED)),
        (readers.Color, {"enum": ["RGB", readers.AS_RECEIVED]}),
        (readers.Planar, {"enum": ["interleaved", "separate", readers.AS_RECEIVED]}),
        (readers.Version, {"const": 1}),
        (readers.SecretText, _SECRET),
        (readers.Predicates, {"$ref": "#/$defs/match"}),
        (readers.QueryFilter, {"$ref": "#/$defs/filter"}),
    ]
    lists = (readers.Callers, readers.Senders, readers.Destinations, readers.Nodes,
             readers.Origins, readers.Texts, readers.Windows, query_retrieve.Keywords)  # fmt: skip
    table = {id(get_args(alias)[1]): schema for alias, schema in kinds}
    table |= {id(get_args(alias)[1]): _some(_TEXT) for alias in lists}
    for name, schema in (("given", {"$ref": "#/$defs/given"}), ("expect", _EXPECTED)):
        field = examples.Example.model_fields[name]
        table |= {id(each): schema for each in field.metadata}
    for name, schema in _tags().items():
        table |= {id(each): schema for each in Tags.model_fields[name].metadata}
    return table


def _tags() -> dict[str, dict[str, Any]]:
    """The changes of ``tags`` by the names of their fields."""

    def of(one: dict[str, Any]) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": one}

    def exactly(**properties: dict[str, Any]) -> dict[str, Any]:
        return {"type": "object", "properties": properties, "additionalProperties": False}

    whole = {"type": "integer"}
    return {
        "set_": of(_some(_TEXT)),
        "remove": _some(_TEXT),
        "copy_": of(_TEXT),
        "template": of(_TEXT),
        "hash_": _some(_TEXT),
        "replace": of(exactly(**{"find": _TEXT, "with": _TEXT})),
        "shift_dates": exactly(attributes=_some(_TEXT), days=whole, up_to=whole),
    }


_SCHEMAS: Final = _table()


def schema() -> dict[str, Any]:
    """The whole language as JSON Schema, draft 2020-12."""
    definitions = {
        "syntax": {
            "anyOf": [
                {"enum": [each.name for each in KNOWN]},
                {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)+$"},
            ]
        },
        "condition": _condition(),
        "values": _some(_TEXT),
        "asked": {"anyOf": [*_some(_TEXT)["anyOf"], _RANGE]},
        "match": {**_keyed("condition"), "minProperties": 1},
        "given": _keyed("values"),
        "filter": _keyed("asked"),
    }
    head = {"$schema": DIALECT, "title": "dicom-gateway"}
    return {**head, **_section(Config), "$defs": definitions}


def _section(section: type[Section]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for key, name in section.keys().items():
        properties[key] = _field(section.model_fields[name])
    properties |= dict.fromkeys(section.BESIDE, _some(_TEXT))
    required = [field.alias or name for name, field in section.model_fields.items()
                if field.is_required()]  # fmt: skip
    found: dict[str, Any] = {
        "type": "object",
        "description": " ".join((section.__doc__ or "").split("\n\n")[0].split()),
        "properties": properties,
        "additionalProperties": False,
    }
    if section.__name__ == "Access":
        found = {"anyOf": [{"enum": ["none"]}, found]}
    return found | ({"required": required} if required else {})


def _field(field: FieldInfo) -> dict[str, Any]:
    return _told(field.metadata) or _kind(field.annotation)


def _told(metadata: Iterable[Any]) -> dict[str, Any] | None:
    """What the reader among the metadata of a field says, None where there is none."""
    return next((_read(each) for each in metadata if isinstance(each, PlainValidator)), None)


def _read(validator: PlainValidator) -> dict[str, Any]:
    function = validator.func
    if isinstance(function, partial):
        told: dict[str, Any] = function.keywords
        if "choices" in told:
            return {"enum": list(told["choices"])}
        return {"type": "integer", "minimum": told["lowest"], "maximum": told["highest"]}
    return _SCHEMAS.get(id(validator), _TEXT)


def _kind(annotation: Any) -> dict[str, Any]:
    """The schema of a field that is a section, or a list or mapping of sections."""
    if get_origin(annotation) in (UnionType, Union):
        annotation = next(each for each in get_args(annotation) if each is not NoneType)
    if get_origin(annotation) is Annotated:
        return _told(annotation.__metadata__) or _TEXT
    if get_origin(annotation) is tuple:
        return {"type": "array", "items": _kind(get_args(annotation)[0])}
    if get_origin(annotation) is dict:
        return {"type": "object", "additionalProperties": _kind(get_args(annotation)[1])}
    return _section(annotation)
