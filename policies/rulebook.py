"""The rules as shipped: Cedar policies, their schema, and one digest over every byte of them.

Reads package data and nothing else; `policies.engine` gives the text its meaning.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources

from policies.canonical import digest, digest_bytes
from policies.catalogue import CATALOGUE_FILE
from policies.errors import PolicyInvalid
from policies.law import LAW_FILE, Clocks, parse_law, tightest
from policies.vocabulary import Digest

SCHEMA_NAME = "schema.cedarschema"
CLOCKS_SUFFIX = ".clocks.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleBook:
    """Every file that takes part in a decision or its explanation, by name."""

    files: Mapping[str, str]

    @classmethod
    def shipped(cls) -> RuleBook:
        """Read the rules that come with this version.

        Raises:
            PolicyInvalid: The installation lacks a file.
        """
        folder = resources.files("policies").joinpath("rules")
        try:
            files = {
                entry.name: entry.read_text("utf-8")
                for entry in folder.iterdir()
                if entry.name.endswith((".cedar", ".cedarschema"))
            }
            files["catalogue.toml"] = CATALOGUE_FILE.read_text("utf-8")
            files["words.toml"] = folder.joinpath("words.toml").read_text("utf-8")
            files["law.toml"] = LAW_FILE.read_text("utf-8")
        except OSError as error:
            raise PolicyInvalid("the shipped rules cannot be read: install again") from error
        return cls(files=files)

    def tightened(self, name: str, text: str) -> RuleBook:
        """Return this book and one more file of rules.

        Cedar lets no permission override a prohibition, so more rules never open what an
        absolute rule closes.

        Raises:
            PolicyInvalid: The name is taken, or is not that of a Cedar file.
        """
        if name in self.files or not name.endswith(".cedar"):
            raise PolicyInvalid(f"{name}: expected a new name that ends in .cedar")
        return replace(self, files={**self.files, name: text})

    def with_clocks(self, name: str, clocks: Mapping[str, int]) -> RuleBook:
        """Return this book with a jurisdiction's clocks, which its digest then covers.

        Raises:
            PolicyInvalid: The name is taken.
        """
        file = f"{name}{CLOCKS_SUFFIX}"
        if file in self.files:
            raise PolicyInvalid(f"{file}: the clocks of {name} are in the book already")
        text = "".join(f"{clock} = {value}\n" for clock, value in sorted(clocks.items()))
        return replace(self, files={**self.files, file: text})

    @property
    def clocks(self) -> Clocks:
        """The law's clocks, each replaced by the tightest that a jurisdiction sets.

        Raises:
            PolicyInvalid: A clock is none of the law, or would loosen it.
        """
        set_here = [
            tomllib.loads(text)
            for name, text in sorted(self.files.items())
            if name.endswith(CLOCKS_SUFFIX)
        ]
        return tightest(parse_law(self.files["law.toml"]).clocks, set_here)

    @property
    def policies(self) -> str:
        """All Cedar policies as one text, files in order of name."""
        return "\n".join(
            text for name, text in sorted(self.files.items()) if name.endswith(".cedar")
        )

    @property
    def schema(self) -> str:
        """The Cedar schema.

        Raises:
            PolicyInvalid: The book has none.
        """
        try:
            return self.files[SCHEMA_NAME]
        except KeyError as error:
            raise PolicyInvalid(f"the rules lack {SCHEMA_NAME}") from error

    @property
    def digest(self) -> Digest:
        """SHA-256 over the names and digests of all files, line ends as they are."""
        return digest({name: digest_bytes(t.encode()) for name, t in self.files.items()})
