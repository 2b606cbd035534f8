"""Which attributes the index holds of a study, series and instance, and in which column.

What is always returned is in PS3.18 Tables 10.6.3-3 to 10.6.3-5; to it come a few that every
worklist shows. Whatever else is asked for is read from the files.
"""

from dataclasses import dataclass
from typing import Final

from gateway.dicomweb.matching import Path
from gateway.dicomweb.query import Level

STUDY_UID: Final = 0x0020000D
SERIES_UID: Final = 0x0020000E
SOP_CLASS: Final = 0x00080016
SOP_INSTANCE: Final = 0x00080018
TRANSFER_SYNTAX: Final = 0x00083002
AVAILABILITY: Final = 0x00080056
RETRIEVE_URL: Final = 0x00081190
TIMEZONE: Final = 0x00080201
MODALITIES: Final = 0x00080061
MODALITY: Final = 0x00080060
STUDY_SERIES: Final = 0x00201206
STUDY_INSTANCES: Final = 0x00201208
SERIES_INSTANCES: Final = 0x00201209
REQUESTS: Final = 0x00400275
STEP_ID: Final = 0x00400009
PROCEDURE_ID: Final = 0x00401001


@dataclass(frozen=True, slots=True)
class Key:
    """An attribute that can be matched in the database: its ``column`` in the table of ``level``.

    ``form``: "text", "name" (three columns and their words), "moment" or "number".
    """

    level: Level
    column: str
    vr: str
    form: str = "text"


_STUDY: Final = {
    0x00080020: Key(Level.STUDY, "study_date", "DA", "moment"),
    0x00080030: Key(Level.STUDY, "study_time", "TM", "moment"),
    0x00080050: Key(Level.STUDY, "accession", "SH"),
    0x00080090: Key(Level.STUDY, "referring", "PN", "name"),
    0x00081030: Key(Level.STUDY, "description", "LO"),
    0x00100010: Key(Level.STUDY, "patient", "PN", "name"),
    0x00100020: Key(Level.STUDY, "patient_id", "LO"),
    0x00100030: Key(Level.STUDY, "birth_date", "DA", "moment"),
    0x00100040: Key(Level.STUDY, "sex", "CS"),
    0x00200010: Key(Level.STUDY, "label", "SH"),
}
_SERIES: Final = {
    0x00080021: Key(Level.SERIES, "series_date", "DA", "moment"),
    0x00080031: Key(Level.SERIES, "series_time", "TM", "moment"),
    0x00080060: Key(Level.SERIES, "modality", "CS"),
    0x0008103E: Key(Level.SERIES, "description", "LO"),
    0x00180015: Key(Level.SERIES, "body_part", "CS"),
    0x00200011: Key(Level.SERIES, "number", "IS", "number"),
    0x00400244: Key(Level.SERIES, "performed_date", "DA", "moment"),
    0x00400245: Key(Level.SERIES, "performed_time", "TM", "moment"),
}
_INSTANCE: Final = {0x00200013: Key(Level.INSTANCE, "number", "IS", "number")}

FROM_HEADER: Final = (_STUDY, _SERIES, _INSTANCE)
"""By level: the keys whose columns are filled from the header."""

KEYS: Final[dict[Path, Key]] = {
    **{(tag,): key for keys in FROM_HEADER for tag, key in keys.items()},
    (STUDY_UID,): Key(Level.STUDY, "uid", "UI"),
    (STUDY_SERIES,): Key(Level.STUDY, "series", "IS", "number"),
    (STUDY_INSTANCES,): Key(Level.STUDY, "instances", "IS", "number"),
    (SERIES_UID,): Key(Level.SERIES, "uid", "UI"),
    (SERIES_INSTANCES,): Key(Level.SERIES, "instances", "IS", "number"),
    (SOP_CLASS,): Key(Level.INSTANCE, "sop_class", "UI"),
    (SOP_INSTANCE,): Key(Level.INSTANCE, "uid", "UI"),
    (TRANSFER_SYNTAX,): Key(Level.INSTANCE, "transfer_syntax", "UI"),
}
"""The attributes that are matched without reading files; see also MODALITIES and REQUESTS."""

RETURNED: Final[tuple[dict[int, str], ...]] = (
    {tag: key.vr for tag, key in _STUDY.items()} | {TIMEZONE: ""},
    {tag: key.vr if tag in (MODALITY, 0x00200011) else "" for tag, key in _SERIES.items()}
    | {TIMEZONE: "", REQUESTS: ""},
    {0x00200013: "IS", TIMEZONE: ""}
    | dict.fromkeys((0x00280008, 0x00280010, 0x00280011, 0x00280100), ""),
)
"""By level: what is returned from the header; with a VR also where it is absent (type R)."""


def name_columns(column: str) -> tuple[str, str, str, str]:
    """The columns of a person name: its three component groups, and all its words."""
    return column, f"{column}_ideographic", f"{column}_phonetic", f"{column}_words"


# What else belongs to the patient and the study (PS3.3 C.2.2, C.2.3, C.7.1, C.7.2), and to the
# series (C.7.3, C.7.4, C.7.5): it may be returned of them, anything else only of instances.
_OF_STUDY: Final = (
    "00080051 00080054 00081032 00081048 00081049 00081060 00081062 00081080 00081084 00081110 "
    "00081120 00100021 00100022 00100024 00100026 00100032 00100050 00100101 00100212 00100213 "
    "00100216 00100218 00100219 00100221 00101000 00101001 00101002 00101005 00101010 00101020 "
    "00101021 00101030 00101040 00101060 00101080 00101081 00101090 00101100 00102000 00102110 "
    "00102150 00102152 00102154 00102160 00102180 001021A0 001021B0 001021C0 001021D0 001021F0 "
    "00102201 00102202 00102203 00102292 00102293 00102294 00102295 00102296 00102297 00102298 "
    "00102299 00104000 00120010 00120020 00120021 00120030 00120031 00120040 00120042 00120050 "
    "00120051 00120062 00120063 00120064 00120081 00120082 00120083 00321033 00321060 00380010 "
    "00380014 00380060 00380062 00380064 00380500 00401012"
)
_OF_SERIES: Final = (
    "00080064 00080068 00080070 00080080 00080081 00081010 00081040 00081041 00081050 00081052 "
    "00081070 00081072 00081090 00081111 00081250 00120060 00120071 00120072 00120073 00180010 "
    "00181000 00181002 00181008 00181009 0018100A 0018100B 00181020 00181030 00181050 00181200 "
    "00181201 00185100 00200052 00200060 00201040 00400250 00400251 00400253 00400254 00400260 "
    "00400280 00402017"
)
OTHERS: Final = tuple(
    frozenset(int(tag, 16) for tag in tags.split()) for tags in (_OF_STUDY, _OF_SERIES)
)
"""Further attributes of a study, and of a series, which are read from a file where asked for."""
