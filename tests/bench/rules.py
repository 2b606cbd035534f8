"""How long 200 routes take to decide about one header: of values, of senders, of all kinds."""

import time
import timeit
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from gateway.config import load_text
from gateway.model import Arrival, Origin
from gateway.route.rules import Rules, compile_rules
from tests.bench.measure import Measurement, interleaved

_ROUTES = 200
_NODE = "version: 1\nnodes: { n: { dimse: { ae_title: N, host: h } } }\nroutes:\n"
_ORIGIN = Origin(Arrival.C_STORE, "CT1", "GATEWAY", "10.1.4.21")
_NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
_HEADER = {
    "Modality": "CT",
    "BodyPartExamined": "HEAD",
    "ImageType": r"ORIGINAL\PRIMARY\AXIAL",
    "Rows": "512",
    "StudyDescription": "CT head, stroke",
    "StudyDate": "20261121",
    "PatientName": "DOE^JOHN",
    "RequestAttributesSequence.ScheduledProcedureStepID": "A7",
    "TransferSyntaxUID": "1.2.840.10008.1.2.4.70",
}
_VALUES = (
    "match: { Modality: [CT, MR], BodyPartExamined: [HEAD, P%(n)d], Rows: [512, %(n)d] },"
    " unless: { ImageType: LOCALIZER }, from: ['calling_ae:CT1', 'address:10.%(m)d.0.0/16']"
)
_SENDERS = "from: ['calling_ae:CT%(n)d', 'address:10.%(m)d.0.0/16'], match: { Modality: [CT, MR] }"
_KINDS = (
    "match: { Modality: CT, Rows: { min: %(n)d } }",
    "match: { StudyDescription: { contains: stroke%(n)d, ignore_case: true } }",
    "match: { StudyDescription: { matches: 'CT .*stroke%(n)d' } }",
    "match: { StudyDate: { min: today-%(n)dd } }, unless: { Modality: SR }",
    "match: { PatientName.family: DOE%(n)d, PatientID: { missing: true } }",
    "match: { RequestAttributesSequence.ScheduledProcedureStepID: A%(n)d, calling_ae: CT* }",
    "match: { TransferSyntaxUID: jpeg-lossless-sv1, size: { max: %(m)dMiB } }",
    "from: ['address:10.%(m)d.0.0/16'], during: '08:00-18:00'",
)


def measure(_: Path, *, rounds: int, quick: bool) -> list[Measurement]:
    """One table: processor time of the routes' decisions about one header, by the thousand."""
    times = 250 if quick else 1000
    senders = _rules(*(_SENDERS % {"n": n, "m": n % 250} for n in range(_ROUTES)))
    values = _rules(*(_VALUES % {"n": n, "m": n % 250} for n in range(_ROUTES)))
    kinds = _rules(*(_KINDS[n % 8] % {"n": n, "m": n % 250 + 1} for n in range(_ROUTES)))
    systems = {
        "values only": _deciding(values, times),
        "a sender for each": _deciding(senders, times),
        "all kinds of predicates": _deciding(kinds, times),
    }
    measured = interleaved(f"{_ROUTES} routes x one header", times, systems, 5 * rounds)
    for row in measured.rows:
        least, middle = (1e6 * seconds / times for seconds in (row.least, row.median))
        measured.notes.append(f"{row.system}: {least:.0f} us at least, {middle:.0f} us median")
    measured.notes.append("processor time; wanted: at most 200 us a header")
    return [measured]


def _rules(*routes: str) -> Rules:
    lines = (f"  - {{ name: r{n}, send_to: n, {line} }}\n" for n, line in enumerate(routes))
    return compile_rules(load_text(_NODE + "".join(lines)))


def _deciding(rules: Rules, times: int) -> Callable[[], float]:
    def decide() -> None:
        rules.route(_HEADER, _ORIGIN, size=525_000, now=_NOW)

    return lambda: timeit.timeit(decide, number=times, timer=time.process_time)
