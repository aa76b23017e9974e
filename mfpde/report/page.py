"""A report as one HTML file that needs nothing else: no scripts, no links out, pictures inside.

Whatever comes from a user or a file is escaped here, in the one function that puts text into tags.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

CSS = """
:root { color-scheme: light dark; --ink: #1b1b1b; --soft: #5c5c5c; --paper: #fff; --rule: #d8d8d8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --soft: #a6a6a6; --paper: #161616; --rule: #3a3a3a; }
}
body { margin: 2.5rem auto; max-width: 62rem; padding: 0 1.25rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 1rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
caption { text-align: left; color: var(--soft); padding-bottom: .4rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem 1.25rem .25rem 0;
  border-bottom: 1px solid var(--rule); font-weight: normal; }
thead th { border-bottom: 1px solid var(--ink); }
tbody th { color: var(--soft); }
.wide { overflow-x: auto; margin: 1rem 0; }
figure { margin: 1.5rem 0 2.5rem; }
figure img { width: 100%; height: auto; background: #fff; }
figcaption, footer { color: var(--soft); font-size: .92rem; }
"""


@dataclass(frozen=True)
class Table:
    """Rows under a header; the first column names the row."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A figure as PNG, with its caption and what it shows for who cannot see it."""

    png: bytes
    caption: str
    alt: str


@dataclass(frozen=True)
class Page:
    """What a report says. All text is plain text."""

    title: str
    summary: str
    parameters: Mapping[str, str]
    tables: Sequence[Table]
    pictures: Sequence[Picture]
    provenance: Mapping[str, str]


def html_page(page: Page) -> str:
    """The report as a self-contained HTML document."""
    body = [
        tag("h1", page.title),
        tag("p", page.summary),
        tag("h2", "What was asked"),
        name_list(page.parameters),
        tag("h2", "What was found"),
        *map(table, page.tables),
        *(picture(shown, number) for number, shown in enumerate(page.pictures, 1)),
        tag("h2", "How it was made"),
        name_list(page.provenance),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{tag('title', page.title)}\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def tag(name: str, text: str, attributes: str = "") -> str:
    """Text inside a tag, escaped."""
    return f"<{name}{attributes}>{html.escape(text)}</{name}>"


def table(content: Table) -> str:
    """A table with a caption and named rows."""
    header = "".join(tag("th", name, ' scope="col"') for name in content.header)
    return (
        f'<div class="wide"><table>\n{tag("caption", content.caption)}\n'
        f"<thead><tr>{header}</tr></thead>\n{body(content.rows)}\n</table></div>"
    )


def name_list(pairs: Mapping[str, str]) -> str:
    """A table of names and values without a header."""
    return f'<div class="wide"><table>\n{body(pairs.items())}\n</table></div>'


def body(rows: Iterable[Sequence[str]]) -> str:
    """Rows of a table, the first cell of each its name."""
    lines = [
        tag("th", name, ' scope="row"') + "".join(tag("td", value) for value in values)
        for name, *values in rows
    ]
    return "<tbody>\n" + "\n".join(f"<tr>{line}</tr>" for line in lines) + "\n</tbody>"


def picture(shown: Picture, number: int) -> str:
    """A figure with its caption, its bytes inside the document."""
    source = base64.b64encode(shown.png).decode("ascii")
    return (
        f'<figure>\n<img src="data:image/png;base64,{source}" '
        f'alt="{html.escape(shown.alt)}">\n'
        f"{tag('figcaption', f'Figure {number}. {shown.caption}')}\n</figure>"
    )


CAPTIONS = {
    "marginals": "Marginal densities of the neurons (colours, on a root scale), and {width:,} "
    "particles started from independent draws (dots). Coordinates belong to standardised data.",
    "fit": "The data and what the network predicts, in the data's own units: the density at "
    "several times, and at the last of them every particle run of the widest network.",
    "history": "Risk, and energy where neurons are penalised, against time: the density, and the "
    "particles' median with the band over seeds that the table gives. Right: the "
    "particles' risk less the density's.",
    "gap": "Root mean square distance between the predictions of particles and density. Left: "
    "against time. Right: against the number of particles at the last time; squares measure "
    "against the density's own cells moved as particles (drawn a little to the right).",
    "distances": "Distances between the measures at the last time: particles to the density, with "
    "bars over seeds; squares are the mean for iid clouds drawn from the density itself, which "
    "sampling and the size of cells alone would give (drawn a little to the right).",
    "budget": "What the gap is made of, with 5-95 % intervals. Left: against the number of "
    "particles at the last time, with the gaps of single runs in grey. Sampling is what differs "
    "from seed to seed (drawn a little to the right); the grid's part is what moving mass on it "
    "costs, by the density's own cells, taken to be right to a factor of 2 (hatched), or what all "
    "replicas share where particles are noisy; the star is "
    "a network that would do. Right: sampling of the widest networks and the grid, against time.",
}
ALTS = {
    "marginals": "Rows of colour maps of the density in every pair of coordinates at successive "
    "times, with particles on top.",
    "fit": "Data points with predicted curves, or predictions against observations.",
    "history": "Falling risk against time, one curve for the density and one for every width, and "
    "their differences.",
    "distances": "Logarithmic plots of distances over the number of particles, with floors.",
    "gap": "Two logarithmic plots of the gap, over time and over the number of particles.",
    "budget": "Two logarithmic plots of sampling and grid, over the number of particles and over "
    "time.",
}


def run_page(
    name: str,
    summary: str,
    asked: Mapping[str, str],
    tables: Sequence[Table],
    pictures: Mapping[str, bytes],
    drawn_width: int,
    provenance: Mapping[str, str],
) -> Page:
    """The report of ``mfpde run``; ``pictures`` are PNGs by the names of CAPTIONS."""
    shown = [
        Picture(png, CAPTIONS[which].format(width=drawn_width), ALTS[which])
        for which, png in pictures.items()
    ]
    return Page(f"{name}: density and particles", summary, asked, tables, shown, provenance)
