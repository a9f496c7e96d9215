"""`random-mask config`: nothing for a configuration that is right, one line for one that is not."""

from pathlib import Path

import yaml

from random_mask import cli

SMOKE = Path(__file__).parents[2] / "config" / "smoke.yaml"


def test_a_configuration_that_is_right(capsys):
    assert cli.main(["config", str(SMOKE)]) == 0
    assert capsys.readouterr() == ("", "")


def test_what_every_run_would_refuse_is_told(tmp_path, capsys):
    content = yaml.safe_load(SMOKE.read_text())
    path = tmp_path / "mine.yaml"
    for changes, said in (
        ({"experiment": "paper"}, "results/paper is taken; choose another name"),
        (
            {"data": content["data"] | {"name": "image_folder", "path": "nowhere"}},
            "nowhere: no such file or folder",
        ),
        ({"oracle": "nowhere", "relearn": None}, "oracle: nowhere: no retrained fleets there"),
    ):
        path.write_text(yaml.safe_dump(content | changes))
        assert cli.main(["config", str(path)]) == 1
        assert said in capsys.readouterr().err


def test_yaml_that_is_no_mapping(tmp_path, capsys):
    for text in ("- a\n- b\n", "word\n"):
        (tmp_path / "mine.yaml").write_text(text)
        assert cli.main(["config", str(tmp_path / "mine.yaml")]) == 1
        assert f"{tmp_path}/mine.yaml: a configuration is a mapping" in capsys.readouterr().err
    (tmp_path / "mine.yaml").write_text("0: 1\n'0': 2\n")
    assert cli.main(["config", str(tmp_path / "mine.yaml")]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_methods_of_one_title_are_a_caution(tmp_path, capsys):
    content = yaml.safe_load(SMOKE.read_text())
    content["methods"]["again"] = content["methods"]["finetune"]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    assert cli.main(["config", str(path)]) == 0
    assert (
        "methods.again.title: Fine-tuning is that of finetune, too; give it another"
        in capsys.readouterr().err
    )


def test_a_method_whose_file_fails_is_named(monkeypatch, capsys):
    def failing(module: str, filename: str):
        code = compile(f"import {module}", filename, "exec")
        return lambda *_: exec(code, {})

    monkeypatch.setattr(cli, "app", failing("no_such_module", "src/random_mask/methods/mine.py"))
    assert cli.main(["config", str(SMOKE)]) == 1
    assert "src/random_mask/methods/mine.py:1: imports no_such_module; install it" in capsys.readouterr().err
    monkeypatch.setattr(cli, "app", failing("no_such_module", "src/random_mask/trying.py"))
    assert cli.main(["config", str(SMOKE)]) == 1
    assert (
        "this command needs no_such_module; type: pip install 'random-mask[study]'" in capsys.readouterr().err
    )


def test_every_mistake_has_its_line(tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text(SMOKE.read_text() + "\nmodles: 3\nsed: 4\n")
    assert cli.main(["config", str(path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    remedy = "unknown key; remove it or correct its name"
    assert err == f"random-mask: {path}: modles: {remedy}\n{path}: sed: {remedy}\n"
