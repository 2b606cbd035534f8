"""What instances are described by: their DICOM JSON, written in a thread and kept for a while.

A description says of the pixels what is true of them uncompressed; ``metadata`` tells why.
What is kept is bounded in bytes.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

from gateway import telemetry
from gateway.dataset.elements import Element
from gateway.dataset.heads import PIXEL_DATA, MalformedDataSet
from gateway.dataset.json_model import JsonModel, attribute, bulk_attribute, json_object
from gateway.dataset.json_values import quoted
from gateway.dataset.part10 import read_file_meta
from gateway.failures import PermanentFailure, TemporaryFailure
from gateway.model import Instance, Rendition
from gateway.serve.addresses import location
from gateway.serve.serving import Serving
from gateway.transcode.header import has_coded_icon, uncompressed_header
from gateway.transcode.source import Source, open_bytes, open_source
from gateway.transfer_syntax import BY_UID, EXPLICIT_LE

KEPT: Final = 64 << 20
"""Bytes of descriptions that are kept."""

_AVAILABLE: Final = 0x00083002
_Key: TypeAlias = tuple[int, Path]


class Descriptions:
    """The DICOM JSON Model objects of instances (PS3.18 Annex F), each written once."""

    def __init__(self, serving: Serving, most: int = KEPT) -> None:
        self._derivations, self._root = serving.derivations, serving.settings.root_url
        self._model = JsonModel()
        self._one_at_a_time = asyncio.Lock()
        self._most, self._size = most, 0
        self._kept: OrderedDict[_Key, bytes] = OrderedDict()

    async def of(self, instances: Sequence[Instance]) -> list[bytes]:
        """One object for each instance, in their order.

        Of a damaged instance it has what stands before the damage, and always the UIDs. Raises
        TemporaryFailure where a file cannot be read.
        """
        found = {_key(one): self._kept.get(_key(one)) for one in instances}
        missing = [one for one in instances if found[_key(one)] is None]
        if missing:
            async with self._one_at_a_time:
                written = await asyncio.to_thread(self._write, missing)
            for instance, text in zip(missing, written, strict=True):
                found[_key(instance)] = text or await self._of_derived(instance)
        return [self._keep(key, text) for key, text in found.items() if text is not None]

    def _keep(self, key: _Key, text: bytes) -> bytes:
        self._size += len(text) - len(self._kept.pop(key, b""))
        self._kept[key] = text
        while self._size > self._most:
            self._size -= len(self._kept.popitem(last=False)[1])
        return text

    def _write(self, instances: Sequence[Instance]) -> list[bytes | None]:
        return [described(self._model, self._root, one) for one in instances]

    async def _of_derived(self, instance: Instance) -> bytes:
        """By the uncompressed form itself: its icon is decoded, and describes itself anew."""
        try:
            derived = await self._derivations.derive(instance, EXPLICIT_LE, Rendition())
            file = derived.file
        except PermanentFailure:
            file = instance.file
        async with self._one_at_a_time:
            text = await asyncio.to_thread(described, self._model, self._root, instance, file)
        return text or b"{}"


def described(
    model: JsonModel, root_url: str, instance: Instance, file: Path | None = None
) -> bytes | None:
    """The DICOM JSON Model object of an instance; for a thread.

    None where an icon would have to be decoded for it; where ``file`` is given, what stands in
    there is described as it is. Raises TemporaryFailure.
    """
    uris = location(root_url, instance, "bulkdata", "")
    texts = _known(instance)
    try:
        opened = _opened(file or instance.file)
        source = _read(model, opened, instance, uris, texts)
        if source.pixels is None or file is not None:
            return json_object(texts)
        if has_coded_icon(source):
            return None
        changes, vr = uncompressed_header(source)
    except PermanentFailure as failure:
        _alarm(instance, failure)
        return json_object(texts)
    except TemporaryFailure:
        raise
    except Exception as error:  # noqa: BLE001 - the others of its study are to be seen
        telemetry.bug(f"metadata of {instance.sop_instance_uid} could not be made", error)
        return json_object(_known(instance))
    if vr:
        texts[PIXEL_DATA] = bulk_attribute(PIXEL_DATA, vr, f"{uris}{PIXEL_DATA:08X}")
    return json_object(texts, changes)


def _key(instance: Instance) -> _Key:
    return instance.spool_id, instance.file


def _known(instance: Instance) -> dict[int, str]:
    """What is known of an instance whatever its file says."""
    uids = {
        0x00080016: instance.sop_class_uid,
        0x00080018: instance.sop_instance_uid,
        _AVAILABLE: instance.transfer_syntax,
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
    model: JsonModel, source: Source, instance: Instance, uris: str, texts: dict[int, str]
) -> Source:
    """Put the attributes into ``texts``; the source with the elements that describe pixels."""
    found: dict[int, Element] = {}
    damage: list[MalformedDataSet] = []
    available = texts.get(_AVAILABLE)
    texts |= model.attributes(
        source.data, source.start, source.end, source.syntax, uris.__add__, None, found, damage
    )
    if available:
        texts[_AVAILABLE] = available
    for error in damage:
        _alarm(instance, error)
    return replace(source, found=found, pixels=found.get(PIXEL_DATA))


def _alarm(instance: Instance, failure: PermanentFailure) -> None:
    telemetry.alarm(
        "metadata given as far as they can be read",
        instance=instance.sop_instance_uid,
        reason=str(failure),
    )
