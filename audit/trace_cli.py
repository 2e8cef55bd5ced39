"""The `trace` command of each service: from a decision to all it rests on, over a log's file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from audit.archive import Archive
from audit.copied_log import copied_log
from audit.keys import VerifyKey
from audit.terminal import emit, progress_bar, say
from audit.trace import Foreign, Link, Proofs, link_to_dict, trace
from audit.verify import verify_log


def print_trace(
    log: Path,
    key: VerifyKey,
    decision: str,
    *,
    published: Callable[[str], Foreign | None] = lambda _: None,
    archive: Path | None = None,
    as_json: bool,
) -> None:
    """Verify a log, then print a decision's chain: a line a link, or all of it as JSON.

    Raises:
        LogTampered: The log does not hold; nothing is traced.
        EvidenceUnavailable: The file cannot be read.
        EntryMissing: There is no such decision.
    """
    sealed = None if archive is None else Archive(archive, key)
    with progress_bar("entries") as progress:
        verified = verify_log(log, key, progress=progress, archive=sealed)
    with copied_log(log, verified.keys, archive=sealed) as copy:
        links = trace(copy.leaves(), decision, Proofs(copy.origin, copy.receipt, published))
    if as_json:
        emit([link_to_dict(link) for link in links], as_json=True)
        return
    say(*map(_line, links))


def _line(link: Link) -> str:
    """Return one link for people: what, by which digest, shown where or why not."""
    parts: list[Any] = [f"{link.what:<12} {link.name}"]
    if link.by is not None:
        parts.append(f"approved by {link.by}")
    if link.digest is not None:
        parts.append(link.digest)
    where = f"entry {link.index} of {link.origin}"
    parts.append(where if link.not_kept is None else f"not kept because {link.not_kept}")
    if link.trace is not None:
        parts.append(f"trace {link.trace}")
    return "; ".join(parts)
