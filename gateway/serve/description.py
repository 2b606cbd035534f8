"""The DICOM JSON of one instance, written by a thread, or by a worker where its file is large.

It says of the pixels what is true of them uncompressed; ``metadata`` tells why.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from gateway.dataset.elements import Element
from gateway.dataset.heads import PIXEL_DATA, MalformedDataSet
from gateway.dataset.json_model import JsonModel, attribute, bulk_attribute, json_object
from gateway.dataset.json_values import quoted
from gateway.dataset.part10 import read_file_meta
from gateway.failures import PermanentFailure
from gateway.model import Instance
from gateway.transcode.header import uncompressed_header
from gateway.transcode.limits import allow
from gateway.transcode.nested import has_coded_pixels_within
from gateway.transcode.source import Source, open_bytes, open_source
from gateway.transfer_syntax import BY_UID, EXPLICIT_LE

_AVAILABLE: Final = 0x00083002


@dataclass(frozen=True, slots=True)
class Description:
    """The DICOM JSON Model object of an instance, and what of it could not be read.

    ``text`` is None where Pixel Data within sequences would have to be decoded for it.
    """

    text: bytes | None
    damage: tuple[str, ...] = ()


def describe(
    file: Path,
    instance: Instance,
    uris: str,
    derived: bool = False,
    model: JsonModel | None = None,
) -> Description:
    """What stands in ``file``; bulk data have URIs that begin with ``uris``.

    ``derived``: the file is the uncompressed form and is described as it is. ``model`` None: that
    of this process, a worker. Raises TemporaryFailure where the file cannot be read.
    """
    allow(0)
    texts, damage = _known(instance), list[str]()
    try:
        source = _read(model or _of_worker(), _opened(file), uris, texts, damage)
        if not derived and has_coded_pixels_within(source):
            return Description(None)
        if source.pixels is None or derived:
            return Description(json_object(texts), tuple(damage))
        changes, vr = uncompressed_header(source)
    except PermanentFailure as failure:
        return Description(json_object(texts), (*damage, str(failure)))
    if vr:
        texts[PIXEL_DATA] = bulk_attribute(PIXEL_DATA, vr, f"{uris}{PIXEL_DATA:08X}")
    return Description(json_object(texts, changes), tuple(damage))


def by_name(instance: Instance) -> bytes:
    """What is known of an instance whatever its file says."""
    return json_object(_known(instance))


@cache
def _of_worker() -> JsonModel:
    return JsonModel()


def _known(instance: Instance) -> dict[int, str]:
    uids = {
        0x00080016: instance.sop_class_uid,
        0x00080018: instance.sop_instance_uid,
        _AVAILABLE: EXPLICIT_LE if instance.mislabelled else instance.transfer_syntax,
        0x0020000D: instance.study_uid,
        0x0020000E: instance.series_uid,
    }
    return {tag: attribute(tag, "UI", quoted(uid)) for tag, uid in uids.items() if uid}


def _opened(file: Path) -> Source:
    """The file's bytes; a deflated data set is inflated. Raises PermanentFailure."""
    data = open_bytes(file)
    meta = read_file_meta(data)
    syntax = BY_UID.get(meta.transfer_syntax, BY_UID[EXPLICIT_LE])
    if syntax.deflated:
        return open_source(file, file.parent)
    return Source(meta, syntax, data, meta.dataset_offset, {}, None)


def _read(
    model: JsonModel, source: Source, uris: str, texts: dict[int, str], damage: list[str]
) -> Source:
    """Put the attributes into ``texts``; the source with the elements that describe pixels."""
    found: dict[int, Element] = {}
    malformed: list[MalformedDataSet] = []
    available = texts.get(_AVAILABLE)
    texts |= model.attributes(
        source.data, source.start, source.end, source.syntax, uris.__add__, None, found, malformed
    )
    if available:
        texts[_AVAILABLE] = available
    damage += map(str, malformed)
    return source._replace(found=found, pixels=found.get(PIXEL_DATA))
