"""Which attributes the index keeps of studies, series and instances (PS3.18 §10.6.3.3).

What is kept can be returned without a look at any file; what is a column can also be matched by
the database. Everything else is matched and returned by reading headers.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class Level(IntEnum):
    """What a query asks for; each holds those after it."""

    STUDY = 0
    SERIES = 1
    INSTANCE = 2


@dataclass(frozen=True, slots=True)
class Column:
    """An attribute that the database matches, by its normal form (``dicomweb.matching``).

    Of person names (VR PN) there are four columns: the three groups, and all words.
    """

    level: Level
    name: str
    vr: str


STUDY_UID: Final = 0x0020000D
SERIES_UID: Final = 0x0020000E
INSTANCE_UID: Final = 0x00080018
MODALITY: Final = 0x00080060
MODALITIES_IN_STUDY: Final = 0x00080061
STUDY_RELATED_SERIES: Final = 0x00201206
STUDY_RELATED_INSTANCES: Final = 0x00201208
SERIES_RELATED_INSTANCES: Final = 0x00201209
AVAILABLE_SYNTAX: Final = 0x00083002
RETRIEVE_URL: Final = 0x00081190
AVAILABILITY: Final = 0x00080056

COLUMNS: Final[dict[int, Column]] = {
    STUDY_UID: Column(Level.STUDY, "uid", "UI"),
    0x00080020: Column(Level.STUDY, "date", "DA"),
    0x00080030: Column(Level.STUDY, "time", "TM"),
    0x00080050: Column(Level.STUDY, "accession", "SH"),
    0x00080090: Column(Level.STUDY, "referring", "PN"),
    0x00081030: Column(Level.STUDY, "description", "LO"),
    0x00100010: Column(Level.STUDY, "patient", "PN"),
    0x00100020: Column(Level.STUDY, "patient_id", "LO"),
    0x00100030: Column(Level.STUDY, "birth_date", "DA"),
    0x00100040: Column(Level.STUDY, "sex", "CS"),
    0x00200010: Column(Level.STUDY, "study_id", "SH"),
    SERIES_UID: Column(Level.SERIES, "uid", "UI"),
    0x00080021: Column(Level.SERIES, "date", "DA"),
    0x00080031: Column(Level.SERIES, "time", "TM"),
    MODALITY: Column(Level.SERIES, "modality", "CS"),
    0x0008103E: Column(Level.SERIES, "description", "LO"),
    0x00180015: Column(Level.SERIES, "body_part", "CS"),
    0x00200011: Column(Level.SERIES, "number", "IS"),
    0x00400244: Column(Level.SERIES, "step_date", "DA"),
    0x00400245: Column(Level.SERIES, "step_time", "TM"),
    0x00080016: Column(Level.INSTANCE, "sop_class", "UI"),
    INSTANCE_UID: Column(Level.INSTANCE, "uid", "UI"),
    0x00200013: Column(Level.INSTANCE, "number", "IS"),
}

ALWAYS: Final[dict[Level, frozenset[int]]] = {
    Level.STUDY: frozenset(
        (
            0x00080005,
            0x00080020,
            0x00080030,
            0x00080050,
            0x00080090,
            0x00080201,
            0x00081030,
            0x00100010,
            0x00100020,
            0x00100030,
            0x00100040,
            STUDY_UID,
            0x00200010,
        )
    ),
    Level.SERIES: frozenset(
        (
            0x00080005,
            MODALITY,
            0x00080201,
            0x0008103E,
            SERIES_UID,
            0x00200011,
            0x00400244,
            0x00400245,
            0x00400275,
        )
    ),
    Level.INSTANCE: frozenset(
        (
            0x00080005,
            0x00080016,
            INSTANCE_UID,
            0x00080201,
            0x00200013,
            0x00280008,
            0x00280010,
            0x00280011,
            0x00280100,
        )
    ),
}
"""What an answer holds of what is there (Tables 10.6.3-3 to -5); what is derived comes on top."""

ON_REQUEST: Final[dict[Level, frozenset[int]]] = {
    Level.STUDY: frozenset((0x00100021, 0x00101010, 0x00102160, 0x00200052)),
    Level.SERIES: frozenset(
        (
            0x00080021,
            0x00080031,
            0x00080070,
            0x00080080,
            0x00081010,
            0x00081040,
            0x00081090,
            0x00180015,
            0x00181030,
            0x00200060,
        )
    ),
    Level.INSTANCE: frozenset((0x00080008, 0x00080023, 0x00080033, 0x00200032, 0x00201041)),
}
"""What is kept beside, for ``includefield``."""

KEPT: Final = {level: ALWAYS[level] | ON_REQUEST[level] for level in Level}
TAGS: Final = frozenset().union(*KEPT.values(), COLUMNS)
"""What is read of each instance's header."""


def level_of(tag: int) -> Level | None:
    """The level at which an attribute is kept, None where it is not."""
    return next((level for level in Level if tag in KEPT[level]), None)
