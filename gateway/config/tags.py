"""``tags``: attributes that a route changes in the copies that it sends.

They are named as in ``match``: at the top level, inside all items of sequences, private ones with
their creator; all others stay byte for byte as they came. This is no de-identification by PS3.15
Annex E: what is not named is left as it is, and so are burnt-in names. What identifies patient or
instance is changed only where ``identity: true`` says so, what describes the pixels never.
"""

from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

from pydantic import Field, PlainSerializer, PlainValidator, model_validator

from gateway.config.attribute_paths import AttributePath
from gateway.config.patterns import parse_find, parse_replacement
from gateway.config.problems import Complaint, WrongValue, allowed, shown
from gateway.config.readers import Boolean, File, SecretText
from gateway.config.section import Section
from gateway.config.tag_values import (
    changeable,
    check_value,
    each_entry,
    each_key,
    is_identity,
    placeholders,
    readable,
    removable,
)
from gateway.config.values import parse_integer


class Replacement(NamedTuple):
    """What a regular expression finds, and what stands there afterwards."""

    find: str
    by: str


class Shift(NamedTuple):
    """Dates that are moved: by ``days``, or back by 1 to ``up_to`` days that the key draws for
    each patient."""

    attributes: tuple[str, ...]
    days: int = 0
    up_to: int = 0


def _set(value: object) -> dict[str, str]:
    def read(attribute: AttributePath, entry: object) -> str:
        values = entry if isinstance(entry, list) else [entry]
        texts = [each.strip() for each in values if isinstance(each, str)]
        if not texts or len(texts) != len(values):
            raise ValueError(f"{attribute.name} is set to {shown(entry)}; allowed: plain values")
        return "\\".join(check_value(attribute, text) for text in texts)

    return each_entry(value, read)


def _remove(value: object) -> tuple[str, ...]:
    return each_key(value, removable)


def _hash(value: object) -> tuple[str, ...]:
    return each_key(value)


def _copy(value: object) -> dict[str, str]:
    def read(attribute: AttributePath, entry: object) -> str:
        source = readable(entry)
        if source.vr != attribute.vr:
            raise ValueError(
                f"{source.name} has VR {source.vr}, which {attribute.name} with VR"
                f" {attribute.vr} cannot take"
            )
        return source.name

    return each_entry(value, read)


def _template(value: object) -> dict[str, str]:
    def read(attribute: AttributePath, entry: object) -> str:
        if not isinstance(entry, str) or not entry.strip():
            raise ValueError(
                f"{attribute.name} has no template; allowed: such as '{{Modality}} 1'"
            )
        for keyword in placeholders(entry):
            readable(keyword)
        return str(entry)

    return each_entry(value, read)


def _replace(value: object) -> dict[str, Replacement]:
    def read(attribute: AttributePath, entry: object) -> Replacement:
        if isinstance(entry, Replacement):
            return entry
        if not isinstance(entry, dict) or set(entry) != {"find", "with"}:
            raise ValueError(f"{attribute.name}: expected {{ find: PATTERN, with: TEXT }}")
        find, by = entry["find"], entry["with"]
        if not isinstance(find, str) or not find:
            raise ValueError(f"{attribute.name}: find is empty")
        return Replacement(parse_find(str(find)), str(parse_replacement(find, by)))

    return each_entry(value, read)


def _shift(value: object) -> Shift:
    if isinstance(value, Shift):
        return value
    if not isinstance(value, dict):
        what = "expected { attributes: [...], days: N }, or up_to: N in place of days"
        raise ValueError(what)  # noqa: TRY004
    unknown = [key for key in value if key not in Shift._fields]
    if unknown:
        text = f"unknown key {shown(unknown[0])}{allowed(Shift._fields, unknown[0])}"
        raise WrongValue([Complaint((unknown[0],), text, at_key=True)])
    try:
        attributes = each_key(value.get("attributes"))
    except WrongValue as error:
        inner = [each.under("attributes") for each in error.complaints]
        raise WrongValue(inner) from None
    for keyword in attributes:
        if changeable(keyword).vr not in ("DA", "DT"):
            raise ValueError(f"{keyword} holds no date")
    given = [key for key in ("days", "up_to") if key in value]
    if len(given) != 1:
        raise ValueError(f"{'has both' if given else 'lacks one'} of the keys days, up_to")
    key, lowest = given[0], 1 if given[0] == "up_to" else -36_500
    try:
        return Shift(attributes, **{key: parse_integer(value[key], lowest, 36_500)})
    except ValueError as error:
        raise WrongValue([Complaint((key,), str(error))]) from None


def _write_shift(shift: Shift | None) -> Any:
    if shift is None:
        return None
    how = {"up_to": shift.up_to} if shift.up_to else {"days": shift.days}
    return {"attributes": list(shift.attributes), **how}


def _write_set(values: dict[str, str]) -> dict[str, object]:
    split = {key: text.split("\\") for key, text in values.items()}
    return {key: texts[0] if len(texts) == 1 else texts for key, texts in split.items()}


def _write_replace(values: dict[str, Replacement]) -> dict[str, dict[str, str]]:
    return {key: {"find": each.find, "with": each.by} for key, each in values.items()}


def _inside(seen: dict[str, str]) -> Iterator[Complaint]:
    """What is changed although all around it goes, too."""
    for keyword, name in seen.items():
        for around, change in seen.items():
            if keyword.startswith(f"{around}."):
                text = (
                    f"{keyword} stands in {around}, which {change} changes; allowed: one of them"
                )
                yield Complaint((name,), text, at_key=True)


class Tags(Section):
    """The changes of a route; each attribute is changed by one of them.

    ``set`` gives values, ``remove`` leaves attributes out, ``copy`` takes another attribute's
    value, ``template`` puts attributes into a text, ``hash`` puts a keyed digest in a value's
    place (a UID for UIDs), ``replace`` is for what regular expressions find, ``shift_dates`` moves
    dates. ``key`` or ``key_file`` holds the secret of digests and of patients' shifts.
    """

    set_: Annotated[dict[str, str], PlainValidator(_set), PlainSerializer(_write_set)] = Field(
        default_factory=dict, alias="set"
    )
    remove: Annotated[tuple[str, ...], PlainValidator(_remove)] = ()
    copy_: Annotated[dict[str, str], PlainValidator(_copy)] = Field(
        default_factory=dict, alias="copy"
    )
    template: Annotated[dict[str, str], PlainValidator(_template)] = Field(default_factory=dict)
    hash_: Annotated[tuple[str, ...], PlainValidator(_hash)] = Field((), alias="hash")
    replace: Annotated[
        dict[str, Replacement], PlainValidator(_replace), PlainSerializer(_write_replace)
    ] = Field(default_factory=dict)
    shift_dates: Annotated[Shift | None, PlainValidator(_shift), PlainSerializer(_write_shift)] = (
        None
    )
    key: SecretText = None
    key_file: File = None
    identity: Boolean = False

    @property
    def needs_key(self) -> bool:
        """A secret is asked for."""
        return bool(self.hash_) or (self.shift_dates is not None and self.shift_dates.up_to > 0)

    def changed(self) -> Iterator[tuple[str, str]]:
        """(key of the section, name of the attribute) of every change."""
        for name, keywords in (
            ("set", self.set_),
            ("remove", self.remove),
            ("copy", self.copy_),
            ("template", self.template),
            ("hash", self.hash_),
            ("replace", self.replace),
            ("shift_dates", self.shift_dates.attributes if self.shift_dates else ()),
        ):
            for keyword in keywords:
                yield name, keyword

    @model_validator(mode="after")
    def _checked(self) -> "Tags":
        complaints: list[Complaint] = []
        seen: dict[str, str] = {}
        for name, keyword in self.changed():
            if keyword in seen:
                text = f"{keyword} is changed by {seen[keyword]} as well; allowed: one of them"
                complaints.append(Complaint((name,), text, at_key=True))
            seen.setdefault(keyword, name)
            if not self.identity and is_identity(keyword):
                text = f"{keyword} tells who or what it is; to change it say identity: true"
                complaints.append(Complaint((name,), text, at_key=True))
        complaints += _inside(seen)
        if not seen:
            raise ValueError("lacks what is to be changed")
        if self.needs_key == (self.key is None and self.key_file is None):
            what = "needs key or key_file" if self.needs_key else "has a key that nothing uses"
            raise ValueError(f"has hash or up_to and {what}" if self.needs_key else what)
        if complaints:
            raise WrongValue(complaints)
        return self
