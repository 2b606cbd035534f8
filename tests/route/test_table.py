"""All routes at once decide as each route by itself does, for whatever rules and instances."""

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import load_text
from gateway.model import Arrival, Origin
from gateway.route.explain import Predicate, explain
from gateway.route.rules import Rules, compile_rules

_SENDERS = (
    "ct",
    "cloud",
    "calling_ae:CT1",
    "calling_ae:C*",
    "called_ae:ARCHIVE",
    "called_ae:A?C*",
    "address:10.1.0.0/16",
    "address:10.1.4.21",
    "address:2001:db8::/32",
)
_CONDITIONS = (
    "Modality: CT",
    "Modality: [CT, MR]",
    "Modality: { missing: true }",
    "ImageType: LOCALIZER",
    "ImageType: { has: localizer, ignore_case: true, missing: false }",
    "StudyDescription: { contains: stroke }",
    "StudyDescription: { contains: [STROKE, knee], ignore_case: true }",
    "StudyDescription: { matches: 'ct.*', ignore_case: true, contains: head }",
    "Rows: 512",
    "Rows: { min: 256 }",
    "Rows: { min: 256, max: 512 }",
    "PixelSpacing: { max: 0.5 }",
    "StudyDate: [today, 20200101]",
    "StudyDate: { min: today-7d }",
    "StudyDate: { min: 20200101, max: today }",
    "AcquisitionDateTime: { min: 202611, max: 20261122 }",
    "AcquisitionDateTime: [20261122, '2025']",
    "StudyTime: 0830",
    "StudyTime: [0830, '09', '0830\\1000']",
    "StudyTime: { max: 0830 }",
    "PatientName: DOE^JOHN",
    "PatientName.family: DOE",
    "TransferSyntaxUID: j2k",
    "calling_ae: CT1",
    "calling_ae: { has: ct*, ignore_case: true }",
    "address: [10.1.0.0/16, 192.0.2.1]",
    "address: { missing: true }",
    "size: { min: 1KB, max: 1MB }",
)
_OTHERS = ("during: '08:00-18:00'", "during: sun", "expr: 'Rows > 300.0'", "expr: size > 9.0")
_VALUES = {
    "Modality": ["CT", "MR ", " \0"],
    "ImageType": ["ORIGINAL\\LOCALIZER", "A\\B"],
    "StudyDescription": ["CT head stroke", "ct HEAD", "Knee"],
    "Rows": ["512", "0512", "255", "x"],
    "PixelSpacing": ["0.7\\0.4", "0.6"],
    "StudyDate": ["20261122", "2026.11.15", "20200101", "2026"],
    "StudyTime": ["0830", "083059.5", "08:30:00", "090000\\083000", "0830\\1000", "x"],
    "AcquisitionDateTime": ["20261122235959", "20261123", "2026"],
    "PatientName": ["DOE^JOHN", "Doe^J=DOE^JOHN", "DOE"],
    "TransferSyntaxUID": ["1.2.840.10008.1.2.4.91"],
}

conditions = st.lists(
    st.sampled_from(_CONDITIONS), unique_by=lambda text: text.partition(":")[0], max_size=4
)
routes = st.builds(
    lambda senders, match, unless, other: ", ".join(
        filter(
            None,
            [
                senders and f"from: {senders}",
                match and f"match: {{ {', '.join(match)} }}",
                unless and f"unless: {{ {', '.join(unless)} }}",
                other,
            ],
        )
    ),
    st.lists(st.sampled_from(_SENDERS), unique=True, max_size=3),
    conditions,
    conditions,
    st.sampled_from(("", "", *_OTHERS)),
)
headers = st.fixed_dictionaries(
    {}, optional={key: st.sampled_from(values) for key, values in _VALUES.items()}
)
origins = st.builds(
    Origin,
    st.sampled_from([Arrival.C_STORE, Arrival.STOW_RS, Arrival.WADO_RS]),
    st.sampled_from(["CT1", "CX", "cloud", ""]),
    st.sampled_from(["ARCHIVE", "GATEWAY", ""]),
    st.sampled_from(["10.1.4.21", "10.1.2.3", "::ffff:10.1.4.21", "2001:db8::7", "nowhere", ""]),
)
times = st.sampled_from([None, datetime(2026, 11, 22, 12, tzinfo=UTC)])
"""A Sunday."""


def _rules(lines: list[str]) -> Rules:
    written = "".join(
        f"  - {{ {', '.join(filter(None, [f'name: r{number}, send_to: ct', line]))} }}\n"
        for number, line in enumerate(lines)
    )
    return compile_rules(
        load_text(
            "version: 1\ngateway: { time_zone: UTC }\nnodes:\n"
            "  ct: { dimse: { ae_title: CT1, host: h } }\n"
            "  cloud: { dicomweb: { url: https://c.example } }\n"
            f"routes:\n{written}"
        )
    )


@given(
    st.lists(routes, min_size=1, max_size=6),
    st.lists(
        st.tuples(headers, origins, times, st.sampled_from([0, 5000, 2_000_000])), min_size=4
    ),
)
@settings(deadline=None, max_examples=80)
def test_the_table_takes_what_each_route_takes_by_itself(
    lines: list[str], instances: list[tuple[dict[str, str], Origin, datetime | None, int]]
) -> None:
    rules = _rules(lines)
    for header, origin, now, size in instances:
        met = rules.meet(header, origin, size=size, now=now)
        taken = [bool(rules.table.left(met) >> index & 1) for index in range(len(lines))]
        assert taken == [rule.takes(met) for rule in rules.routes]
        explained = explain(rules, header, origin, size=size, now=now).routes
        assert taken == [route.takes for route in explained]
        for route in explained:
            from_one = not route.senders or any(map(_holds, route.senders))
            kept_out = bool(route.unless) and all(map(_holds, route.unless))
            all_met = all(map(_holds, (*route.match, *route.rest)))
            assert route.takes == (from_one and all_met and not kept_out)


def _holds(predicate: Predicate) -> bool:
    return predicate.holds
