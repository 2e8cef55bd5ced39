"""Names that want to be more than names, written behind every check into what the sites keep.

So what is tried is each way out, whatever the ways in take: every column of every table that holds
a name holds a wicked one afterwards, a column that is new tomorrow too. Logs and keys stay as they
are: their bytes are proven.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

BEGINS = ("=", "+", "-", "@", "\t=", "\r=", "\n=", " =", "\uff1d", "|", "%")
REST = (
    '<zq zqattr=1>"><zq zqattr="1">\' zqattr=\'1</script></textarea></title>--><![CDATA[&zq;]]>'
    "{{7*7}}{% zq %}${7*7}%s{0.__class__};=1+1;-zq\t@zq,+zq\r\nset-cookie: zq=1\r\n=zq\n@zq\r\n\r\n"
    "\x00\x07\x1b[31m\x1b]0;zq\x07\x9b2J\u202e\u2066\u2028../..\\%0d%0a//zq javascript:zq"
)
_STAFF = "staff.db"
_PROVEN = frozenset({"log.db", "keys.db"})


def wicked(number: int) -> str:
    """Return a wicked name, another for each number."""
    return f"{BEGINS[number % len(BEGINS)]}zq{number}z{REST}"


def rename(folder: Path, names: Mapping[str, str], *, accounts: Collection[str]) -> set[str]:
    """Write each name's wicked one wherever a store below a folder has it; return where.

    Accounts under which somebody signs in keep their names: the log takes no wicked one.
    """
    tame = {name: new for name, new in names.items() if name not in accounts}
    found = set()
    for path in folder.rglob("*.db"):
        if path.name not in _PROVEN:
            with closing(sqlite3.connect(path)) as store, store:
                found |= {
                    f"{path.name} {where}"
                    for where in _rename(store, tame if path.name == _STAFF else names)
                }
    return found


def _rename(store: sqlite3.Connection, names: Mapping[str, str]) -> set[str]:
    found = set()
    for kind, name, _ in _schema(store):
        if kind == "trigger":  # such as keep a ledger as it is
            store.execute(f'DROP TRIGGER "{name}"')
    for kind, table, _ in _schema(store):
        if kind != "table" or table.startswith("sqlite_"):
            continue
        for column in [row[1] for row in store.execute(f'PRAGMA table_info("{table}")')]:
            held = store.execute(f'SELECT DISTINCT "{column}" FROM "{table}"').fetchall()  # noqa: S608
            for value in (value for (value,) in held if isinstance(value, str)):
                if (new := _renamed(value, names)) != value:
                    change = f'UPDATE "{table}" SET "{column}" = ? WHERE "{column}" = ?'  # noqa: S608
                    store.execute(change, (new, value))
                    found.add(f"{table}.{column}")
    return found


def _schema(store: sqlite3.Connection) -> list[tuple[str, str, str]]:
    return store.execute("SELECT type, name, tbl_name FROM sqlite_master").fetchall()


def _renamed(value: str, names: Mapping[str, str]) -> str:
    if value[:1] not in {"{", "["}:
        return names.get(value, value)
    try:
        said = json.loads(value)
    except ValueError:
        return value
    new = _within(said, names)
    return value if new == said else json.dumps(new)


def _within(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {names.get(name, name): _within(of, names) for name, of in value.items()}
    if isinstance(value, list):
        return [_within(of, names) for of in value]
    return names.get(value, value) if isinstance(value, str) else value
