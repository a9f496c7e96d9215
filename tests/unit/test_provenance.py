import hashlib
import json

import pytest

from random_mask.artifacts.provenance import chain, condensed, expanded
from random_mask.artifacts.records import digest, read_record, record_of, verify, write_records
from random_mask.errors import InputError


def make(path, content: bytes, *inputs):
    """Write an artifact and its record, as a stage does."""
    path.write_bytes(content)
    read = {str(source): digest(source) for source in inputs}
    write_records([path], {"stage": "test", "inputs": read})
    return path


@pytest.fixture
def three(tmp_path):
    data = make(tmp_path / "data.npz", b"data")
    weights = make(tmp_path / "weights.safetensors", b"weights", data)
    return data, weights, make(tmp_path / "scores.csv", b"scores", data, weights)


def test_a_record_stands_beside_its_artifact(three):
    scores = three[-1]
    assert record_of(scores).name == "scores.csv.provenance.json"
    record = read_record(scores)
    assert record["artifact"] == str(scores)
    assert record["sha256"] == hashlib.sha256(b"scores").hexdigest() == verify(scores)
    assert record["outputs"] == {str(scores): record["sha256"]}


def test_what_one_job_wrote_shares_a_record(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_text(path.name)
    write_records(paths, {"inputs": {}})
    first, second = map(read_record, paths)
    assert first["outputs"] == second["outputs"] == {str(path): digest(path) for path in paths}
    assert first["sha256"] != second["sha256"]


@pytest.mark.parametrize("damage", [b"", b"score", b"scorez", b"scores\n"])
def test_a_change_of_any_byte_is_noticed(three, damage):
    three[-1].write_bytes(damage)
    with pytest.raises(InputError, match=r"scores\.csv: damaged.*; delete it and run snakemake again"):
        verify(three[-1])


def test_what_is_missing_is_named(three):
    scores = three[-1]
    scores.unlink()
    with pytest.raises(InputError, match=r"scores\.csv: no such file; run snakemake again"):
        verify(scores)
    scores.write_bytes(b"scores")
    record_of(scores).write_text("{")
    with pytest.raises(InputError, match=r"scores\.csv: the record of its making is damaged; delete"):
        verify(scores)
    record_of(scores).unlink()
    with pytest.raises(InputError, match=r"scores\.csv: the record of its making is missing; delete"):
        verify(scores)


def test_the_chain_reaches_the_data(three):
    assert list(chain([three[-1]])) == sorted(map(str, three))


def test_a_broken_chain_is_an_error(three):
    """The data was made again, but not what depends on it."""
    data = three[0]
    make(data, b"other data")
    with pytest.raises(InputError, match=r"made from another version of .*data\.npz"):
        chain([three[-1]])


def test_records_are_plain_json(three):
    assert json.loads(record_of(three[0]).read_text())["stage"] == "test"


def test_what_records_have_in_common_is_kept_once_and_nothing_is_lost():
    record = {"code": {"a.py": "1"}, "computed": {}, "machine": {"cores": 2}, "versions": {"torch": "2"}}
    records = {name: record | {"artifact": name, "options": {"output": name}} for name in ("x", "y")}
    collected = condensed(records)
    assert expanded(collected) == records
    assert collected["artifacts"]["x"]["code"] == collected["artifacts"]["y"]["code"]
    assert len(collected["common"]) == 4 + 2
