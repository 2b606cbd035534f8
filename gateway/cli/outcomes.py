"""What a node would get of an object: in which form, decoded by what; or why it would be held."""

import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gateway.cli.objects import Shown
from gateway.cli.terms import occasion
from gateway.config import Config, Route
from gateway.config.units import format_size
from gateway.deliver.policy import RoutePolicy
from gateway.failures import Failure, PermanentFailure
from gateway.model import UID, Rendition
from gateway.rehearsal import reader_of, way_of
from gateway.route.rules import Decision
from gateway.tags import Secret, TagChanges
from gateway.tags.configured import SHORTEST_SECRET, configured
from gateway.tags.edits import edits
from gateway.tags.reading import read
from gateway.transcode.outlook import Outlook, of_file, of_header
from gateway.transcode.reader import Reader
from gateway.transfer_syntax import BY_UID, EXPLICIT_LE, IMPLICIT_LE, name_of

_PLAIN: Final = (EXPLICIT_LE, IMPLICIT_LE)
"""What every node is offered, and nearly all of them accept."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One destination. ``syntax`` is the name of a transfer syntax, "" where that as stored is not
    known; ``photometric``, ``decoder`` and ``certain`` are as in ``Outlook``. ``held`` says why
    nothing would be sent; ``verified`` whether pixels are decoded twice, where the route asks.
    ``when`` says when it is delivered.
    """

    node: str
    route: str
    syntax: str = ""
    as_stored: bool = False
    photometric: str = ""
    certain: bool = True
    decoder: str | None = ""
    held: str = ""
    remarks: tuple[str, ...] = ()
    verified: str = ""
    when: str = ""

    def sentence(self) -> str:
        """For people."""
        start = f"{self.node} by route {self.route}"
        if self.held:
            return f"{start}: held: {self.held}"
        if not self.syntax:
            return f"{start}; in which form cannot be told: its transfer syntax is not known"
        return f"{start}, {self.form()}"

    def form(self) -> str:
        """Transfer syntax, colours and decoder in words."""
        parts = [f"as stored ({self.syntax})" if self.as_stored else f"as {self.syntax}"]
        if self.photometric:
            doubt = "" if self.certain else ", if the codestream says what the header says"
            parts.append(self.photometric + doubt)
        if self.decoder is None:
            parts.append("decoded: by what, only the file tells")
        elif self.decoder:
            parts.append(f"decoded by {self.decoder}")
        return ", ".join(parts)


def outcomes(shown: Shown, decision: Decision, config: Config) -> Iterator[Outcome]:
    """One for each destination that an object is owed to."""
    for owed in decision.owed:
        route = next(each for each in config.routes if each.name == owed.route)
        reader = reader_of(owed.destination, config.nodes[owed.destination])
        told = _Told(shown, reader, route).outcome()
        when = occasion(route, owed.destination, config, shown.now)
        yield told if told.held else replace(told, when=when)


@dataclass(frozen=True, slots=True)
class _Told:
    """One object on its way to one node by one route."""

    shown: Shown
    reader: Reader
    route: Route

    def outcome(self) -> Outcome:
        """What would become of it."""
        unknown = Outcome(self.reader.name, self.route.name, decoder=None, certain=False)
        try:
            if sop_class := self.shown.header.get("SOPClassUID", ""):
                self.reader.check_sop_class(sop_class)
            if not self._stored:
                return unknown
            tags = self._changes()
            found = self._sent(tags)
        except Failure as failure:
            return replace(unknown, held=str(failure))
        return replace(found, remarks=(*found.remarks, *self._remarks(found, tags)))

    @property
    def _stored(self) -> UID:
        return self.shown.header.get("TransferSyntaxUID", "")

    @property
    def _photometric(self) -> str:
        return self.shown.header.get("PhotometricInterpretation", "")

    def _changes(self) -> TagChanges | None:
        """What the attributes go through; whether it can be done does not depend on the key."""
        tags = self.route.tags
        try:
            changes = () if tags is None else configured(tags, Secret(bytes(SHORTEST_SECRET)))
        except ValueError as error:
            raise PermanentFailure(f"tags: {error}") from error
        return self.reader.changes(changes, self.shown.header)

    def _sent(self, tags: TagChanges | None, accepted: Collection[UID] | None = None) -> Outcome:
        """As ``deliver.prepare``: what is sent to a node which accepts these, by default all that
        it can read.
        """
        shown = self.shown
        way = way_of(
            shown.header, self.reader, self.route, accepted, mislabelled=shown.mislabelled
        )
        target, rendition = way.form()
        remarks: tuple[str, ...] = ()
        try:
            untouched = way.is_stored(target) and rendition == Rendition() and tags is None
            outlook = self._look(target, rendition, tags, untouched=untouched)
        except PermanentFailure as failure:
            if not way.goes_as_stored(failure):
                raise way.said(failure) from failure
            target, remarks = self._stored, (f"it cannot be uncompressed: {failure}",)
            outlook = self._look(target, Rendition(), tags, untouched=tags is None)
        self.reader.check_size(outlook.size or shown.size or 0)
        self.reader.check_bits(outlook.bits or shown.header.get("BitsStored", ""))
        return self._formed(target, outlook, (*remarks, *self._of_size(outlook)))

    def _look(
        self, target: UID, rendition: Rendition, tags: TagChanges | None, *, untouched: bool
    ) -> Outlook:
        file, data = self.shown.file, self.shown.data
        if data and tags is not None:
            edits(tags, read(data, [(0, len(data))], BY_UID[EXPLICIT_LE]))
        if file is None or untouched:
            return of_header(self._stored, self._photometric, target, rendition)
        with tempfile.TemporaryDirectory() as scratch:
            return of_file(file, target, rendition, Path(scratch), tags)

    def _of_size(self, outlook: Outlook) -> Iterator[str]:
        """That a limit of the node could not be tried, where there is one."""
        limit = self.reader.max_instance
        if limit is None or outlook.size or self.shown.file is not None:
            return
        named = f"max_instance ({format_size(limit)})"
        if self.shown.size is None:
            yield f"size unknown: {named} is not looked at"
        elif outlook.decoder is None:
            yield f"{named} is compared with the stored size; what is sent, only the file tells"

    def _formed(self, target: UID, outlook: Outlook, remarks: tuple[str, ...]) -> Outcome:
        as_stored = target == self._stored and outlook.decoder == ""
        return Outcome(
            node=self.reader.name,
            route=self.route.name,
            syntax=name_of(target),
            as_stored=as_stored and outlook.photometric == self._photometric,
            photometric=outlook.photometric,
            certain=outlook.certain,
            decoder=outlook.decoder,
            remarks=remarks,
            verified=self._verified(outlook),
        )

    def _verified(self, outlook: Outlook) -> str:
        verify = self.route.pixels.verify
        if verify == "off" or outlook.decoder == "":
            return ""
        asked = RoutePolicy(verify=verify).verified(self.shown.header.get("SOPInstanceUID", ""))
        if not asked:
            return f"not verified: not among the {verify} that are drawn"
        if outlook.decoder is None:
            return "verified or not: only the file tells"
        if not outlook.first:
            return ""
        if asked == "lossless" and outlook.lossy:
            return "not verified: it is lossy, and lossless ones are to be verified"
        if not outlook.seconds:
            return f"cannot be verified: all decoders are of one lineage, {outlook.first}"
        return f"verified by {outlook.first} against {' or '.join(outlook.seconds)}"

    def _remarks(self, found: Outcome, tags: TagChanges | None) -> Iterator[str]:
        if self.route.tags is not None:
            changed = ", ".join(key for _, key in self.route.tags.changed())
            yield f"attributes changed: {changed}"
        if tags is not None and tags.charsets:
            doubt = "" if self.shown.file or self.shown.data else ", where the text allows it"
            yield f"text written in {' or '.join(tags.charsets)}{doubt}"
        if found.verified:
            yield found.verified
        stored = name_of(self._stored)
        if self.shown.mislabelled:
            yield f"its Pixel Data is not as {stored} says"
        if self.reader.can_read is None and found.syntax == stored and self._stored not in _PLAIN:
            yield f"where it does not accept {stored}: {self._otherwise(tags)}"

    def _otherwise(self, tags: TagChanges | None) -> str:
        try:
            found = self._sent(tags, _PLAIN)
        except Failure as failure:
            return f"held: {failure}"
        return found.form() + (f", {found.verified}" if found.verified else "")
