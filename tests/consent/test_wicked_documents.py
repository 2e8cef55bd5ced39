"""What people wrote into a document is its text, in every form of every document.

Each text of a document as the live system makes it, and each name of a field that is not ours, is
made wicked in turn, whoever wrote it; then each form is read again by a reader of others' making.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from markdown_it import MarkdownIt
from starlette.testclient import TestClient

from audit.log import EvidenceLog
from audit.visible import visible
from consent import document_pdf
from consent.document_api import Form
from consent.documents import DOCUMENTS, Name
from consent.paper import STYLE
from tests.browser import chromium
from tests.consent.conftest import World
from tests.consent.test_documents import (
    CARD,
    centre,
    desk,
    governed,
    make_governed,
    published,
    tell,
)
from tests.journeys.markup import read

__all__ = ["centre", "governed", "make_governed"]

rdflib = pytest.importorskip("rdflib", reason="the dev extra brings rdflib")
pypdf = pytest.importorskip("pypdf", reason="the dev extra brings pypdf")

WICKED = (
    "<script>zq</script><zq zqattr=1>\"><zq zqattr='1'> zq</title></script></td></textarea>",
    "--><!--zq ]]><![CDATA[zq <!ENTITY zq SYSTEM 'file:///etc/passwd'> &zq; &lt;zq&#x3e;",
    "zq {{7*7}} {% zq %} ${7*7} #{7*7} <%= 7*7 %> %s {0.__class__}",
    "[zq](javascript:zq) ![zq](http://zq) <http://zq> `zq` **zq** | zq | ~~zq~~",
    "# zq",
    "1. zq",
    "- zq\n\n# zq\n\n---\n\n```\nzq",
    "===\r\nzq\n===",
    "zq) Tj ET Q endstream endobj 1 0 obj << /OpenAction << /S /JavaScript /JS (zq) >> >> (",
    "@id",
    "@context",
    "http://zq/@type",
    "_:zq",
    "zq\x00\x07\x1b[31m\x1b]0;zq\x07\x9b2J\x7f",
    "\u202ezq\u2066\u2028\u2029",
    "=cmd|' /c zq'!A0",
    "../../zq\\..\\zq%2e%2e%2f",
    "zq\r\nset-cookie: zq=1\r\n\r\n<zq>",
    "zq" * 300,
)
HTML_OF_OURS = {
    "html",
    "head",
    "meta",
    "title",
    "body",
    "main",
    "h1",
    "h2",
    "p",
    "code",
    "section",
} | {
    "wbr",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "ul",
    "li",
    "@lang",
    "@charset",
    "@scope",
    "link",
    "@rel",
    "@href",
}
MARKDOWN_OF_OURS = {
    "heading",
    "paragraph",
    "bullet_list",
    "list_item",
    "inline",
    "text",
    "softbreak",
}
HOST = "https://portal.example"
A4 = "210mm"
DOES = {"/JavaScript", "/JS", "/OpenAction", "/AA", "/Launch", "/SubmitForm", "/GoToR", "/URI"} | {
    "/EmbeddedFiles",
    "/AcroForm",
    "/XFA",
    "/RichMedia",
    "/A",
}
"""What an object of a PDF has that does something when it is opened or touched (ISO 32000)."""

TAG = "/StructElem"
"""An element of the tagged text, whose `/A` are attributes and no action."""


Turn = Iterator[tuple[int, str]]


def wicked(value: Any, turn: Turn, *, ours: bool = True) -> Any:
    """Return JSON values in which each text, and each name but those of sections, is wicked.

    Each text is another one, so that none stands in for one that was lost.
    """
    if isinstance(value, Mapping):
        made: dict[str, Any] = {}
        for name, of in value.items():
            bad = name if ours else next(turn)[1]
            made[bad if bad not in made else f"{bad}{len(made)}"] = wicked(of, turn, ours=False)
        return made
    if isinstance(value, list | tuple):
        return [wicked(of, turn, ours=False) for of in value]
    return "{1} {0}z".format(*next(turn)) if isinstance(value, str) else value


def texts(value: Any, *, names: bool) -> Iterator[str]:
    """Yield every text of a document, and every name of a field where they are wanted."""
    if isinstance(value, Mapping):
        yield from value if names else ()
        value = list(value.values())
    if isinstance(value, list):
        for of in value:
            yield from texts(of, names=names)
    elif isinstance(value, str):
        yield value


def shown(text: str) -> str:
    """Return a text as a person reads it: visibly, and white space as one space."""
    return " ".join(visible(text.replace("_", " ")).split())


@dataclass(kw_only=True)  # without slots: Playwright notes its handler on the object
class Wicked:
    """A document made wicked, and the site that exports it."""

    name: Name
    stamp: dict[str, Any]
    visitor: TestClient
    asked: list[str] = field(default_factory=list)

    def answer(self, route: Any) -> None:
        """Answer a browser that shows it."""
        path = route.request.url.removeprefix(HOST)
        self.asked.append(path)
        style = self.visitor.get(STYLE).text if path == STYLE else ""
        kind = "text/css" if path == STYLE else "text/html; charset=utf-8"
        route.fulfill(body=style or self.export(Form.HTML), content_type=kind)

    def export(self, form: Form) -> str:
        """Return it in a form, through the service; bytes as the letters of their numbers."""
        answer = self.visitor.get(f"/v1/desk/documents/{self.name}?format={form}")
        assert answer.status_code == 200, answer.text
        return answer.content.decode("latin-1") if form is Form.PDF else answer.text


@pytest.fixture
def documents(
    governed: World, centre: EvidenceLog, monkeypatch: pytest.MonkeyPatch
) -> list[Wicked]:
    """Return every document, made wicked."""
    assert tell(governed, published(centre, CARD)).status_code == 201
    made = {name: _made(governed.service.documents.read(name)) for name in Name}
    monkeypatch.setattr(governed.service.documents, "read", lambda name: made[name])
    return [Wicked(name=name, stamp=made[name], visitor=desk(governed)) for name in Name]


def _made(stamp: dict[str, Any]) -> dict[str, Any]:
    by = {"by": WICKED[0], "at": 1.0, "digest": stamp["digest"], "holds": True}
    made = {
        "document": wicked(stamp["document"], enumerate(cycle(WICKED))),
        "missing": list(WICKED),
        "approval": stamp["approval"] | {"approvals": [by], "waits_for": list(WICKED)},
    }
    assert len(list(texts(made["document"], names=False))) > len(WICKED)
    return stamp | made


@pytest.fixture
def one_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a PDF set on one long sheet, so that no cell is read in two pieces."""
    template = document_pdf._TEMPLATE.read_text()
    assert 'paper: "a4"' in template
    long = tmp_path / "paper.typ"
    long.write_text(template.replace('paper: "a4"', "width: 210mm, height: 5000mm"))
    monkeypatch.setattr(document_pdf, "_TEMPLATE", long)


@pytest.mark.usefixtures("one_sheet")
@pytest.mark.filterwarnings("ignore:ConjunctiveGraph:DeprecationWarning")  # rdflib's own
def test_every_form_of_every_document_is_read_again(documents: list[Wicked]) -> None:
    """A new form is seen here, and needs a reader of its own."""
    readers = {
        Form.JSON: _as_json,
        Form.JSON_LD: _as_linked_data,
        Form.MARKDOWN: _as_markdown,
        Form.HTML: _as_page,
        Form.PDF: _as_typeset,
    }
    for document in documents:
        for form in Form:
            readers[form](document.name, document.stamp, document.export(form))


def test_every_document_is_kept_as_pdf(documents: list[Wicked]) -> None:
    """A browser runs nothing of the page, and its PDF has all of the words and does nothing."""
    with chromium() as browser:
        page = browser.new_page()
        ran: list[object] = []
        page.on("dialog", lambda said: ran.append(said.message))
        for document in documents:
            page.route("**/*", document.answer)
            page.goto(f"{HOST}/")
            assert page.locator("zq, script, [zqattr], [style], [onload]").count() == 0
            _holds(page.locator("body").inner_text(), document.stamp)
            printed = page.pdf(tagged=False, width=A4, height="190in")  # no cell on two sheets
            _pdf_holds(printed, document.stamp)
        assert ran == []
        assert {path for one in documents for path in one.asked} == {"/", STYLE}


def _as_typeset(_: Name, stamp: dict[str, Any], body: str) -> None:
    """Tagged, and with all of the words; it does nothing."""
    opened = _pdf_holds(body.encode("latin-1"), stamp)
    assert "/StructTreeRoot" in opened.trailer["/Root"]


def _pdf_holds(printed: bytes, stamp: dict[str, Any]) -> Any:
    opened = pypdf.PdfReader(io.BytesIO(printed))
    objects = [opened.get_object(n) for n in range(1, opened.trailer["/Size"])]
    parts = [one for one in objects if isinstance(one, dict) and one.get("/Type") != TAG]
    assert not DOES & {name for part in parts for name in part}
    words = normalize("NFKC", "".join(sheet.extract_text() for sheet in opened.pages))
    _holds(words, stamp, spaced=False)  # a printed ligature is two letters
    return opened


def _as_json(_: Name, stamp: dict[str, Any], body: str) -> None:
    assert json.loads(body) == json.loads(json.dumps(stamp))


def _as_linked_data(name: Name, stamp: dict[str, Any], body: str) -> None:
    """Every text is a literal; no name of a field is anybody's but ours, and no type or node."""
    graph = rdflib.Graph().parse(data=body, format="json-ld")
    literals = {str(each) for each in graph.objects() if isinstance(each, rdflib.Literal)}
    assert set(texts(stamp["document"], names=False)) <= literals
    (root,) = {each for each in graph.subjects() if isinstance(each, rdflib.URIRef)}
    assert str(root) == f"urn:sha256:{stamp['digest']}"
    term = DOCUMENTS[name].term
    types = {str(each) for each in graph.objects(None, rdflib.RDF.type)}
    assert types == (set() if term is None else {term.replace("dpv:", "https://w3id.org/dpv#")})
    ours = ("urn:undertone:documents#", "http://purl.org/dc/terms/", str(rdflib.RDF.type))
    assert all(str(each).startswith(ours) for each in graph.predicates())
    nodes = {each for each in graph.objects() if isinstance(each, rdflib.URIRef)}
    assert {str(each) for each in nodes} == types


def _as_markdown(name: Name, stamp: dict[str, Any], body: str) -> None:
    """As many headings as sections, and nothing else than lists of plain text."""
    assert visible(body) == body
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(body)
    kinds = {token.type.removesuffix("_open").removesuffix("_close") for token in tokens}
    assert kinds <= MARKDOWN_OF_OURS
    inside = [each for token in tokens for each in token.children or ()]
    assert [each.content for each in inside if each.type == "code_inline"] == [stamp["digest"]]
    assert {each.type for each in inside} - {"code_inline"} <= MARKDOWN_OF_OURS
    headings = [after.content for at, after in pairwise(tokens) if at.type == "heading_open"]
    assert len(headings) == 1 + len(stamp["document"]) + len(("missing", "approval"))
    read = " ".join("".join(each.content for each in token.children or ()) for token in tokens)
    _holds(read, stamp)
    assert DOCUMENTS[name].title in read


def _as_page(_: Name, stamp: dict[str, Any], body: str) -> None:
    """No element and no attribute but ours."""
    assert visible(body) == body
    page = read(f"/{stamp['digest']}", body)
    assert page.names <= HTML_OF_OURS
    _holds(page.text, stamp)


def _holds(whole: str, stamp: dict[str, Any], *, spaced: bool = True) -> None:
    """Everything that the document says stands in what was read of it; breaks may add space."""
    between = " " if spaced else ""
    plain = between.join(whole.replace("_", " ").split())
    found = [shown(text) for text in texts(list(stamp["document"].values()), names=True)]
    assert [text for text in found if between.join(text.split()) not in plain] == []
