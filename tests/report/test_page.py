"""A page is one inert file: everything that is told comes out as text."""

import base64
from html.parser import HTMLParser

from mfpde.report.page import CAPTIONS, Page, Picture, Table, html_page, run_page

EVIL = '<script>alert(\'x\')</script>" onload="x" & <b>'
PNG = b"\x89PNG not really"


class Reader(HTMLParser):
    """Tags with their attributes, and the text outside of them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def read(page: Page) -> Reader:
    reader = Reader()
    reader.feed(html_page(page))
    return reader


def evil_page() -> Page:
    return Page(
        title=EVIL,
        summary=EVIL,
        parameters={EVIL: EVIL},
        tables=[Table(EVIL, [EVIL, "b"], [[EVIL, EVIL]])],
        pictures=[Picture(PNG, EVIL, EVIL)],
        provenance={"command": EVIL},
    )


def test_whatever_is_told_is_text():
    page = read(evil_page())
    assert not {"script", "b"} & {tag for tag, _ in page.tags}
    assert all(not name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert page.text.count(EVIL) == 11  # the title twice; the alternative text is an attribute
    assert [attributes["alt"] for tag, attributes in page.tags if tag == "img"] == [EVIL]


def test_a_page_needs_nothing_else():
    page = read(evil_page())
    tags = {tag for tag, _ in page.tags}
    assert not {"link", "script", "iframe", "a"} & tags
    (source,) = (attributes["src"] for tag, attributes in page.tags if tag == "img")
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == PNG
    assert "url(" not in html_page(evil_page())


def test_a_page_is_built_of_its_parts():
    page = read(evil_page())
    tags = [tag for tag, _ in page.tags]
    assert [tags.count(tag) for tag in ("h1", "h2", "table", "figure", "figcaption")] == [
        1, 3, 3, 1, 1,
    ]  # fmt: skip
    assert ("html", {"lang": "en"}) in page.tags


def test_the_page_of_a_run_shows_every_picture_with_its_caption():
    pictures = dict.fromkeys(CAPTIONS, PNG)
    table = Table("gaps", ["particles", "100"], [["risk", "0.3"]])
    page = run_page("data", "A summary.", {"box": "a"}, [table], pictures, 1000, {"software": "s"})
    assert page.title == "data: density and particles"
    assert len(page.pictures) == 6
    assert "1,000 particles" in page.pictures[0].caption
    assert all(picture.alt and picture.caption for picture in page.pictures)
