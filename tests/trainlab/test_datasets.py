"""Data sets, and the files that they are stored in."""

from __future__ import annotations

import gzip
import re

import numpy as np
import pytest

from tests import make_data
from tests.trainlab.closeness import assert_close
from trainlab.datasets import (
    book_corpus,
    digits,
    flip_labels,
    gaussian_classes,
    linear_teacher,
    noisy_curve,
    spirals,
    two_circles,
    two_moons,
)
from trainlab.text_cleaning import clean_text


def _rng():
    return np.random.default_rng(0)


@pytest.mark.referee
def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    pixels, labels = digits()
    np.testing.assert_array_equal(16 * pixels, load_digits().data)
    np.testing.assert_array_equal(labels, load_digits().target)
    stored = np.load(make_data.DATA / "digits.npz")
    for name, array in make_data.digits().items():
        assert stored[name].dtype == np.uint8
        np.testing.assert_array_equal(stored[name], array)


def test_parts_of_the_digits_are_a_fixed_shuffled_split():
    pixels, labels = digits()
    parts = [digits(part=part) for part in ("train", "validation", "test")]
    assert [len(y) for _, y in parts] == [1197, 300, 300]
    joined = np.concatenate([np.c_[x, y] for x, y in parts])
    whole = np.c_[pixels, labels]
    np.testing.assert_array_equal(np.unique(joined, axis=0), np.unique(whole, axis=0))
    assert len(np.unique(joined, axis=0)) == 1797  # no image twice, hence no leak of one
    for _, y in parts:
        assert np.bincount(y).min() > len(y) / 20
    assert parts[0][1][:5].tolist() == [2, 3, 3, 4, 8]
    assert parts[1][1][:5].tolist() == [8, 2, 3, 3, 6]
    assert parts[2][1][:5].tolist() == [2, 5, 5, 7, 9]


def test_digits_are_fractions_of_sixteen():
    pixels, labels = digits(dtype=np.float32)
    assert pixels.dtype == np.float32
    assert labels.dtype == np.int64
    assert digits()[0].dtype == np.float64
    assert set(np.unique(pixels * 16)) == set(range(17))
    np.testing.assert_array_equal(pixels, digits()[0])


def test_changing_the_digits_changes_nothing_for_the_next():
    digits()[0][:] = 7
    assert digits()[0].max() == 1


def test_linear_teacher_is_linear_and_of_unit_variance():
    data = linear_teacher(20_000, rng=_rng(), dim=50)
    weight, residual = np.linalg.lstsq(data.x, data.clean)[:2]
    assert residual < 1e-18
    assert data.x.shape == (20_000, 50)
    # |w|² is chi-squared with 50 degrees over 50: standard deviation 0.2. Four of them.
    assert abs(weight @ weight - 1) < 0.8
    assert_close(data.clean.std(), np.linalg.norm(weight), rtol=0.02)  # four errors of a spread
    assert_close((data.y - data.clean).std(), 0.1, rtol=0.02)
    assert linear_teacher(3, rng=_rng()).x.shape == (3, 5)


def test_noise_and_outliers_are_what_is_asked_for():
    data = linear_teacher(20_000, rng=_rng(), noise=0.5, outliers=0.1)
    error = data.y - data.clean
    moved = np.abs(error) > 5
    assert_close(moved.mean(), 0.1, rtol=0.09)  # four standard errors
    assert_close(error[~moved].std(), 0.5, rtol=0.025)
    assert_close(np.abs(error[moved]).mean(), 10, rtol=0.01)
    assert_close((error[moved] > 0).mean(), 0.5, rtol=0.1)
    assert (
        np.abs(linear_teacher(5000, rng=_rng()).y - linear_teacher(5000, rng=_rng()).clean).max()
        < 1
    )
    clean = linear_teacher(50, rng=_rng(), noise=0)
    np.testing.assert_array_equal(clean.y, clean.clean)


def test_curves():
    sine = noisy_curve(5000, rng=_rng())
    assert sine.x.shape == (5000, 1)
    assert_close(sine.clean, np.sin(np.pi * sine.x[:, 0]))
    assert_close((sine.y - sine.clean).std(), 0.1, rtol=0.04)  # four errors of a spread
    assert np.abs(sine.y - sine.clean).max() < 1
    assert sine.x.min() < -0.99
    assert 0.99 < sine.x.max() < 1
    steps = noisy_curve(5000, rng=_rng(), kind="piecewise")
    x = steps.x[:, 0]
    expected = np.select([x < -0.5, x < 0, x < 0.5], [0.5, -1.0, 1.0], -0.5)
    np.testing.assert_array_equal(steps.clean, expected)
    assert (np.abs(noisy_curve(5000, rng=_rng(), outliers=1.0).y) > 8).all()


def test_moons_lie_on_half_circles():
    points, labels = two_moons(2001, rng=_rng(), noise=0)
    assert np.bincount(labels).tolist() == [1001, 1000]
    centers = np.array([[0, 0], [1, 0.5]])[labels]
    assert_close(np.linalg.norm(points - centers, axis=1), np.ones(2001))
    assert points[labels == 0, 1].min() >= 0
    assert points[labels == 1, 1].max() <= 0.5
    assert points[labels == 0, 0].min() < -0.99
    assert points[labels == 1, 0].max() > 1.99
    assert set(np.diff(labels)) == {-1, 0, 1}  # shuffled


@pytest.mark.referee
def test_moons_and_circles_are_those_of_scikit_learn():
    """Each of its points has one of 5000 of ours close by, of the same class."""
    from sklearn.datasets import make_circles, make_moons

    for own, other in (
        (two_moons(5000, rng=_rng(), noise=0), make_moons(100)),
        (two_circles(5000, rng=_rng(), noise=0, factor=0.3), make_circles(100, factor=0.3)),
    ):
        distance = np.linalg.norm(other[0][:, None] - own[0], axis=2)
        near = distance.argmin(axis=1)
        assert distance.min(axis=1).max() < 0.02
        np.testing.assert_array_equal(own[1][near], other[1])


def test_circles():
    points, labels = two_circles(1001, rng=_rng(), noise=0, factor=0.3)
    assert_close(np.linalg.norm(points, axis=1), np.where(labels == 0, 1, 0.3))
    assert np.bincount(labels).tolist() == [501, 500]
    half = two_circles(100, rng=_rng(), noise=0)[0]
    assert_close(np.linalg.norm(half, axis=1).min(), 0.5)
    assert points.min() < -0.99


def test_spirals():
    points, labels = spirals(3001, rng=_rng(), noise=0, turns=1.5, classes=4)
    assert np.bincount(labels).tolist() == [751, 750, 750, 750]
    radius = np.linalg.norm(points, axis=1)
    assert radius.max() < 1
    angle = 2 * np.pi * (1.5 * radius + labels / 4)
    assert_close(points[:, 0], radius * np.cos(angle), atol=1e-12)  # a cosine may be 0
    assert_close(points[:, 1], radius * np.sin(angle), atol=1e-12)
    plain, three = spirals(60, rng=_rng(), noise=0)
    assert set(three) == {0, 1, 2}
    radius = np.linalg.norm(plain, axis=1)
    assert_close(plain[:, 0], radius * np.cos(2 * np.pi * (0.75 * radius + three / 3)), atol=1e-12)


@pytest.mark.parametrize(("draw", "noise"), [(two_moons, 0.1), (two_circles, 0.1), (spirals, 0.02)])
def test_noise_of_points(draw, noise):
    exact = draw(20_000, rng=_rng(), noise=0)[0]
    assert_close((draw(20_000, rng=_rng())[0] - exact).std(axis=0), [noise] * 2, rtol=0.02)
    assert_close((draw(20_000, rng=_rng(), noise=2)[0] - exact).std(axis=0), [2] * 2, rtol=0.02)


def test_gaussian_classes_are_balls_around_fixed_centers():
    points, labels = gaussian_classes(20_000, rng=_rng())
    assert points.shape == (20_000, 20)
    assert set(labels) == set(range(5))
    other, their_labels = gaussian_classes(20_000, rng=np.random.default_rng(1))
    for k in range(5):
        mean = points[labels == k].mean(axis=0)
        # Each mean is of 4000 points: standard error 0.016 of a coordinate.
        assert np.abs(mean - other[their_labels == k].mean(axis=0)).max() < 0.1
        assert_close(points[labels == k].std(), np.sqrt(1 + mean.var()), rtol=0.3)
        assert_close((points[labels == k] - mean).std(), 1, rtol=0.02)
    wide = gaussian_classes(2000, rng=_rng(), spread=7.5)[0]
    assert_close(wide.std(), np.sqrt(1 + 7.5**2), rtol=0.2)
    narrow = gaussian_classes(2000, rng=_rng(), spread=0.0)[0]
    assert_close(narrow.std(), 1, rtol=0.02)


def test_flipped_labels_are_wrong_and_of_any_other_class():
    labels = np.arange(30_000) % 3
    flipped = flip_labels(labels, fraction=0.4, classes=3, rng=_rng())
    assert_close((flipped != labels).mean(), 0.4, rtol=0.03)  # four standard errors
    moved = (flipped - labels) % 3
    assert_close((moved == 1).mean(), (moved == 2).mean(), rtol=0.06)
    assert set(flipped) == {0, 1, 2}
    np.testing.assert_array_equal(flip_labels(labels, fraction=0, classes=3, rng=_rng()), labels)
    assert (flip_labels(labels, fraction=1, classes=3, rng=_rng()) != labels).all()


# The book as a corpus.


def test_corpus_is_clean_prose():
    corpus = book_corpus()
    assert len(corpus) >= 7
    assert sum(map(len, corpus.values())) > 60_000
    for name, text in corpus.items():
        assert re.fullmatch(r"\w+(/\w+)?", name)
        assert text == clean_text(text) + "\n"
        assert len(text.splitlines()[0].split()) < 10  # its title
        for markup in ("```", ":::", "{eval}", "{footcite", "](", "**", ":class:", "import numpy"):
            assert markup not in text, (name, markup)
    with pytest.raises(TypeError):
        corpus["new"] = ""


def test_the_file_has_the_form_that_the_tool_writes():
    """Not the same text: the pages go on, and `make data` follows when somebody wants it."""
    stored = gzip.decompress((make_data.DATA / "book_corpus.txt.gz").read_bytes())
    fresh = make_data.corpus(make_data.ROOT / "book")
    for data in (stored, fresh):
        header, *pages = data.decode().split("\f")
        match = re.fullmatch(r"book_corpus 1 sha256 [0-9a-f]{64} of (\d+) pages\n", header)
        assert int(match[1]) == len(pages)
    assert (make_data.DATA / "book_corpus.txt.gz").stat().st_size <= make_data.LARGEST_CORPUS
    assert (make_data.DATA / "digits.npz").stat().st_size <= 60_000
    assert "CC BY 4.0" in (make_data.DATA / "PROVENANCE.txt").read_text(encoding="utf-8")


PAGE = """---
jupytext:
  formats: md:myst
---

(label)=
# A *title*

Some `code`, **bold** and
[a link](https://example.org), {ref}`label`, {ref}`the page <label>`.
{footcite:t}`he2015` drew {eval}`x` of $n$ {footcite:p}`a2014,b2015`.

```{code-cell} ipython3
print("no")
```

````{admonition} Math
:class: note dropdown
Let a < b.

$$
no = no
$$

```python
no()
```
* One item
````

| no | table |
|---|---|

$$ no $$

2 * 3 * 4
"""


def test_prose_of_a_page():
    assert make_data.prose(PAGE) == (
        "A title\n"
        "Some code, bold and a link, label, the page. He (2015) drew N of n.\n"
        "Math\nLet a < b.\nOne item\n2 * 3 * 4\n"
    )


@pytest.mark.parametrize("dtype", ["float32", np.float32, np.dtype(np.float32)])
def test_digits_take_every_name_of_a_dtype(dtype):
    pixels, _ = digits(dtype=dtype)
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, digits()[0])
