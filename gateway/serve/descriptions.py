"""What instances are described by: their DICOM JSON, written beside the loop and kept for a while.

Small files are read in a thread, batch by batch, large ones in workers. What is kept is bounded
in bytes.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

from gateway import telemetry
from gateway.dataset.json_model import JsonModel
from gateway.failures import PermanentFailure, TemporaryFailure
from gateway.model import Instance, Rendition
from gateway.serve.addresses import location
from gateway.serve.description import Description, by_name, describe
from gateway.serve.serving import Serving
from gateway.transfer_syntax import DEFLATED, EXPLICIT_LE

KEPT: Final = 64 << 20
"""Bytes of descriptions that are kept."""

_Key: TypeAlias = tuple[int, Path]


class Descriptions:
    """The DICOM JSON Model objects of instances (PS3.18 Annex F), each written once."""

    def __init__(self, serving: Serving, most: int = KEPT) -> None:
        self._serving = serving
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
        for instance, text in zip(missing, await self._written(missing), strict=True):
            found[_key(instance)] = text or await self._of_derived(instance)
        return [self._keep(key, text) for key, text in found.items() if text is not None]

    def _keep(self, key: _Key, text: bytes) -> bytes:
        self._size += len(text) - len(self._kept.pop(key, b""))
        self._kept[key] = text
        while self._size > self._most:
            self._size -= len(self._kept.popitem(last=False)[1])
        return text

    async def _written(self, instances: Sequence[Instance]) -> list[bytes | None]:
        """The objects in the order of the instances, None as ``Description.text`` has it."""
        small = [one for one in instances if not self._takes_a_worker(one.file, one)]
        texts: dict[_Key, bytes | None] = {}
        if small:
            async with self._one_at_a_time:
                texts = await asyncio.to_thread(self._write, small)
        for one in instances:
            if _key(one) not in texts:
                texts[_key(one)] = await self._from_worker(one.file, one)
        return [texts[_key(one)] for one in instances]

    def _write(self, instances: Sequence[Instance]) -> dict[_Key, bytes | None]:
        return {_key(one): self._described(one.file, one) for one in instances}

    def _described(self, file: Path, instance: Instance, derived: bool = False) -> bytes | None:
        """For a thread."""
        try:
            found = describe(file, instance, self._uris(instance), derived, self._model)
        except TemporaryFailure:
            raise
        except Exception as error:  # noqa: BLE001 - the others of its study are to be seen
            telemetry.bug(f"metadata of {instance.sop_instance_uid} could not be made", error)
            return by_name(instance)
        return _told(instance, found)

    async def _from_worker(
        self, file: Path, instance: Instance, derived: bool = False
    ) -> bytes | None:
        plain = replace(instance, header={})  # which travels to another process, and is not read
        pool, what = self._serving.pool, (file, plain, self._uris(instance), derived)
        try:
            try:
                found = await pool.run(describe, *what)
            except PermanentFailure:  # of what its worker ended may have been no fault of its own
                found = await pool.run(describe, *what)
        except PermanentFailure as failure:
            found = Description(by_name(instance), (str(failure),))
        return _told(instance, found)

    async def _of_derived(self, instance: Instance) -> bytes:
        """By the uncompressed form itself: its icon is decoded, and describes itself anew."""
        file, derivations = instance.file, self._serving.derivations
        with suppress(PermanentFailure):  # then it is described as it is stored
            file = (await derivations.derive(instance, EXPLICIT_LE, Rendition())).file
        if self._takes_a_worker(file, instance):
            return await self._from_worker(file, instance, derived=True) or b"{}"
        async with self._one_at_a_time:
            text = await asyncio.to_thread(self._described, file, instance, derived=True)
        return text or b"{}"

    def _takes_a_worker(self, file: Path, instance: Instance) -> bool:
        """A deflated data set may be large whatever its file's size."""
        deflated = instance.transfer_syntax == DEFLATED and file == instance.file
        return deflated or self._serving.is_large(file)

    def _uris(self, instance: Instance) -> str:
        return location(self._serving.settings.root_url, instance, "bulkdata", "")


def _key(instance: Instance) -> _Key:
    return instance.spool_id, instance.file


def _told(instance: Instance, found: Description) -> bytes | None:
    for reason in found.damage:
        telemetry.alarm(
            "metadata given as far as they can be read",
            instance=instance.sop_instance_uid,
            reason=reason,
        )
    return found.text
