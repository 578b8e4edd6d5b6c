"""Brings the documentation together in build/pages, and makes a site of it in build/site: `make docs`.

    python docs/media.py    the pictures, sounds and curves, from real runs; takes about a minute
    python docs/pages.py     the pages around them; takes seconds

The pages are plain Markdown that reads well without a site. Where the site has more to show, a comment says so, and the
paragraph below it is what stands there otherwise:

    <!-- site: WHAT NAME -->    WHAT is one of INSERTS: a figure, a README, a model card, a table of options
    Whatever a reader sees who reads the file itself.

Links may lead anywhere in the repository: what they lead to becomes a page of the site as well.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import reference
import tables

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MEDIA = ROOT / "build" / "media"
PAGES = ROOT / "build" / "pages"
NAMES = {  # what lies elsewhere in the repository, and the page of the site that it is
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "README.md",
    "README.zh-CN.md": "start.zh-CN.md",
    "SECURITY.md": "security.md",
    "examples/README.md": "examples.md",
}
INSERT = re.compile(r"^<!-- site: (\w+) (.+?) -->\n(?:.+\n)+", re.M)
FENCED = re.compile(r"(^ *```.*?^ *```$)", re.M | re.S)
FILE = re.compile(r"^<!-- file: *(\S+) *-->\n```(\w*)$", re.M)
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")
LANGUAGES = {".py": "python", ".sh": "bash", ".toml": "toml", ".json": "json", ".yml": "yaml"}


def main() -> None:
    """Write every page, then the site; a warning of the generator ends it with an error."""
    if not MEDIA.is_dir():
        sys.exit("build/media is not there; run `python docs/media.py` first")
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(MEDIA, PAGES / "media", ignore=shutil.ignore_patterns("*.html"))
    shutil.copytree(DOCS / "assets", PAGES / "assets")
    site = Site()
    for page in sorted(DOCS.rglob("*.md")):
        site.bring(page)
    for name in NAMES:
        if (ROOT / name).exists():
            site.bring(ROOT / name)
    for name, text in reference.pages().items():
        write(PAGES / name, text)
    site.bring_what_is_linked()
    zensical = Path(sys.executable).with_name("zensical")
    sys.exit(subprocess.run([zensical, "build", "--clean", "--strict"], cwd=ROOT, check=False).returncode)


class Site:
    """The pages that were written, and those that something links to and nobody has written yet."""

    def __init__(self) -> None:
        self.done: set[Path] = set()
        self.linked: set[Path] = set()

    def bring(self, source: Path) -> None:
        """Write the page of one file of the repository, unless another one stands for it."""
        page = place(source)
        if page not in self.done:
            self.done.add(page)
            write(PAGES / page, self.page(source, page))

    def bring_what_is_linked(self) -> None:
        """Write pages for everything that a page links to; these may link further."""
        while waiting := {each for each in self.linked if place(each) not in self.done}:
            for each in sorted(waiting):
                self.bring(each)

    def page(self, source: Path, page: Path) -> str:
        """A file as a page: Markdown as it is, anything else as a listing."""
        if source.is_dir():
            names = sorted(f"{each.name}/" if each.is_dir() else each.name for each in source.iterdir())
            return f"# {named(source)}\n\n" + "".join(
                f"- `{each}`\n" for each in names if not each.startswith(("_", "."))
            )
        text = source.read_text(encoding="utf-8")
        if source.suffix == ".ipynb":
            return notebook(text)
        if source.suffix != ".md":
            return f"# {named(source)}\n\n````{LANGUAGES.get(source.suffix, 'text')}\n{text.rstrip()}\n````\n"
        return titled(self.filled(self.relinked(text, source, page), page))

    def filled(self, text: str, page: Path) -> str:
        """The page with what the site has to show in its places."""

        def insert(match: re.Match[str]) -> str:
            return INSERTS[match[1]](self, match[2], page).strip() + "\n"

        return INSERT.sub(insert, text)

    def relinked(self, text: str, source: Path, page: Path) -> str:
        """The page with links to pages of the site; listings stay as they are."""

        def relink(match: re.Match[str]) -> str:
            target = (source.parent / match[1]).resolve()
            assert target.exists(), f"{named(source)} links to {match[1]}, which is not there"
            if not target.is_relative_to(DOCS / "assets"):
                self.linked.add(target)
            return os.path.relpath(place(target), page.parent) + (match[2] or "")

        parts = FENCED.split(text)
        return "".join(part if index % 2 else LINK.sub(relink, part) for index, part in enumerate(parts))

    def readme(self, plugin: str, page: Path) -> str:
        """What a plugin's README says, without its title."""
        source = ROOT / "plugins" / plugin / "README.md"
        return self.relinked(source.read_text(encoding="utf-8"), source, page).partition("\n")[2]

    def card(self, plugin: str, page: Path) -> str:
        """The card of a plugin's default model, below the section that it stands in."""
        [source] = (ROOT / "plugins" / plugin).glob("*/MODEL_CARD.md")
        return re.sub("^#", "###", self.relinked(source.read_text(encoding="utf-8"), source, page), flags=re.M)

    def options(self, names: str, page: Path) -> str:
        """The tables of one or several backends."""
        several = " " in names
        return "\n".join(
            line for name in names.split() for line in ([f"\n### {name}"] if several else []) + [*tables.section(name)]
        )

    def api(self, package: str, page: Path) -> str:
        """The way to a plugin's page of the API reference."""
        return f"Public classes and functions: [the API]({os.path.relpath(f'api/{package}.md', page.parent)})."

    def figure(self, name: str, page: Path) -> str:
        """A figure that docs/media.py made, with the code that made it."""
        text = (MEDIA / f"{name}.html").read_text(encoding="utf-8")
        return text.replace("{media}", os.path.relpath("media", page.parent))

    def picture(self, name: str, page: Path) -> str:
        """The same without the code."""
        return self.figure(name, page).partition("\n\n")[0]


INSERTS: dict[str, Callable[[Site, str, Path], str]] = {
    "readme": Site.readme,
    "card": Site.card,
    "options": Site.options,
    "figure": Site.figure,
    "picture": Site.picture,
    "api": Site.api,
}


def place(source: Path) -> Path:
    """Where the page of a file of the repository stands in the site."""
    name = named(source)
    readme = source / "README.md"
    if source.is_dir() and readme.exists():
        return place(readme)
    if source.is_relative_to(DOCS):
        return source.relative_to(DOCS)
    if name in NAMES:
        return Path(NAMES[name])
    plugin = re.fullmatch(r"plugins/([a-z0-9]+)/(README|aigc_sdk_\w+/MODEL_CARD)\.md", name)
    if plugin and (DOCS / "backends" / f"{plugin[1]}.md").exists():
        return Path("backends") / f"{plugin[1]}.md"
    return Path("repository") / (name if source.suffix == ".md" else f"{name}.md")


def named(source: Path) -> str:
    return source.relative_to(ROOT).as_posix()


def notebook(text: str) -> str:
    """The cells of a notebook, one below the other."""
    parts = []
    for cell in json.loads(text)["cells"]:
        content = "".join(cell["source"]).strip()
        parts.append(content if cell["cell_type"] == "markdown" else f"````python\n{content}\n````")
    return "\n\n".join(parts) + "\n"


def titled(text: str) -> str:
    """Listings that are files bear their names."""
    return FILE.sub(r'```\2 title="\1"', text)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
