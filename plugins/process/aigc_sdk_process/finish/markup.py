"""Texts of models as HTML that is safe to show: nothing in it runs, loads or leads anywhere unexpected."""

from __future__ import annotations

import html
from importlib import import_module
from typing import Any

from aigc_sdk.artifacts import Text
from aigc_sdk.errors import MissingDependency

from ._checks import one_of
from .text import plain_of

SYNTAXES = ("plain", "markdown", "html")


def safe_html(text: Text | str, syntax: str = "markdown") -> str:
    """A fragment of HTML to put into a page.

    syntax: "plain" escapes everything and keeps the lines; "markdown" renders CommonMark with tables, its own HTML escaped
    (markdown-it-py); "html" keeps harmless elements alone. Links get rel="noopener noreferrer nofollow", and addresses other
    than http, https and mailto are taken out (nh3). Needs pip install "aigc-sdk-process[markup]", but for "plain".
    """
    plain = plain_of(text)
    one_of(syntax, "syntax", SYNTAXES)
    if syntax == "plain":
        return f'<pre style="white-space: pre-wrap">{html.escape(plain)}</pre>'
    if syntax == "markdown":
        parser = _needed("markdown_it", "markdown-it-py").MarkdownIt("commonmark", {"html": False}).enable("table")
        plain = parser.render(plain)
    nh3 = _needed("nh3", "nh3")
    pictures = {"img"}  # they load from addresses that a model has chosen
    return str(
        nh3.clean(
            plain,
            tags=nh3.ALLOWED_TAGS - pictures,
            url_schemes={"http", "https", "mailto"},
            link_rel="noopener noreferrer nofollow",
        )
    )


def _needed(module: str, distribution: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        message = f'safe_html needs {distribution}: pip install "aigc-sdk-process[markup]"'
        raise MissingDependency(message) from error
