"""The authors' results in `reference/`: which the code that is here made, and that readers are told."""

from pathlib import Path

from random_mask.artifacts.provenance import problems

ROOT = Path(__file__).parents[2]
BY_EARLIER_CODE = {"digits-128", "digits-all", "digits_tuning"}
"""Long runs that are not made again yet; ARTIFACT.md says so of each."""


def test_this_code_made_what_is_kept_but_for_what_readers_are_told():
    found = {path.name: problems(path) for path in sorted((ROOT / "reference").glob("*/"))}
    assert all(checked >= 9 for checked, _ in found.values())
    wrong = {name: told for name, (_, told) in found.items() if told and name not in BY_EARLIER_CODE}
    assert wrong == {}
    assert {name for name, (_, told) in found.items() if told} == BY_EARLIER_CODE
    rows = (ROOT / "ARTIFACT.md").read_text(encoding="utf-8").splitlines()
    for name in found:
        (row,) = [row for row in rows if row.startswith(f"| `{name}` | ") and " million | " in row]
        assert row.endswith(" earlier code |" if name in BY_EARLIER_CODE else " this code |")
