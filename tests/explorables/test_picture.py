import re

import pytest

from explorables import palette
from explorables.palette import LIGHT_AND_DARK
from explorables.picture import picture_of
from explorables.style import log_axis
from tests.explorables.example import digits, draw_wave, make_wave, wave


@pytest.fixture(scope="module")
def picture():
    return picture_of(wave)


def test_background_holds_axes_and_no_moving_artist(picture):
    left, right = picture.backgrounds
    assert "σ²" in left
    assert "frequency" not in left + right
    assert left.count("<path") > 5


def test_parts_hold_only_what_moves(picture):
    line, rest = picture.parts(wave.run())
    assert line.count("<path") == 1
    assert "frequency 1" in rest
    assert "<text" not in line


def test_text_is_text_in_the_font_of_the_page(picture):
    everything = "".join([*picture.backgrounds, *picture.parts(wave.run())])
    assert "<text" in everything
    assert "font-family" not in everything
    assert "DejaVu" not in everything


def test_nothing_leaks_into_the_page(picture):
    everything = "".join([*picture.backgrounds, *picture.parts(wave.run())])
    for word in ("<style", "<svg", "<metadata", "<?xml", "<!DOCTYPE", "xmlns"):
        assert word not in everything
    # Only clip paths and markers have ids, and those are hashes salted with the explorer's name.
    ids = re.findall(r' id="([^"]+)"', everything)
    assert ids
    assert all(re.fullmatch(r"[pm][0-9a-f]{10}", i) for i in ids)
    other = picture_of(make_wave(name="example.other"))
    others = re.findall(r' id="([^"]+)"', "".join(other.backgrounds + other.parts(wave.run())))
    assert not set(ids) & set(others)


def test_palette_colours_become_variables(picture):
    line, rest = picture.parts(wave.run())
    assert "var(--xp-blue)" in line
    assert "var(--xp-vermillion)" in rest
    assert not re.search(r"#[0-9a-f]{6}", "".join([line, rest, *picture.backgrounds]))


def test_two_drawings_are_the_same_text():
    assert picture_of(wave).backgrounds == picture_of(wave).backgrounds


def test_coordinates_are_short(picture):
    line, _ = picture.parts(wave.run())
    path = re.search(r' d="([^"]+)"', line)[1]
    assert len(re.findall("L", path)) > 20
    assert not re.search(r"\.\d\d", path)


@pytest.mark.parametrize(
    ("draw", "word"),
    [
        (lambda left, right: None, "artists that move"),
        (lambda left, right: draw_wave(*_strangers()), "stands in none"),
    ],
)
def test_draw_must_return_its_artists(draw, word):
    with pytest.raises(ValueError, match=word):
        picture_of(make_wave(draw=draw))


def _strangers():
    from matplotlib.figure import Figure

    return Figure(), Figure()


def test_html_picture_has_one_part():
    picture = picture_of(digits)
    assert picture.parts(42) == ["<table><tr><td>4</td><td>2</td></tr></table>"]


def _luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(a, b):
    low, high = sorted((_luminance(a), _luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("name", sorted(set(LIGHT_AND_DARK) - {"paper", "grid", "shade"}))
def test_contrast(name, theme):
    """WCAG 2: 4.5 for text, 3 for graphics, on the page and on shaded areas."""
    wanted = 3.0 if name == "sky" else 4.5
    for ground in ("paper", "shade"):
        assert _contrast(LIGHT_AND_DARK[name][theme], LIGHT_AND_DARK[ground][theme]) >= wanted


def test_stylesheet_defines_every_variable_for_both_themes_and_paper():
    css = palette.stylesheet("html", ".dark")
    for name, (light, dark) in LIGHT_AND_DARK.items():
        assert (
            css.count(f"--xp-{name}:{light};") == 2
        )  # the light page, and print from the dark one
        assert css.count(f"--xp-{name}:{dark};") == 1


def test_log_axis_refuses_another_axis():
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    with pytest.raises(ValueError, match="which must be"):
        log_axis(ax, "z", 1, 10)
    log_axis(ax, "y", 1e-4, 1e2)
    labels = [ax.yaxis.get_major_formatter()(v) for v in (1e-4, 1, 10, 1e5)]
    assert labels == ["10⁻⁴", "1", "10", "10⁵"]
