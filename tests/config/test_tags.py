"""``tags`` in the configuration: what is read, and what is refused with which words."""

import pytest

from gateway.config import Config, ConfigError, Route, effective, load_text

NODES = "version: 1\nnodes: { n: { dimse: { ae_title: N, host: h }%s } }\n"
ROUTE = NODES % "" + "routes:\n  - name: r\n    send_to: n\n    "


def _config(text: str) -> Config:
    config = load_text(text, "FILE", {"KEY": "s3cret"})
    printed = effective(config)
    assert load_text(printed, "EFFECTIVE", {"KEY": "s3cret"}) == config
    assert "s3cret" not in printed
    return config


def _route(line: str) -> Route:
    return _config(ROUTE + line + "\n").routes[0]


def _problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        load_text(text, "FILE", {})
    return [each.text for each in refusal.value.problems]


def test_every_kind_of_change_to_tags_is_read() -> None:
    tags = _route(
        "tags: { set: { InstitutionName: Example, ImageType: [DERIVED, SECONDARY] },"
        " remove: [PatientAddress],"
        " copy: { ProtocolName: AcquisitionDeviceProcessingDescription },"
        " template: { StudyDescription: '{Modality} {StudyDate}' }, hash: [PatientID],"
        " replace: { SeriesDescription: { find: '[0-9]+', with: '#' } },"
        " shift_dates: { attributes: [StudyDate], up_to: 180 }, key: '${KEY}', identity: true }"
    ).tags
    assert tags is not None
    assert tags.set_ == {"InstitutionName": "Example", "ImageType": "DERIVED\\SECONDARY"}
    assert tags.copy_ == {"ProtocolName": "AcquisitionDeviceProcessingDescription"}
    assert tags.needs_key


@pytest.mark.parametrize(
    ("tags", "why"),
    [
        ("{}", "routes.tags lacks what is to be changed"),
        ("{ remove: PatientID }",
         "routes.tags: PatientID tells who or what it is; to change it say identity: true"),
        ("{ set: { Rows: 5 } }",
         "routes.tags.set: Rows says how to read the object and is never changed"),
        ("{ set: { Modality: ct } }",
         "routes.tags.set.Modality: 'ct': no value of VR CS: at most 16 capital letters, digits,"
         " spaces and underscores"),
        ("{ set: { StudyTime: '2561' } }",
         "routes.tags.set.StudyTime: '2561': no value of VR TM: a time, HHMMSS.FFFFFF"),
        ("{ set: { StationName: 'a name too long for it' } }",
         "routes.tags.set.StationName: 'a name too long for it': 22 characters; a SH has at most"
         " 16"),
        ("{ set: { StudyDate: today } }",
         "routes.tags.set.StudyDate: 'today' is not a fixed day; allowed: YYYYMMDD"),
        ("{ set: { RequestAttributesSequence: A } }",
         "routes.tags.set: RequestAttributesSequence has VR SQ: it can only be removed"),
        ("{ set: { RequestAttributesSequence.Modality: ct } }",
         "routes.tags.set.RequestAttributesSequence.Modality: 'ct': no value of VR CS: at most 16"
         " capital letters, digits, spaces and underscores"),
        ("{ set: { PatientName.family: DOE } }",
         "routes.tags.set: 'PatientName.family' is a part of a name; allowed: replace in the"
         " whole name"),
        ("{ set: { StudyDescription.CodeValue: A } }",
         "routes.tags.set: 'StudyDescription.CodeValue': StudyDescription is no sequence, nothing"
         " stands inside it"),
        ("{ set: { '(0019,xx99,NOBODY)': A } }",
         "routes.tags.set: (0019,xx99,NOBODY) has a VR that nobody knows: it can only be removed"),
        ("{ set: { '0019,1008': A } }",
         "routes.tags.set: '0019,1008': a private attribute needs its creator; allowed: such as"
         " '(0019,xx08,CREATOR)'"),
        ("{ remove: IconImageSequence.Rows }",
         "routes.tags.remove: IconImageSequence.Rows says how to read the object and is never"
         " changed"),
        ("{ remove: ReferencedImageSequence.ReferencedSOPInstanceUID }",
         "routes.tags: ReferencedImageSequence.ReferencedSOPInstanceUID tells who or what it is;"
         " to change it say identity: true"),
        ("{ remove: OtherPatientIDsSequence.PatientID }",
         "routes.tags: OtherPatientIDsSequence.PatientID tells who or what it is; to change it"
         " say identity: true"),
        ("{ remove: RequestAttributesSequence, set: { RequestAttributesSequence.Modality: CT } }",
         "routes.tags: RequestAttributesSequence.Modality stands in RequestAttributesSequence,"
         " which remove changes; allowed: one of them"),
        ("{ template: { StudyDescription: '{RequestAttributesSequence}' } }",
         "routes.tags.template.StudyDescription: RequestAttributesSequence has VR SQ, which is no"
         " text to be taken"),
        ("{ set: { StudyDescription: A }, remove: StudyDescription }",
         "routes.tags: StudyDescription is changed by set as well; allowed: one of them"),
        ("{ copy: { StudyDescription: StudyDate } }",
         "routes.tags.copy.StudyDescription: StudyDate has VR DA, which StudyDescription with VR"
         " LO cannot take"),
        ("{ template: { StudyDescription: '{Modalty}' } }",
         "routes.tags.template.StudyDescription: 'Modalty' is not a DICOM attribute; allowed: a"
         " DICOM keyword such as Modality, or a tag such as '0008,0060'; did you mean Modality?"),
        ("{ template: { StudyDescription: 'a } b' } }",
         "routes.tags.template.StudyDescription: 'a } b': a brace stands alone; allowed:"
         " {Keyword}"),
        ("{ hash: StationName }", "routes.tags has hash or up_to and needs key or key_file"),
        ("{ remove: StationName, key_file: k }", "routes.tags has a key that nothing uses"),
        ("{ replace: { StationName: { find: '(', with: x } } }",
         "routes.tags.replace.StationName: '(' is not a regular expression: missing ): ("),
        ("{ replace: { StationName: { find: '(a)', with: '\\2' } } }",
         "routes.tags.replace.StationName: '\\2': '\\2' names no group; the pattern has 1"),
        ("{ replace: { StationName: x } }",
         "routes.tags.replace.StationName: StationName: expected { find: PATTERN, with: TEXT }"),
        ("{ shift_dates: { attributes: [StudyDate] } }",
         "routes.tags.shift_dates lacks one of the keys days, up_to"),
        ("{ shift_dates: { attributes: [StudyTime], days: 1 } }",
         "routes.tags.shift_dates: StudyTime holds no date"),
        ("{ hash: StationName, key: s3cret }",
         "routes.tags.key: a secret may not stand in the file; allowed: ${NAME}, a variable of the"
         " environment, or the key with _file"),
    ],
)  # fmt: skip
def test_wrong_changes_are_refused(tags: str, why: str) -> None:
    assert _problems(f"{ROUTE}tags: {tags}") == [why]
