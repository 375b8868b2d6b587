"""HTML as posts and feeds have it -> the words a reader would see."""

import re
from html.parser import HTMLParser

from collectors.item import clean_text

MAX_HTML = 200_000  # characters of one text that are read
_LINES = dict.fromkeys(("div", "li", "tr"), "\n")
_BREAKS = _LINES | dict.fromkeys(("p", "blockquote", "ul", "ol", "pre", "h1", "h2", "h3", "h4", "h5", "h6"), "\n\n")
_UNSEEN = ("script", "style", "template")


def plain_text(html: str) -> str:
    """Clean text with a line break for each <br> and a blank line between paragraphs."""
    reader = _Reader()
    # Declarations such as <![x[ end the parser (AssertionError). A space, so that none comes about by taking one out.
    reader.feed(re.sub(r"<!(?!--)[^>]*>?", " ", html[:MAX_HTML]))
    reader.close()
    lines = clean_text("".join(reader.parts))
    return re.sub(r"\n{3,}", "\n\n", lines)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "br":
            self.parts.append("\n")
        self._unseen += tag in _UNSEEN

    def handle_endtag(self, tag: str) -> None:
        self.parts.append(_BREAKS.get(tag, ""))
        self._unseen = max(0, self._unseen - (tag in _UNSEEN))

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(re.sub(r"\s+", " ", data))  # a line break in the source is none on the screen
