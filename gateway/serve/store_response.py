"""What a STOW-RS request is answered: one item per instance, kept or not (PS3.18 §10.5.3)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from aiohttp import web

from gateway.dataset.xml_model import to_xml
from gateway.dicomweb.accept import best_of, parse_accept
from gateway.dicomweb.media_types import DICOM_JSON, DICOM_XML, JSON
from gateway.failures import Failure, TemporaryFailure
from gateway.incoming import UnknownTransferSyntax
from gateway.intake import Announced, OtherStudy
from gateway.model import UID, Instance

OUT_OF_RESOURCES: Final = 0xA700
OTHER_DATA_SET: Final = 0xA900
NOT_UNDERSTOOD: Final = 0xC000
SYNTAX_NOT_SUPPORTED: Final = 0xC122
"""Failure Reason (PS3.18 §I.2.2)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one part. ``reason`` is a Failure Reason, 0 where the instance is kept."""

    sop_class_uid: UID = ""
    sop_instance_uid: UID = ""
    study_uid: UID = ""
    series_uid: UID = ""
    reason: int = 0
    text: str = ""

    @classmethod
    def of(cls, announced: Announced | None) -> Self:
        """What is known before anything became of it."""
        if announced is None:
            return cls()
        return cls(announced.sop_class_uid, announced.sop_instance_uid)

    @classmethod
    def kept(cls, instance: Instance) -> Self:
        """It is durable."""
        return cls(
            instance.sop_class_uid,
            instance.sop_instance_uid,
            instance.study_uid,
            instance.series_uid,
        )

    def failed(self, failure: Failure) -> "Outcome":
        """It is not kept, and why."""
        return replace(self, reason=_reason(failure), text=str(failure))


@dataclass(slots=True)
class Receipt:
    """The outcomes of one request for ``study`` ("": any).

    ``cut`` says why the body's end was not understood, None where it was.
    """

    study: UID = ""
    outcomes: list[Outcome] = field(default_factory=list)
    cut: Failure | None = None

    @property
    def any_kept(self) -> bool:
        """Whether any instance is kept."""
        return any(not outcome.reason for outcome in self.outcomes)

    @property
    def failed(self) -> list[Outcome]:
        """Those that are not kept."""
        return [outcome for outcome in self.outcomes if outcome.reason]

    @property
    def status(self) -> int:
        """200: all are kept; 202: some; 409: none; 503: none, for want of something here."""
        if not self.failed and self.cut is None and self.outcomes:
            return 200
        if self.any_kept:
            return 202
        reasons = {outcome.reason for outcome in self.failed}
        return 503 if reasons == {OUT_OF_RESOURCES} else 409 if reasons else 400


def answer(request: web.Request, receipt: Receipt, root: str) -> web.Response:
    """The response in the media type that the client likes best, JSON unless it says XML."""
    ranges = parse_accept(request.headers.getall("Accept", ()), request.query.get("accept"))
    best = best_of(ranges, (DICOM_JSON, JSON, DICOM_XML)) or DICOM_JSON
    body = json.dumps(response_model(receipt, root)).encode()
    headers = {"Retry-After": "30"} if receipt.status == 503 else {}
    if receipt.cut is not None:
        text = str(receipt.cut).encode("ascii", "replace").decode().replace('"', "'")
        headers["Warning"] = f'299 dicom-gateway "{text}"'
    return web.Response(
        body=to_xml(body) if best == DICOM_XML else body,
        status=receipt.status,
        content_type=best,
        headers=headers,
    )


def response_model(receipt: Receipt, root: str) -> dict[str, Any]:
    """The Store Instances Response Module as DICOM JSON (PS3.18 Table I.1-1, Annex F)."""
    model: dict[str, Any] = {}
    if receipt.study:
        model["00081190"] = _value("UR", _study_url(root, receipt.study))
    kept = [outcome for outcome in receipt.outcomes if not outcome.reason]
    named = [outcome for outcome in receipt.failed if outcome.sop_instance_uid]
    nameless = [outcome for outcome in receipt.failed if not outcome.sop_instance_uid]
    _add(model, "00081198", [_names(each) | _why(each) for each in named])
    _add(model, "00081199", [_names(each) | _where(each, root) for each in kept])
    _add(model, "0008119A", [_why(each) for each in nameless])
    return model


def _add(model: dict[str, Any], tag: str, items: Sequence[dict[str, Any]]) -> None:
    if items:
        model[tag] = {"vr": "SQ", "Value": list(items)}


def _names(outcome: Outcome) -> dict[str, Any]:
    return {
        "00081150": _value("UI", outcome.sop_class_uid),
        "00081155": _value("UI", outcome.sop_instance_uid),
    }


def _why(outcome: Outcome) -> dict[str, Any]:
    """The reason as a code; the words are in the log."""
    return {
        "00081197": _value("US", outcome.reason),
    }


def _where(outcome: Outcome, root: str) -> dict[str, Any]:
    url = (
        f"{_study_url(root, outcome.study_uid)}/series/{outcome.series_uid}"
        f"/instances/{outcome.sop_instance_uid}"
    )
    return {"00081190": _value("UR", url)}


def _study_url(root: str, study: UID) -> str:
    return f"{root}/dicom-web/studies/{study}"


def _value(vr: str, value: str | int) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


def _reason(failure: Failure) -> int:
    if isinstance(failure, TemporaryFailure):
        return OUT_OF_RESOURCES
    if isinstance(failure, UnknownTransferSyntax):
        return SYNTAX_NOT_SUPPORTED
    if isinstance(failure, OtherStudy):
        return OTHER_DATA_SET
    return NOT_UNDERSTOOD
