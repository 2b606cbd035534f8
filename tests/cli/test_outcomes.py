"""What ``explain`` says of each destination: the form, the colours, the decoder, or why not."""

import json
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from gateway.transcode.matrix import proven
from tests.cli.test_configuration import said
from tests.serve import objects
from tests.transcode.objects import EXPLICIT_LE

NODES = (
    "version: 1\nnodes:\n"
    "  pacs: { dimse: { ae_title: PACS, host: h } }\n"
    "  old: { dimse: { ae_title: OLD, host: h }, can_read: { syntaxes: [implicit-le] } }\n"
    "  film: { dimse: { ae_title: FILM, host: h }, can_read: { color: RGB } }\n"
    "routes:\n"
)
JPEG = "SC_rgb_jpeg_dcmtk.dcm"


def ends(folder: Path, route: str, name: str) -> list[str]:
    """The lines below "goes to", without the tree and without when it goes."""
    file = folder / "gateway.yaml"
    file.write_text(f"{NODES}  - {{ name: r, {route} }}\n", encoding="utf-8")
    path = name if Path(name).is_absolute() else get_testdata_file(name)
    result = said("explain", "-c", file, path)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    below = [line.lstrip("│├└─ ") for line in lines[lines.index("goes to") + 1 :]]
    return [line for line in below if not line.startswith("when: ")]


@pytest.fixture(autouse=True, scope="module")
def _measured() -> None:
    proven()


def test_the_decoder_and_the_colours_are_those_of_the_codestream(tmp_path: Path) -> None:
    assert ends(tmp_path, "send_to: [old, film]", JPEG) == [
        "old by route r, as implicit-le, YBR_FULL, decoded by imagecodecs",
        "film by route r, as explicit-le, RGB, decoded by imagecodecs",
    ]


def test_what_a_node_may_refuse_is_followed_by_what_it_gets_then(tmp_path: Path) -> None:
    assert ends(tmp_path, "send_to: pacs", JPEG) == [
        "pacs by route r, as stored (jpeg-baseline), YBR_FULL",
        "where it does not accept jpeg-baseline: as explicit-le, YBR_FULL, decoded by imagecodecs",
    ]
    (first, second) = ends(tmp_path, "send_to: pacs, pixels: { change: never }", JPEG)
    assert first == "pacs by route r, as stored (jpeg-baseline), YBR_FULL"
    assert second.startswith("where it does not accept jpeg-baseline: held: stored as jpeg-")


def test_uncompressed_pixels_need_no_decoder_unless_their_colours_change(tmp_path: Path) -> None:
    assert ends(tmp_path, "send_to: [pacs, film]", "examples_palette.dcm") == [
        "pacs by route r, as stored (explicit-le), PALETTE COLOR",
        "film by route r, as explicit-le, RGB, decoded by numpy",
    ]


def test_pixels_under_a_wrong_label_are_decoded_into_what_it_says(tmp_path: Path) -> None:
    frames = objects.pictures(1)
    file = str(objects.under(EXPLICIT_LE, objects.jpeg_ls(tmp_path / "a.dcm", frames)))
    said = "its Pixel Data is not as explicit-le says"
    assert ends(tmp_path, "send_to: pacs", file) == [
        "pacs by route r, as explicit-le, MONOCHROME2, decoded by imagecodecs",
        said,
    ]
    assert ends(tmp_path, "send_to: pacs, pixels: { change: never }", file) == [
        "pacs by route r, as stored (explicit-le), MONOCHROME2",
        said,
    ]
    lost = objects.under(EXPLICIT_LE, objects.undecodable(tmp_path / "b.dcm"))
    (held,) = ends(tmp_path, "send_to: pacs", str(lost))
    assert held.startswith("pacs by route r: held: Pixel Data labelled explicit-le starts like no")
    forward = "send_to: pacs, pixels: { if_undecodable: forward-as-stored }"
    assert ends(tmp_path, forward, str(lost))[0] == (
        "pacs by route r, as stored (explicit-le), MONOCHROME2"
    )


def test_what_a_node_cannot_read_is_held_with_the_reason(tmp_path: Path) -> None:
    """As its delivery would be: ``test_told_and_done`` holds them together."""
    assert ends(tmp_path, "send_to: old, pixels: { change: never }", JPEG) == [
        "old by route r: held: stored as jpeg-baseline; the node reads implicit-le; the route says"
        " pixels.change: never"
    ]


def test_changed_attributes_are_named(tmp_path: Path) -> None:
    tags = "tags: { set: { StationName: X }, remove: [RequestAttributesSequence.CodeValue] }"
    assert ends(tmp_path, f"send_to: old, {tags}", "CT_small.dcm") == [
        "old by route r, as implicit-le, MONOCHROME2",
        "attributes changed: StationName, RequestAttributesSequence.CodeValue",
    ]


def test_changes_that_cannot_be_made_hold_it(tmp_path: Path) -> None:
    """In whatever form it would go."""
    tags = "tags: { set: { StationName: 山田 } }"
    for more in ("", "pixels: { change: never, if_undecodable: forward-as-stored }, "):
        (held,) = ends(tmp_path, f"send_to: pacs, {more}{tags}", "CT_small.dcm")
        assert held.startswith("pacs by route r: held: tags: (0008,1010): a character that")


def test_a_header_says_what_it_cannot_tell(tmp_path: Path) -> None:
    header = {
        "00083002": {"vr": "UI", "Value": ["1.2.840.10008.1.2.4.50"]},
        "00280004": {"vr": "CS", "Value": ["YBR_FULL_422"]},
    }
    path = tmp_path / "header.json"
    path.write_text(json.dumps([header]))
    assert ends(tmp_path, "send_to: [old, film]", str(path)) == [
        "old by route r, as implicit-le, YBR_FULL, if the codestream says what the header says,"
        " decoded: by what, only the file tells",
        "film by route r, as explicit-le, RGB, decoded: by what, only the file tells",
    ]
    path.write_text(json.dumps([{"00280004": header["00280004"]}]))
    assert ends(tmp_path, "send_to: old", str(path)) == [
        "old by route r; in which form cannot be told: its transfer syntax is not known"
    ]


def test_what_cannot_be_uncompressed_goes_as_stored_where_the_route_says_so(
    tmp_path: Path,
) -> None:
    file = tmp_path / "cut.dcm"
    whole = Path(get_testdata_file(JPEG)).read_bytes()
    file.write_bytes(whole.replace(b"\xff\xd8\xff", b"\xff\x00\xff"))
    always = "send_to: pacs, pixels: { change: always"
    (held,) = ends(tmp_path, f"{always} }}", str(file))
    assert held.startswith("pacs by route r: held: Pixel Data labelled jpeg-baseline starts like")
    sent, why = ends(tmp_path, f"{always}, if_undecodable: forward-as-stored }}", str(file))[:2]
    assert sent == "pacs by route r, as stored (jpeg-baseline), YBR_FULL"
    assert why.startswith("it cannot be uncompressed: Pixel Data labelled jpeg-baseline")


def test_text_that_a_node_cannot_read_as_it_is_is_said_to_be_written_anew(tmp_path: Path) -> None:
    nodes = "  utf: { dimse: { ae_title: U, host: h }, can_read: { charset: ISO_IR 192 } }\n"
    file = tmp_path / "gateway.yaml"
    file.write_text(f"version: 1\nnodes:\n{nodes}routes: [{{ name: r, send_to: utf }}]\n")
    latin, ascii_only = (get_testdata_file(name) for name in ("CT_small.dcm", "rtplan.dcm"))
    assert "text written in ISO_IR 192" in said("explain", "-c", file, latin).stdout
    assert "text written" not in said("explain", "-c", file, ascii_only).stdout


@pytest.mark.parametrize(
    ("family", "end"), [("Müller", "written in"), ("山田", "held: (0010,0010)")]
)
def test_text_of_a_header_is_tried_in_the_character_set_that_the_node_reads(
    tmp_path: Path, family: str, end: str
) -> None:
    file, header = tmp_path / "gateway.yaml", tmp_path / "header.json"
    file.write_text(
        "version: 1\nnodes:\n"
        "  old: { dimse: { ae_title: O, host: h }, can_read: { charset: ISO_IR 100 } }\n"
        "routes: [{ name: r, send_to: old }]\n"
    )
    facts = {
        "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
        "00020010": {"vr": "UI", "Value": ["1.2.840.10008.1.2.4.90"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": family}]},
    }
    header.write_text(json.dumps([facts]))
    assert end in said("explain", "-c", file, header).stdout


def test_whether_pixels_are_verified_and_by_whom_is_told(tmp_path: Path) -> None:
    def told(verify: str, name: str) -> str:
        lines = ends(tmp_path, f"send_to: old, pixels: {{ verify: {verify} }}", name)
        return "".join(line for line in lines if "verified" in line)

    alone = "cannot be verified: all decoders are of one lineage, imagecodecs "
    assert told("100%", JPEG).startswith(alone)
    assert told("lossless", "JPEG2000.dcm").startswith("not verified: it is lossy")
    assert told("0.01%", "SC_rgb_rle.dcm") == "not verified: not among the 0.01% that are drawn"
    by = told("lossless", "SC_rgb_rle.dcm")
    assert by.startswith("verified by ")
    assert " against " in by
    assert told("100%", "CT_small.dcm") == told("off", JPEG) == ""
