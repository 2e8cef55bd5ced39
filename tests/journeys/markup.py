"""What a test reads of a page: its links, its forms, what it says is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = frozenset({"input", "br", "img", "link", "meta", "hr", "source", "wbr", "col"})

_SAYS = frozenset({"alert", "status", "note"})


@dataclass(slots=True, kw_only=True)
class Form:
    """A form as it stands on a page: where it goes, and what it would send untouched."""

    page: str
    action: str
    method: str
    fields: list[tuple[str, str]] = field(default_factory=list)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of its fields, each once."""
        return tuple(dict.fromkeys(name for name, _ in self.fields))


@dataclass(slots=True)
class Markup(HTMLParser):
    """One page, read once."""

    path: str
    links: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    forms: list[Form] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    """Of every element, and of every attribute as `@name`."""
    text: str = ""
    """All that is written on it."""
    _open: list[tuple[str, bool]] = field(default_factory=list)
    _select: str = ""
    _says_itself: bool = False

    def __post_init__(self) -> None:
        HTMLParser.__init__(self)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an element in."""
        said = {name: value or "" for name, value in attrs}
        self.names |= {tag, *(f"@{name}" for name in said)}
        if "href" in said:
            (self.links if tag == "a" else self.sources).append(said["href"])
        if "src" in said:
            self.sources.append(said["src"])
        if tag == "form":
            action, method = said.get("action") or self.path, said.get("method", "get").lower()
            self.forms.append(Form(page=self.path, action=action, method=method))
        self._field(tag, said)
        begins = said.get("role") in _SAYS
        if begins:
            self.alerts.append("")
        if tag not in _VOID:
            self._open.append((tag, begins or bool(self._open and self._open[-1][1])))

    def _field(self, tag: str, said: dict[str, str]) -> None:
        if tag == "select":
            self._select = said.get("name", "")
        if not self.forms:
            return
        fields = self.forms[-1].fields
        if tag == "option" and self._select:
            self._says_itself = "value" not in said
            fields.append((self._select, said.get("value", "")))
        elif tag in {"input", "textarea", "button"} and "name" in said:
            fields.append((said["name"], said.get("value", "")))

    def handle_endtag(self, tag: str) -> None:
        """Leave an element."""
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        """Keep what is written: what an alert says, the value of an option that has no other."""
        self.text += data
        if self._says_itself and self.forms:
            name, value = self.forms[-1].fields.pop()
            self.forms[-1].fields.append((name, value + data))
            self._says_itself = False
        if self.alerts and self._open and self._open[-1][1] and self._open[-1][0] != "a":
            self.alerts[-1] += data


def read(path: str, body: str) -> Markup:
    """Return a page that was read."""
    found = Markup(path)
    found.feed(body)
    found.close()
    return found
