"""The built site holds together: its links lead somewhere, it loads nothing from elsewhere, and it has every page.

`make docs` builds it first; `make docs-test` does both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import aigc_sdk
import aigc_sdk.training

ROOT = Path(__file__).parents[1]
SITE = ROOT / "build" / "site"
VOID = "404.html"  # is shown in place of a page that is missing, so it has addresses from the root of a server
LOADING = {"link", "script", "img", "audio", "video", "source", "iframe"}

pytestmark = pytest.mark.docs


@dataclass
class Page(HTMLParser):
    """What a page links to, what it loads, and where one can link to in it."""

    name: str
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        address = found.get("href", found.get("src", ""))
        if address and not address.startswith("data:"):
            (self.loads if tag in LOADING else self.links).append(address)


@cache
def pages() -> dict[Path, Page]:
    """Every page of the site by its file."""
    assert SITE.is_dir(), "there is no build/site; run `make docs` first"
    found = {}
    for path in sorted(SITE.rglob("*.html")):
        page = Page(path.relative_to(SITE).as_posix())
        page.feed(path.read_text(encoding="utf-8"))
        found[path] = page
    return found


def test_every_link_of_the_site_leads_to_a_page_and_its_anchor() -> None:
    broken = [f"{page.name}: {address}" for path, page in pages().items() for address in missing(path, page)]
    assert len(pages()) > 50
    assert not broken


def missing(path: Path, page: Page) -> Iterator[str]:
    for address in {*page.links, *page.loads}:
        parts = urlsplit(address)
        if parts.scheme or parts.netloc or page.name == VOID:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if target.is_dir():
            target /= "index.html"
        anchor = unquote(parts.fragment)
        if not target.is_file() or (anchor and target in pages() and anchor not in pages()[target].anchors):
            yield address


def test_the_site_loads_nothing_from_elsewhere() -> None:
    loaded = [
        f"{page.name}: {address}" for page in pages().values() for address in page.loads if urlsplit(address).netloc
    ]
    for sheet in SITE.rglob("*.css"):
        addresses = re.findall(r"url\([\"']?((?:https?:)?//[^)\"']+)|@import [\"']([^\"']+)", sheet.read_text("utf-8"))
        loaded += [f"{sheet.name}: {address}" for address in addresses]
    assert not loaded


def test_every_page_of_the_documentation_is_in_the_navigation() -> None:
    listed = set(re.findall(r"(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M))
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert not written - listed
    assert not {name for name in listed if SITE / html(name) not in pages()}


def html(page: str) -> str:
    return re.sub(r"(^|/)README$", r"\1index", page.removesuffix(".md")) + ".html"


@pytest.mark.parametrize("package", [aigc_sdk, aigc_sdk.training], ids=lambda package: package.__name__)
def test_every_exported_name_is_in_the_reference(package: object) -> None:
    name, exported = package.__name__, set(package.__all__)  # type: ignore[attr-defined]
    described = {anchor.removeprefix(f"{name}.") for anchor in pages()[SITE / "api" / f"{name}.html"].anchors}
    assert not exported - described - {"errors"}


def test_no_place_for_a_figure_was_left_empty() -> None:
    assert not [path.name for path in pages() if "<!-- site:" in path.read_text(encoding="utf-8")]
    assert not [path.name for path in pages() if "{media}" in path.read_text(encoding="utf-8")]
