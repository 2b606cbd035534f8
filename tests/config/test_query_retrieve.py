"""``query_retrieve`` is read and checked, and nobody is left to believe that it is served."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.config import Config, ConfigError, effective, load, load_text
from gateway.route.warnings import warnings
from gateway.service import Service

NODES = """version: 1
nodes:
  cloud: { dicomweb: { url: "https://cloud.example/dicom-web" } }
  desk: { dimse: { ae_title: DESK, host: 10.1.2.44 } }
  film: { dimse: { ae_title: FILM, host: 10.1.2.45 } }
"""
WHOLE = """query_retrieve:
  - name: cloud-looks-like-a-pacs
    called_ae: CLOUDQR
    allow: desk
    services: [find, move]
    source: cloud
    move_to: [desk, film]
    level: study
    keep_alive: 10s
    limits: { max_results: 100, require_one_of: [PatientID, '0008,0020'] }
"""


def _config(text: str) -> Config:
    config = load_text(NODES + text, "FILE", {})
    assert load_text(effective(config), "EFFECTIVE", {}) == config
    return config


def _problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        load_text(NODES + text, "FILE", {})
    return [str(each) for each in refusal.value.problems]


def test_what_is_written_is_what_is_in_force() -> None:
    (entry,) = _config(WHOLE).query_retrieve
    assert (entry.called_ae, entry.allow, entry.source) == ("CLOUDQR", ("desk",), "cloud")
    assert (entry.services, entry.move_to) == (("find", "move"), ("desk", "film"))
    assert (entry.level, entry.keep_alive) == ("study", 10)
    assert entry.limits.require_one_of == ("PatientID", "StudyDate")
    assert "called_ae: CLOUDQR\n" in effective(_config(WHOLE))


def test_an_entry_says_little_and_means_the_rest() -> None:
    (entry,) = _config("query_retrieve: [{ name: q, allow: desk, source: cloud }]").query_retrieve
    assert entry.services == ("echo", "find", "move", "get")
    assert (entry.level, entry.limits.max_results, entry.move_to) == ("series", 500, ())


def test_its_nodes_count_as_used_and_one_line_says_that_nobody_is_answered() -> None:
    remarks = [str(each) for each in warnings(_config(WHOLE))]
    assert remarks == [
        "FILE:7:3: query_retrieve is checked, and not served yet: C-FIND, C-MOVE and C-GET are"
        " refused"
    ]
    assert len(warnings(_config(""))) == 3


def test_every_wrong_name_is_found_at_once() -> None:
    text = """query_retrieve:
  - { name: q, allow: [desk, dask], services: [fnd], source: clud, move_to: cloud }
  - { name: r, allow: desk, source: cloud, limits: { require_one_of: PatientId } }
  - { name: r, allow: desk, source: cloud, called_ae: CLOUDQR, colour: red }
"""
    assert _problems(text) == [
        "FILE:7:30: 'dask' is no node; nodes: cloud, desk, film; did you mean desk?",
        "FILE:7:48: query_retrieve.services: 'fnd' is not known here; allowed: echo, find, move,"
        " get; did you mean find?",
        "FILE:7:62: 'clud' is no node; nodes: cloud, desk, film; did you mean cloud?",
        "FILE:7:77: node 'cloud' has no dimse to be asked by; allowed: desk, film",
        "FILE:8:5: query_retrieve: the gateway's AE title is answered for by q; give each entry"
        " its own called_ae",
        "FILE:8:70: query_retrieve.limits.require_one_of: 'PatientId' is not a DICOM attribute;"
        " allowed: a DICOM keyword such as Modality, or a tag such as '0008,0060'; did you mean"
        " PatientID?",
        "FILE:9:13: the name 'r' is taken by another entry of query_retrieve; names must differ",
        "FILE:9:64: unknown key 'colour' in this entry of query_retrieve; allowed: name,"
        " called_ae, allow, services, source, move_to, level, keep_alive, limits",
    ]


def test_those_whom_c_move_may_send_to_are_for_c_move_alone() -> None:
    assert _problems(WHOLE.replace("[find, move]", "find")) == [
        "FILE:12:5: query_retrieve: move_to is for C-MOVE, and services leave it out"
    ]


def test_entries_may_stand_in_further_files(tmp_path: Path) -> None:
    (tmp_path / "q.yaml").write_text(WHOLE)
    main = tmp_path / "main.yaml"
    here = "query_retrieve: [{ name: q, allow: film, source: cloud }]"
    main.write_text(f"{NODES}include: q.yaml\n{here}\n")
    config = load(main, {})
    assert [each.name for each in config.query_retrieve] == ["q", "cloud-looks-like-a-pacs"]


async def test_a_gateway_that_starts_says_once_that_it_does_not_answer(tmp_path: Path) -> None:
    listen = "listen: '127.0.0.1:0'"
    gateway = (
        f"gateway: {{ dicom: {{ {listen} }}, web: {{ {listen} }}, transcode: {{ workers: 1 }},"
        f" spool: {{ path: '{tmp_path}/spool', refuse_below_free: 1MiB }} }}\n"
    )
    with capture_logs() as logs:
        async with Service(_config(gateway + WHOLE)):
            pass
    said = [log for log in logs if "query_retrieve" in log["event"]]
    assert [(log["log_level"], log["entries"]) for log in said] == [("warning", 1)]


def test_the_page_on_rules_shows_what_the_loader_takes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")
    example = page.partition("```yaml\nquery_retrieve:\n")[2].partition("```")[0]
    text = f"query_retrieve:\n{example}".replace("workstation", "desk")
    assert _config(text).query_retrieve[0].called_ae == "CLOUDQR"
