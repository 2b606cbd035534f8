"""Nodes, routes and examples may stand in further files; problems name the file they are in."""

from pathlib import Path

import pytest

from gateway.config import Config, ConfigError, effective, load, load_text

NODE = "{ dimse: { ae_title: %s, host: h } }"


def _write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "main.yaml"


def _problems(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        load(path, {})
    return [str(each).replace(f"{path.parent}/", "") for each in refusal.value.problems]


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    main = _write(
        tmp_path,
        main="version: 1\ninclude: conf.d\nnodes: { a: " + NODE % "A" + " }\n",
        conf_d__x="",
    )
    (tmp_path / "conf_d").rename(tmp_path / "conf.d")
    (tmp_path / "conf.d/x.yaml").unlink()
    (tmp_path / "conf.d/20.yaml").write_text("routes: [{ name: second, send_to: a }]\n")
    (tmp_path / "conf.d/10.yaml").write_text("routes: [{ name: first, send_to: a }]\n")
    config = load(main, {})
    assert [route.name for route in config.routes] == ["first", "second"]
    assert config.problem(("routes", 1), "x").file.endswith("conf.d/20.yaml")
    assert load_text(effective(config)) == config


def test_files_and_patterns_add_nodes_and_variables_count_in_them(tmp_path: Path) -> None:
    main = _write(
        tmp_path,
        main="version: 1\ninclude: [nodes/*.yaml, more.yaml]\n"
        "routes: [{ name: r, send_to: [b, c] }]\n",
        nodes__b="version: 1\nnodes: { b: " + NODE % "'${TITLE}'" + " }\n",
        more="nodes: { c: " + NODE % "C" + " }\n"
        "examples: [{ given: { Modality: CT }, expect: { r: [b, c] } }]\n",
    )
    config: Config = load(main, {"TITLE": "BEE"})
    dimse = config.nodes["b"].dimse
    assert dimse is not None
    assert dimse.ae_title == "BEE"
    assert set(config.nodes) == {"b", "c"}
    assert len(config.examples) == 1


def test_an_empty_folder_adds_nothing(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    assert load(_write(tmp_path, main="version: 1\ninclude: conf.d\n"), {}) == load_text(
        "version: 1\n"
    )


def test_every_problem_names_the_file_that_it_is_in(tmp_path: Path) -> None:
    main = _write(
        tmp_path,
        main="version: 1\ninclude: [a.yaml, b.yaml]\nnodes: { a: " + NODE % "A" + " }\n",
        a="nodes: { a: " + NODE % "B" + " }\nroutes:\n  - { name: r, send_to: x }\n",
        b="gateway: { ae_title: X }\nroutes: { r: s }\nnodes:\n  d: { dimse: { ae_title: D } }\n",
    )
    assert _problems(main) == [
        "a.yaml:1:10: the name 'a' is taken; first in main.yaml, line 3",
        "a.yaml:3:25: 'x' is no node; nodes: a, d",
        "b.yaml:1:1: key 'gateway' belongs in main.yaml; included files hold nodes, routes, fetch,"
        " query_retrieve, examples",
        "b.yaml:2:9: routes is of another kind than in main.yaml",
        "b.yaml:4:8: nodes.d.dimse lacks the key host",
    ]


def test_a_file_that_is_no_yaml_is_one_problem_among_the_others(tmp_path: Path) -> None:
    main = _write(
        tmp_path, main="version: 1\ninclude: [a.yaml]\nroutes: [{ name: r, send_to: x }]\n", a="[1"
    )
    assert _problems(main) == [
        "a.yaml:1:3: YAML: a '[' list is not closed, or a comma is missing (opened on line 1)",
        "main.yaml:3:30: 'x' is no node; nodes: none",
    ]
