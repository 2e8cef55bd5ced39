"""Claims about Presidio, imported in part: it finds what the whole of it finds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from client_node.redaction import Redactor

TEXTS = (
    "mail me at ada.byron@example.com or ada@inside.localnet please",
    "my phone number is 212-555-0143 and the other is +49 30 901820",
    "credit card 4012 8888 8888 1881, ssn 078-05-1120, social security 536-90-4399",
    "IBAN DE89370400440532013000, server 192.168.0.1, fe80::1",
    "see https://shop.example.com/help?x=1 or 'www.example.org', \"http://a.example.net\"",
    "nothing of that kind: I waited 40 minutes",
    "",
)
WHOLE = """
import json, sys
import spacy, tldextract
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import SpacyNlpEngine
from presidio_analyzer.predefined_recognizers import (
    CreditCardRecognizer, EmailRecognizer, IbanRecognizer, IpRecognizer, PhoneRecognizer,
    UrlRecognizer, UsSsnRecognizer,
)
class Email(EmailRecognizer):
    def validate_result(self, pattern_text):
        return True if extract(pattern_text).suffix else None
extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": "blank"}])
engine.nlp = {"en": spacy.blank("en")}
regions = ("US", "GB", "DE", "FR", "IN")
registry = RecognizerRegistry(recognizers=[
    Email(), PhoneRecognizer(supported_regions=regions), CreditCardRecognizer(), IbanRecognizer(),
    IpRecognizer(), UrlRecognizer(), UsSsnRecognizer(),
])
analyzer = AnalyzerEngine(
    registry=registry, nlp_engine=engine, supported_languages=["en"], default_score_threshold=0.35
)
found = [analyzer.analyze(text, language="en") for text in json.loads(sys.argv[1])]
print(json.dumps([sorted([f.start, f.end, f.entity_type, f.score] for f in t) for t in found]))
"""
MODEL = """
import spacy
nlp = spacy.blank("en")
ruler = nlp.add_pipe("entity_ruler")
ruler.add_patterns([{"label": "PERSON", "pattern": "Zyxwv"}])
nlp.to_disk(folder / "en_core_web_sm" / "data")
"""
LOADS = """
from pathlib import Path
import spacy
def load(**settings):
    return spacy.load(Path(__file__).parent / "data", **settings)
"""
COUNTS = """
import collections, regex
counts, whole = collections.Counter(), regex.compile
def counted(pattern, *given, **named):
    counts[pattern] += 1
    return whole(pattern, *given, **named)
regex.compile = counted
from client_node.presidio import _OfflineEmail, analyzer_of
analyzer_of(model=None)
urls = [counts[pattern] for pattern in counts if "www" in pattern]
print(len(urls), sorted(set(urls)), _OfflineEmail._suffixes._extractor is not None)
"""
READS = """
from client_node.presidio import MODEL, analyzer_of
found = analyzer_of(model=MODEL).analyze("ask for Zyxwv", language="en")
print(MODEL, sorted((f.entity_type, f.start, f.end) for f in found))
"""


def python(script: str, *arguments: str, path: Path | None = None) -> str:
    """Return what a script prints in a process of its own."""
    begin = "" if path is None else f"import sys; sys.path.insert(0, {str(path)!r})\n"
    done = subprocess.run(  # noqa: S603 (our own interpreter)
        [sys.executable, "-c", begin + script, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_presidio_in_part_finds_what_the_whole_of_it_finds() -> None:
    """Without its other recognisers, spaCy and the web, every find and score is the same."""
    whole = json.loads(python(WHOLE, json.dumps(TEXTS)))
    analyzer = Redactor.presidio_alone()._analyzer
    mine = [analyzer.analyze(text, language="en") for text in TEXTS]
    assert [
        sorted([found.start, found.end, found.entity_type, found.score] for found in text)
        for text in mine
    ] == whole
    assert {kind for text in whole for _, _, kind, _ in text} == {
        "CREDIT_CARD",
        "EMAIL_ADDRESS",
        "IBAN_CODE",
        "IP_ADDRESS",
        "PHONE_NUMBER",
        "URL",
        "US_SSN",
    }


def test_presidio_reads_names_by_a_model_that_is_installed(tmp_path: Path) -> None:
    """Where a spaCy model is found, it is loaded from disk and its names are personal data."""
    package, told = tmp_path / "en_core_web_sm", tmp_path / "en_core_web_sm-3.8.0.dist-info"
    package.mkdir()
    told.mkdir()
    (package / "__init__.py").write_text(LOADS)
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: en_core_web_sm\nVersion: 3.8.0\n")
    python(f"from pathlib import Path\nfolder = Path({str(tmp_path)!r})\n{MODEL}")
    printed = python(READS, path=tmp_path)
    assert printed == "en_core_web_sm [('NAME', 8, 13)]\n"


def test_each_pattern_is_compiled_once_and_all_before_the_first_turn() -> None:
    """Nothing is compiled twice, and the first address reads no list of suffixes any more."""
    urls, compiled, suffixes = python(COUNTS).split()
    assert int(urls) == 4
    assert (compiled, suffixes) == ("[1]", "True")
