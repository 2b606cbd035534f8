"""``check``, ``explain``, ``diff`` and ``config`` as a person calls them."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file
from typer.testing import CliRunner

from gateway.cli import app
from gateway.config import load_text
from gateway.service import utc_now
from gateway.spool import Spool
from tests.spool.arrivals import keep

CONFIG = (
    "version: 1\nnodes:\n"
    "  pacs: { dimse: { ae_title: PACS, host: h } }\n"
    "  old: { dimse: { ae_title: OLD, host: h }, can_read: { syntaxes: [implicit-le] } }\n"
    "routes:\n"
    "  - { name: all, send_to: pacs }\n"
    "  - { name: ct, match: { Modality: CT, Rows: { min: 64 } }, send_to: old }\n"
)


def said(*arguments: object):
    """What the command does with these arguments."""
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The configuration above."""
    path = tmp_path / "gateway.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def _with(file: Path, text: str) -> Path:
    other = file.with_name("other.yaml")
    other.write_text(text, encoding="utf-8")
    return other


def test_check_prints_the_effective_form_and_tries_the_examples(file: Path) -> None:
    result = said("check", file)
    assert result.exit_code == 0
    assert load_text(result.stdout) == load_text(CONFIG)
    assert result.stderr == f"{file}: right: 2 nodes, 2 routes, no examples; no warnings\n"
    wrong = _with(file, CONFIG + "examples: [{ given: { Modality: MR }, expect: nothing }]\n")
    result = said("check", "-q", wrong)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith(
        f"{wrong}:8:12: example 1: route all sends it to pacs, which is not expected\n"
    )


def test_a_key_that_is_too_short_is_a_problem_with_a_place(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "hush!")
    tags = "tags: { key: '${KEY}', hash: [StudyDescription] }"
    wrong = _with(
        file, CONFIG + f"  - {{ name: h, match: {{ Modality: US }}, send_to: pacs, {tags} }}\n"
    )
    result = said("check", "-q", wrong)
    assert result.exit_code == 1
    assert f"{wrong}:8:62: routes.tags: the key has 5 bytes: 16 are the least" in result.stderr
    assert "hush!" not in result.output


def test_what_check_refuses_is_not_served(file: Path) -> None:
    spool = file.parent / "spool"
    gateway = f"gateway: {{ spool: {{ path: {spool} }} }}\n"
    text = CONFIG + gateway + "examples: [{ given: { Modality: MR }, expect: nothing }]\n"
    wrong = _with(file, text)
    result = said("serve", "-c", wrong)
    assert result.exit_code == 1
    expected = f"{wrong}:9:12: example 1: route all sends it to pacs, which is not expected\n"
    assert result.stderr == expected
    assert not spool.exists()


def test_check_ends_with_what_it_comes_to(file: Path) -> None:
    wrong = _with(file, CONFIG.replace("send_to: old", "send_to: odl"))
    assert said("check", wrong).stderr.endswith(
        f"{wrong}: 1 problem; the gateway would refuse this file\n"
    )
    unused = _with(file, CONFIG.replace("send_to: old", "send_to: pacs"))
    assert said("check", unused).stderr.endswith("2 routes, no examples; 2 warnings\n")


def test_every_command_takes_the_file_with_and_without_its_option(file: Path, spool: Path) -> None:
    image, plain = get_testdata_file("CT_small.dcm"), file.rename(file.with_suffix(".conf"))
    yaml = _with(plain, CONFIG)
    for ways in (
        [["check", yaml], ["check", "-c", yaml], ["check", "--config", yaml], ["check", plain]],
        [["check", "-q", yaml], ["check", "-qc", plain], ["check", f"--config={yaml}", "-q"]],
        [["config", "show", yaml], ["config", "show", "-c", plain], ["config", "show", plain]],
        [["explain", yaml, image], ["explain", "-c", plain, image], ["explain", image, yaml]],
        [["explain", yaml, image, "--calling", "X"], ["explain", "--calling", "X", image, yaml]],
        [["queue", "list", yaml, "--spool", spool], ["queue", "list", "--spool", spool, plain]],
        [["queue", "show", "1.2.1", yaml, "--spool", spool], ["queue", "show", "--spool", spool,
         "1.2.1", "-c", plain]],
    ):  # fmt: skip
        results = [said(*way) for way in ways]
        assert [result.exit_code for result in results] == [0] * len(ways), results[0].output
        assert len({result.stdout for result in results}) == 1


def test_a_file_that_is_not_named_or_named_twice_is_a_wrong_call(file: Path) -> None:
    assert said("check").exit_code == said("check", file, "-c", file).exit_code == 2
    assert "dicom-gateway check FILE" in said("check").stderr
    assert said("queue", "list", file, file).exit_code == 2
    assert said("explain", "--", file).exit_code == 1
    assert "[FILE.yaml]" in said("serve", "--help").stdout


def test_check_for_machines_holds_problems_and_warnings(file: Path) -> None:
    facts = json.loads(said("check", "--json", file).stdout)
    assert facts == {"ok": True, "problems": [], "warnings": []}
    wrong = _with(file, CONFIG.replace("send_to: pacs", "send_to: pcas"))
    result = said("check", "--json", wrong)
    assert result.exit_code == 1
    assert json.loads(result.stdout)["problems"] == [
        {
            "file": str(wrong),
            "line": 6,
            "column": 27,
            "text": "'pcas' is no node; nodes: pacs, old; did you mean pacs?",
        }
    ]
    unused = _with(file, CONFIG.replace("send_to: old", "send_to: pacs"))
    assert [
        each["line"] for each in json.loads(said("check", "--json", unused).stdout)["warnings"]
    ]


def test_explain_shows_every_condition_with_the_value_met(file: Path) -> None:
    result = said("explain", "-c", file, get_testdata_file("CT_small.dcm"), "--calling", "CT9")
    assert result.exit_code == 0
    assert "from CT9 to GATEWAY" in result.stdout
    assert "✓ route all" in result.stdout
    assert "✓ Modality: CT: it is CT" in result.stdout
    assert "✓ Rows: min 64: it is 128" in result.stdout
    assert "pacs by route all, as stored (explicit-le), MONOCHROME2\n" in result.stdout
    assert "old by route ct, as implicit-le, MONOCHROME2\n" in result.stdout


def test_explain_reads_a_dicom_json_header(file: Path, tmp_path: Path) -> None:
    header = {
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
        "00080060": {"vr": "CS", "Value": ["CT"]},
        "00083002": {"vr": "UI", "Value": ["1.2.840.10008.1.2.4.70"]},
        "00280010": {"vr": "US", "Value": [32]},
        "7FE00010": {"vr": "OW", "BulkDataURI": "http://x.example/1"},
    }
    path = tmp_path / "header.json"
    path.write_text(json.dumps([header]))
    result = said("explain", "--json", "-c", file, path)
    (facts,) = json.loads(result.stdout)
    assert [route["takes"] for route in facts["routes"]] == [True, False]
    assert facts["routes"][1]["match"][1]["met"] == "32"
    (sent,) = facts["destinations"]
    assert (sent["node"], sent["route"], sent["syntax"]) == ("pacs", "all", "jpeg-lossless-sv1")
    assert sent["as_stored"]


def test_explain_tells_of_routes_that_are_switched_off_and_of_a_default(file: Path) -> None:
    off = _with(file, CONFIG.replace("name: all", "name: all, enabled: false"))
    result = said("explain", "-c", off, get_testdata_file("CT_small.dcm"))
    assert "✗ route all is switched off\n" in result.stdout
    result = said("explain", get_testdata_file("CT_small.dcm"))
    assert result.stderr == "without -c FILE: by the embedded default, which has no routes\n"


FETCHED = CONFIG.replace(
    "routes:\n",
    "  cloud: { dicomweb: { url: https://c.example } }\n"
    "routes:\n  - { name: fetched, from: cloud, send_to: old }\n"
    "  - { name: sent, from: pacs, send_to: old }\n",
)


def test_explain_can_be_asked_about_what_a_node_sends_or_is_fetched_from_it(file: Path) -> None:
    other, image = _with(file, FETCHED), get_testdata_file("CT_small.dcm")
    shown = said("explain", "-c", other, image, "--from", "cloud").stdout
    assert "✓ cloud: it is cloud" in shown
    assert "✗ pacs: it is cloud" in shown
    shown = said("explain", "-c", other, image, "--from", "pacs").stdout
    assert "✗ cloud: it was not fetched from there" in shown
    assert "✓ pacs (AE title PACS): it is PACS" in shown
    shown = said("explain", "-c", other, image, "--calling", "cloud").stdout
    assert "✗ cloud: it was not fetched from there" in shown


def test_explain_refuses_a_sender_that_is_no_node_or_two_of_them(file: Path) -> None:
    image = get_testdata_file("CT_small.dcm")
    result = said("explain", "-c", file, image, "--from", "pasc")
    assert (result.exit_code, "pasc" in result.stderr, "pacs" in result.stderr) == (2, True, True)
    assert said("explain", "-c", file, image, "--from", "old", "--calling", "X").exit_code == 2


def test_explain_says_in_words_what_unless_excludes(file: Path) -> None:
    image = get_testdata_file("CT_small.dcm")

    def lines(unless: str) -> list[str]:
        text = CONFIG.replace("name: all, ", f"name: all, unless: {{ {unless} }}, ")
        shown = said("explain", "-c", _with(file, text), image).stdout
        return [line.lstrip("│├└─ ") for line in shown.splitlines() if "exclude" in line]

    assert lines("Modality: CT") == ["excludes it: Modality: CT: it is CT"]
    assert lines("Modality: MR") == ["does not exclude it: Modality: MR: it is CT"]
    assert lines("Modality: CT, Rows: 9") == [
        "does not exclude it by itself: Modality: CT: it is CT",
        "does not exclude it: Rows: 9: it is 128",
    ]


def test_explain_says_what_it_cannot_find(file: Path) -> None:
    found = get_testdata_file("CT_small.dcm")
    result = said("explain", "-c", file, "nowhere.dcm", found, file)
    assert (result.exit_code, result.stderr) == (
        1,
        "nowhere.dcm: no file, and no SOP Instance UID of the ledger\n"
        f"{file}: no data set is recognised at offset 0\n",
    )
    assert "pacs by route all" in result.stdout


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """Three instances that were received just now."""

    async def fill() -> None:
        spool = Spool.open(tmp_path / "spool", clock=utc_now, refuse_below_free=0)
        for number in range(3):
            await keep(spool, f"1.2.{number}", "pacs")
        await spool.aclose()

    asyncio.run(fill())
    return tmp_path / "spool"


def test_an_instance_of_the_ledger_is_explained_by_its_uid(file: Path, spool: Path) -> None:
    result = said("explain", "-c", file, "--spool", spool, "1.2.1")
    assert result.exit_code == 0
    assert "pacs by route all" in result.stdout
    result = said("explain", "-c", file, "--spool", spool, "1.2.7")
    assert "1.2.7: no instance that the spool" in result.stderr


def test_diff_shows_what_changes_and_for_whom(file: Path, spool: Path) -> None:
    new = _with(file, CONFIG.replace("name: all, ", "name: all, match: { Modality: US }, "))
    result = said("diff", file, new, "--replay", "9999d", "--spool", spool)
    assert result.exit_code == 0
    assert "+      Modality: [US]" in result.stdout
    assert re.search(r"^@@ routes all @@$", result.stdout, re.MULTILINE)
    assert "3 of 3 instances of the last 9999d would go elsewhere" in result.stdout
    assert re.search(
        "^- 3 instances of ([23] studies|1 study) would no longer go to pacs by route all$",
        result.stdout,
        re.MULTILINE,
    )
    facts = json.loads(
        said("diff", file, new, "--replay", "9999d", "--spool", spool, "--json").stdout
    )
    assert (facts["looked_at"], facts["changed"]) == (3, 3)


def test_diff_of_the_same_is_empty(file: Path, spool: Path) -> None:
    result = said("diff", file, file)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "both come to the same configuration\n"
    result = said("diff", file, file, "--replay", "9999d", "--spool", spool)
    assert result.stdout == "0 of 3 instances of the last 9999d would go elsewhere\n"


def test_diff_shows_what_changes_also_where_there_is_nothing_to_replay(file: Path) -> None:
    new = _with(file, CONFIG.replace("Rows: { min: 64 }", "Rows: { min: 65 }"))
    result = said("diff", file, new, "--replay", "7d", "--spool", file.parent / "none")
    assert result.exit_code == 1
    assert "+        min: 65" in result.stdout
    assert "there is no spool at" in result.stderr


def test_diff_refuses_a_span_that_is_none(file: Path, spool: Path) -> None:
    assert said("diff", file, file, "--replay", "soon", "--spool", spool).exit_code == 2


def test_config_shows_the_file_or_what_is_in_force(file: Path) -> None:
    assert said("config", "show", "-c", file).stdout == CONFIG
    assert load_text(said("config", "show", "--effective", "-c", file).stdout) == load_text(CONFIG)
    assert json.loads(said("config", "schema").stdout)["title"] == "dicom-gateway"
