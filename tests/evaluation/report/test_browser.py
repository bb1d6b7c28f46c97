"""The report in a real browser, opened from disk."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import Page, browsing, chromium
from tests.support.world import World, learned

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine (apt-get install chromium)"),
]
WIDTHS = {"desktop": 1280, "phone": 390}


@pytest.fixture
def page(world: World, tmp_path: Path) -> Iterator[Page]:
    """The report of a LoRA that learned, opened on a desktop."""
    world.generate(learned)
    world.evaluate()
    with browsing(tmp_path / "browser") as made:
        made.look(WIDTHS["desktop"], 900)
        made.open(world.out / "report.html")
        yield made


def test_it_opens_without_an_error_and_asks_for_nothing(page: Page) -> None:
    page.run("new Promise(done => setTimeout(done, 300))")
    assert page.faults == []
    assert [url for url in page.asked if not url.startswith(("file:", "data:"))] == []
    assert page.run("[...document.images].every(i => !i.src || (i.decode && i.getAttribute('alt')))")
    assert page.run("document.querySelectorAll('#claims .claim').length") >= 12
    assert "the date of this file" in page.run("document.querySelector('#time').textContent")


def test_the_verdict_and_the_image_come_first(page: Page) -> None:
    """Above the fold on a desktop: the headline, and the beginning of base beside LoRA."""
    places = page.run("['h1', '.hero img', '#claims'].map(s => document.querySelector(s).getBoundingClientRect().top)")
    assert places == sorted(places)
    assert places[1] < 900


def test_a_click_enlarges_a_image_and_another_closes_it(page: Page) -> None:
    assert page.run("document.querySelector('dialog').open") is False
    page.click("#galleries .zoom")
    assert page.run("document.querySelector('dialog').open") is True
    assert page.run("document.querySelector('dialog img').naturalWidth") > 100
    page.click("dialog img")
    assert page.run("document.querySelector('dialog').open") is False
    assert page.faults == []


@pytest.mark.parametrize("device", WIDTHS)
def test_nothing_runs_out_of_the_window(page: Page, device: str) -> None:
    """No sideways scrolling, on a desktop and on a phone."""
    page.look(WIDTHS[device], 844)
    assert page.run("document.documentElement.scrollWidth") <= WIDTHS[device]


def test_light_and_dark_are_both_readable(page: Page) -> None:
    """Text and paper change places, and the contrast of body text is at least 7 : 1 in both."""
    script = r"""(() => { const shine = c => c.match(/\d+/g).slice(0, 3).map(v => v / 255).map(v =>
        v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0);
        const style = getComputedStyle(document.body); return [shine(style.color), shine(style.backgroundColor)] })()"""
    found = []
    for dark in (False, True):
        page.look(WIDTHS["desktop"], 900, dark)
        found.append(page.run(script))
    (ink, paper), (light_ink, dark_paper) = found
    assert ink < paper
    assert light_ink > dark_paper
    for one in found:
        assert (max(one) + 0.05) / (min(one) + 0.05) >= 7
