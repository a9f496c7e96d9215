"""`random-mask config`: nothing for a configuration that is right, one line for one that is not."""

from pathlib import Path

from random_mask import cli

SMOKE = Path(__file__).parents[2] / "config" / "smoke.yaml"


def test_a_configuration_that_is_right(capsys):
    assert cli.main(["config", str(SMOKE)]) == 0
    assert capsys.readouterr() == ("", "")


def test_every_mistake_has_its_line(tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text(SMOKE.read_text() + "\nmodles: 3\nsed: 4\n")
    assert cli.main(["config", str(path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    remedy = "unknown key; remove it or correct its name"
    assert err == f"random-mask: {path}: modles: {remedy}\n{path}: sed: {remedy}\n"
