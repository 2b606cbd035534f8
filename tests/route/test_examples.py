"""Examples in the configuration say where they differ from what the routes do."""

import pytest

from gateway.config import effective, load_text
from gateway.rehearsal import rehearse
from gateway.route.rules import compile_rules

HEAD = (
    "version: 1\ngateway: { time_zone: UTC }\nnodes:\n"
    "  ct: { dimse: { ae_title: CT1, host: h } }\n"
    "  old: { dimse: { ae_title: OLD, host: h }, can_read: { syntaxes: [implicit-le] } }\n"
    "  pacs: { dimse: { ae_title: PACS, host: h } }\n"
    "  cloud: { dicomweb: { url: https://c.example } }\n"
    "routes:\n"
    "  - { name: heads, from: ct, send_to: [old, pacs],"
    " match: { BodyPartExamined: [HEAD, BRAIN] } }\n"
    "  - { name: night, from: cloud, during: '18:00-06:00', send_to: pacs }\n"
    "  - { name: new, match: { StudyDate: { min: today-1d }, Modality: MR }, send_to: pacs }\n"
    "  - { name: video, match: { Modality: XC }, pixels: { change: never }, send_to: old }\n"
    "  - { name: images, match: { SeriesNumber: 1 }, unless: { Modality: SR }, send_to: pacs }\n"
    "  - { name: spare, enabled: false, send_to: pacs }\n"
    "examples:\n"
)


def _said(example: str) -> list[str]:
    config = load_text(f"{HEAD}  - {{ {example} }}\n")
    assert load_text(effective(config)) == config
    return [each.text for each in rehearse(config, compile_rules(config))]


@pytest.mark.parametrize(
    "example",
    [
        "given: { from: ct, BodyPartExamined: HEAD }, expect: { heads: [old, pacs] }",
        "given: { from: ct, BodyPartExamined: HEAD, TransferSyntaxUID: j2k },"
        " expect: { heads: { old: { syntax: implicit-le }, pacs: { syntax: j2k } } }",
        "given: { from: ct, BodyPartExamined: HEAD, TransferSyntaxUID: j2k,"
        " PhotometricInterpretation: YBR_RCT }, expect: { heads: { old: { syntax: implicit-le,"
        " photometric: RGB }, pacs: { syntax: j2k, photometric: YBR_RCT } } }",
        "given: { from: ct, BodyPartExamined: KNEE }, expect: nothing",
        "given: { calling_ae: CT1, BodyPartExamined: BRAIN }, expect: { heads: [old, pacs] }",
        "given: { from: cloud, at: '2026-11-22T18:00' }, expect: { night: pacs }",
        "given: { from: cloud, at: '2026-11-22T17:59' }, expect: nothing",
        "given: { from: cloud }, expect: nothing",
        "given: { Modality: MR, StudyDate: today-1d, at: 2026-11-22 }, expect: { new: pacs }",
        "given: { Modality: MR, StudyDate: 20261121, at: 2026-11-22 }, expect: { new: pacs }",
        "given: { Modality: MR, StudyDate: 20261120, at: 2026-11-22 }, expect: nothing",
    ],
)
def test_an_example_that_comes_out_is_silent(example: str) -> None:
    assert _said(example) == []


@pytest.mark.parametrize(
    ("example", "text"),
    [
        ("given: { from: ct, BodyPartExamined: HEAD }, expect: { heads: old }",
         "example 1: route heads sends it to pacs, which is not expected"),
        ("name: knee, given: { from: ct, BodyPartExamined: KNEE }, expect: { heads: old }",
         "knee: route heads does not take it: BodyPartExamined: HEAD or BRAIN: it is KNEE"),
        ("given: { from: cloud, at: '2026-11-22T12:00' }, expect: { heads: [old], night: pacs }",
         "example 1: route heads does not take it: from ct: it is cloud,"
         " BodyPartExamined: HEAD or BRAIN: it has none;"
         " route night does not take it: during: 18:00-06:00: it is sun 12:00"),
        ("given: { from: ct, Modality: SR, SeriesNumber: 1 }, expect: { images: pacs }",
         "example 1: route images does not take it: unless Modality: SR: it is SR"),
        ("given: { from: ct }, expect: { spare: pacs }",
         "example 1: route spare is switched off"),
        ("given: { from: ct, BodyPartExamined: HEAD }, expect: { heads: [old, pacs, ct] }",
         "example 1: route heads takes it and does not send it to ct"),
        ("given: { Modality: XC, TransferSyntaxUID: rle },"
         " expect: { video: { old: { syntax: rle } } }",
         "example 1: to old it cannot be sent, not as rle: stored as rle; the node reads"
         " implicit-le; the route says pixels.change: never"),
        ("given: { from: ct, BodyPartExamined: HEAD, TransferSyntaxUID: j2k,"
         " PhotometricInterpretation: YBR_ICT },"
         " expect: { heads: { old: { photometric: YBR_ICT }, pacs: {} } }",
         "example 1: to old it is RGB, not YBR_ICT"),
        ("given: { from: ct, BodyPartExamined: HEAD, TransferSyntaxUID: j2k },"
         " expect: { heads: { old: { photometric: RGB }, pacs: {} } }",
         "example 1: to old it has no PhotometricInterpretation in given, not as RGB"),
        ("given: { Modality: XC }, expect: { video: { old: { syntax: rle } } }",
         "example 1: to old it has no TransferSyntaxUID in given, not as rle"),
    ],
)  # fmt: skip
def test_an_example_that_does_not_come_out_says_how(example: str, text: str) -> None:
    assert _said(example) == [text]
