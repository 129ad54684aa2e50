"""Pages run again when anything of the library changed that their output may depend on."""

import pytest


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("lib/package/module.py", True),
        ("lib/package/data/sweeps/runs.json", True),
        ("lib/package/data/digits.npz", True),
        ("requirements.txt", True),
        ("lib/package/__pycache__/module.cpython-311.pyc", False),
        ("lib/book.egg-info/PKG-INFO", False),
        ("README.md", False),
    ],
)
def test_what_a_page_depends_on(tmp_path, house, name, counts):
    fingerprint = house("freshness").fingerprint
    (tmp_path / "lib").mkdir()
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("before")
    before = fingerprint(tmp_path)
    file.write_text("after")
    assert (fingerprint(tmp_path) != before) == counts
