"""Speed and memory of the built-in demo: `python -m tests.bench.foundation [--json]`.

Runs the demo as a newcomer does, in a process of its own, and prints the rows that have to do
with time, memory and bytes, and every safety row. Figures are for the machine at hand.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

MEASURES = ("seconds", "memory", "round", "bytes", "epsilon", "withdrawal", "verified", "refused")


def measure(arguments: list[str]) -> list[dict[str, Any]]:
    """Run the demo and return the rows that this benchmark is about.

    Raises:
        subprocess.CalledProcessError: The demo failed, or a safety row does not hold.
    """
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.json"
        command = [sys.executable, "-m", "deploy.demo", "--json", str(rows), *arguments]
        subprocess.run(command, check=True, stdout=sys.stderr)  # noqa: S603 (our own program)
        found = json.loads(rows.read_text(encoding="utf-8"))
    return [row for row in found if any(word in row["name"] for word in MEASURES)]


def main() -> None:
    """Print the rows, as JSON or one a line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.foundation")
    parser.add_argument("--json", action="store_true", help="print a JSON list of rows")
    options, rest = parser.parse_known_args()
    rows = measure(rest)
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        held = {None: "", True: "held", False: "MISSED"}[row["held"]]
        print(f"{row['name']:<45} {row['value']!s:>12} {row['unit']:<6} {row['aim']:<12} {held}")


if __name__ == "__main__":
    main()
