"""What a predicate speaks of: an attribute, one inside a sequence, a part of a name, the origin.

``Modality``, ``0008,0060``, ``RequestAttributesSequence.ScheduledProcedureStepID``,
``(0019,xx08,ACME 1.0)`` with the private creator (PS3.5 §7.8), ``PatientName.family``; and beside
the data set ``calling_ae``, ``called_ae``, ``address`` and ``size``.
"""

from functools import cache
from typing import Final, NamedTuple

from pydicom.datadict import tag_for_keyword

from gateway.config.attribute_paths import Place, find_place, join, segments
from gateway.config.dicom_names import (
    SOP_CLASS_UID,
    TRANSFER_SYNTAX_UID,
    is_multi_valued,
)
from gateway.config.problems import allowed, shown
from gateway.model import Step
from gateway.value_representation import NUMERIC

CALLING_AE: Final = "calling_ae"
CALLED_AE: Final = "called_ae"
ADDRESS: Final = "address"
SIZE: Final = "size"

TEXT: Final = "text"
NAME: Final = "person name"
NUMBER: Final = "number"
DAY: Final = "date"
TIME: Final = "time"
MOMENT: Final = "date and time"
AGE: Final = "age"
UIDS: Final = "UID"
ITEMS: Final = "sequence"
UNKNOWN: Final = "private value"
TITLE: Final = "AE title"
NETWORK: Final = "network"
BYTES: Final = "number of bytes"

_KINDS: Final = {"PN": NAME, "DA": DAY, "TM": TIME, "DT": MOMENT, "AS": AGE, "UI": UIDS,
                 "SQ": ITEMS, "UN": UNKNOWN}  # fmt: skip
_NOT_READ: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "AT"})
_ORIGINS: Final = {CALLING_AE: TITLE, CALLED_AE: TITLE, ADDRESS: NETWORK, SIZE: BYTES}
COMPONENTS: Final = ("family", "given", "middle", "prefix", "suffix")
"""The components of a person name in their order, PS3.5 §6.2.1."""


class Subject(NamedTuple):
    """What is compared.

    ``kind`` says how, ``steps`` lead there: one tag or private element, after those of the
    sequences around it; () for what is not in the data set. ``source`` is the name under which a
    header holds it, ``component`` the part of a person name or -1.
    """

    key: str
    kind: str
    multi_valued: bool = True
    steps: tuple[Step, ...] = ()
    source: str = ""
    component: int = -1


@cache
def find_subject(key: str) -> Subject:
    """What a key of ``match`` or ``unless`` names; raises ValueError."""
    if key in _ORIGINS:
        return Subject(key, _ORIGINS[key], source=key)
    names = segments(key)
    component = -1
    if len(names) > 1 and names[-1] in COMPONENTS:
        component = COMPONENTS.index(names.pop())
    elif len(names) > 1 and names[-1][:1].islower():
        what = f"{shown(key)}: {names[-1]} is no component of a person name"
        raise ValueError(what + allowed(COMPONENTS, names[-1]))
    return _subject([find_place(name) for name in names], component, key)


def _subject(places: list[Place], component: int, key: str) -> Subject:
    source, steps, vr = join(places, key)
    name = places[-1].name
    if vr in _NOT_READ:
        raise ValueError(f"{name} has VR {vr}, which rules cannot compare")
    kind = NUMBER if vr in NUMERIC else _KINDS.get(vr, TEXT)
    if component >= 0 and kind != NAME:
        raise ValueError(f"{shown(key)}: {name} is no person name and has no components")
    written = f"{source}.{COMPONENTS[component]}" if component >= 0 else source
    if steps[-1] == tag_for_keyword(TRANSFER_SYNTAX_UID):
        if len(steps) > 1:
            raise ValueError(f"{shown(key)}: {name} stands in no sequence")
        steps = ()
    return Subject(written, kind, is_multi_valued(vr), steps, source, component)


def names_uid(subject: Subject) -> str:
    """The keyword whose UIDs have names in the configuration, "" for any other subject."""
    return subject.source if subject.source in (TRANSFER_SYNTAX_UID, SOP_CLASS_UID) else ""
