"""The authors' results in `reference/`: the code that is here made them, and readers are told so."""

from pathlib import Path

from random_mask.artifacts.provenance import problems

ROOT = Path(__file__).parents[2]


def test_this_code_made_what_is_kept():
    found = {path.name: problems(path) for path in sorted((ROOT / "reference").glob("*/"))}
    assert len(found) >= 7
    assert all(checked >= 9 for checked, _ in found.values())
    assert {name: told for name, (_, told) in found.items() if told} == {}
    rows = (ROOT / "ARTIFACT.md").read_text(encoding="utf-8").splitlines()
    for name in found:
        (row,) = [row for row in rows if row.startswith(f"| `{name}` | ") and " million | " in row]
        assert row.endswith(" this code |")
