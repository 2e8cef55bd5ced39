"""A company's own articles, cut into passages and searched on this machine alone.

A folder of Markdown, HTML and text. Passages are embedded at the start, by the encoder without
the adapter: the adapter has made its features about emotion, and a search is about matter. The
passages pass redaction before they are embedded, because what is searched for has passed it too;
what is shown is the article as the company wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from client_node.errors import ArticlesRejected
from client_node.redaction import Redacts
from models.errors import TextRejected
from policies.redacted import RedactedText

KINDS = frozenset({".md", ".markdown", ".html", ".htm", ".txt"})
MOST_FILES, MOST_BYTES, MOST_PASSAGES = 5_000, 1 << 20, 20_000
LONGEST_WORDS = 80
"""Words of a passage: the encoder reads 128 word pieces."""
LEAST_ALIKE = 0.3
"""Cosine below which nothing is offered; set by hand."""
_PARAGRAPH = re.compile(r"\n\s*\n")
_MARKDOWN = re.compile(r"^[#>\s*+-]+|[*_`]+", re.MULTILINE)
_TITLE = re.compile(r"^#+\s*(.+?)\s*#*$", re.MULTILINE)
_UNSEEN = frozenset({"script", "style", "template", "head"})
_BLOCKS = frozenset({"p", "div", "li", "br", "tr", "h1", "h2", "h3", "h4", "section", "article"})


class Encodes(Protocol):
    """What embeds redacted text: rows `(text, 385)` of norm one."""

    def encode(self, texts: Sequence[RedactedText]) -> NDArray[Any]:
        """Return the embeddings."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A piece of one article, named by its path in the folder."""

    article: str
    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A passage and how alike it is, a cosine in [-1, 1]."""

    passage: Passage
    alike: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Articles:
    """The passages with their embeddings `(passage, 384)`; safe to share between threads."""

    passages: tuple[Passage, ...]
    _embeddings: NDArray[np.float32]
    _encoder: Encodes

    @classmethod
    def build(
        cls,
        folder: Path,
        encoder: Encodes,
        redactor: Redacts,
        *,
        progress: Callable[[int, int], None] = lambda *_: None,
    ) -> Articles:
        """Read and embed a folder; `progress` hears how many passages of how many are done.

        Raises:
            ArticlesRejected: The folder or a file cannot be read, or is too large.
            RedactionUnavailable: A passage cannot be redacted.
        """
        passages = read_passages(folder)
        kept, rows = [], []
        for number, passage in enumerate(passages, 1):
            try:
                rows.append(_embedding(encoder, redactor.redact(_whole(passage)).text))
                kept.append(passage)
            except TextRejected:  # nothing to search by, such as a row of dashes
                pass
            progress(number, len(passages))
        if not rows:
            raise ArticlesRejected(f"articles {folder}: no passage in Markdown, HTML or text")
        return cls(passages=tuple(kept), _embeddings=np.stack(rows), _encoder=encoder)

    def find(self, text: RedactedText, *, most: int = 3) -> tuple[Found, ...]:
        """Return the passages most alike, best first, one of each article; none if none is."""
        try:
            alike = self._embeddings @ _embedding(self._encoder, text)
        except TextRejected:
            return ()
        found: dict[str, Found] = {}
        for place in np.argsort(-alike, kind="stable"):
            if alike[place] < LEAST_ALIKE or len(found) == most:
                break
            passage = self.passages[place]
            found.setdefault(passage.article, Found(passage=passage, alike=float(alike[place])))
        return tuple(found.values())


def read_passages(folder: Path) -> list[Passage]:
    """Return the passages of every article, in the order of their paths.

    Raises:
        ArticlesRejected: The folder or a file cannot be read, lies elsewhere, or is too large.
    """
    if not folder.is_dir():
        raise ArticlesRejected(f"articles {folder}: no such folder: make it, or leave it unset")
    root = folder.resolve()
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in KINDS)
    passages: list[Passage] = []
    for path in paths[: MOST_FILES + 1]:
        if not path.resolve().is_relative_to(root):
            raise ArticlesRejected(f"article {path.name}: lies outside the folder: copy it there")
        passages += _passages_of(path.relative_to(folder).as_posix(), _text_of(path))
    if len(paths) > MOST_FILES or len(passages) > MOST_PASSAGES:
        raise ArticlesRejected(
            f"articles {folder}: at most {MOST_FILES} files and {MOST_PASSAGES} passages"
        )
    return passages


def _text_of(path: Path) -> str:
    try:
        data = path.read_bytes()
        if len(data) > MOST_BYTES:
            raise ArticlesRejected(f"article {path.name}: over {MOST_BYTES} bytes: split it")
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ArticlesRejected(
            f"article {path.name}: cannot be read as UTF-8 ({type(error).__name__})"
        ) from error
    return _plain(text) if path.suffix.lower() in {".html", ".htm"} else text


def _passages_of(article: str, text: str) -> Iterator[Passage]:
    titled = _TITLE.search(text)
    title = titled[1] if titled else Path(article).stem.replace("-", " ").replace("_", " ")
    for words in _runs(_PARAGRAPH.split(_TITLE.sub("\n", text))):
        yield Passage(article=article, title=title, text=" ".join(words))


def _runs(paragraphs: Iterable[str]) -> Iterator[list[str]]:
    """Yield runs of whole paragraphs of at most `LONGEST_WORDS`; longer ones are cut."""
    run: list[str] = []
    for paragraph in paragraphs:
        words = _MARKDOWN.sub("", paragraph).split()
        if run and len(run) + len(words) > LONGEST_WORDS:
            yield run
            run = []
        run = run + words
        while len(run) > LONGEST_WORDS:
            yield run[:LONGEST_WORDS]
            run = run[LONGEST_WORDS:]
    if run:
        yield run


def _whole(passage: Passage) -> str:
    return f"{passage.title}. {passage.text}"


def _embedding(encoder: Encodes, text: RedactedText) -> NDArray[np.float32]:
    """Return the embedding `(384,)` of norm one: the features without their constant."""
    row = np.asarray(encoder.encode([text])[0, :-1], np.float32)
    return row / np.float32(np.linalg.norm(row))


class _Visible(HTMLParser):
    """Collects what a reader of the page sees; a block begins a paragraph."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self._unseen += tag in _UNSEEN
        self.parts.append("\n\n# " if tag == "h1" else "\n\n" if tag in _BLOCKS else " ")

    def handle_endtag(self, tag: str) -> None:
        self._unseen = max(0, self._unseen - (tag in _UNSEEN))
        self.parts.append("\n\n" if tag in _BLOCKS else " ")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(" ".join(data.split()) + " ")


def _plain(page: str) -> str:
    parser = _Visible()
    parser.feed(page)
    parser.close()
    return "".join(parser.parts)
