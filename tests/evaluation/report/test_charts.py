import re

from anime_lora.evaluation.claims import Claim
from anime_lora.evaluation.report.charts import curve, interval_bar
from anime_lora.evaluation.report.model import Chart, Mark, Point, Series


def chart(*points: Point, title: str = "Style") -> Chart:
    return Chart(
        "style", title, "", "scale", "S", [Series("S", list(points))], [Mark("y", 1, "own")], "plots/style.csv"
    )


def test_every_point_is_a_dot_that_says_its_value() -> None:
    svg = curve(chart(Point(0, 0.1), Point(1, 0.5)))
    assert re.findall(r"<title>(.*?)</title>", svg) == ["0: 0.100", "1: 0.500"]


def test_a_band_needs_intervals_at_two_points() -> None:
    assert 'class="band"' in curve(chart(Point(0, 0.1, 0.0, 0.2), Point(1, 0.5, 0.4, 0.6)))
    assert 'class="band"' not in curve(chart(Point(0, 0.1, 0.0, 0.2), Point(1, 0.5)))


def test_points_bands_and_marks_lie_within_the_image() -> None:
    svg = curve(chart(Point(0, -3, -30, 5), Point(1, 0.5, 0.4, 60)))
    places = [float(number) for path in re.findall(r' d="([^"]*)"', svg) for number in re.findall(r"-?[\d.]+", path)]
    assert len(places) > 10
    assert min(places) >= 0
    assert max(places) <= 640


def test_a_mark_at_the_right_edge_has_its_label_to_its_left() -> None:
    at_edge = Chart("e", "", "", "", "", [Series("", [Point(0, 0), Point(10, 1)])], [Mark("x", 10, "published")], "")
    assert '<text x="622.0" text-anchor="end" y="24">published</text>' in curve(at_edge)


def test_words_cannot_break_out_of_the_image() -> None:
    assert "<script>" not in curve(chart(Point(0, 1), title='"><script>'))


def test_an_interval_is_a_bar_and_none_is_nothing() -> None:
    row = Claim("style", "", "shown", "S", "", "", value=0.5, interval=(0.25, 0.75))
    assert 'class="range" d="M42.0 8H114.0"' in interval_bar(row)
    assert interval_bar(Claim("style", "", "not measurable here", "S", "", "")) == ""
