"""`make portal`: the portal's two sites over a month of made-up history, on this machine.

    python -m deploy.portal [--folder FOLDER] [--people N] [--uses N] [--until SECOND]

Prints where the sites are and how to sign in, and serves until stopped. Everybody in it is made
up, keys and passwords too; nothing here is fit for use.
"""

from __future__ import annotations

import argparse
import secrets
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from audit.pki import create_authority, issue_server
from audit.portal.settings import PortalSettings
from audit.private_files import create_private
from audit.serve import Listener, serve_all
from audit.signing import SigningKey
from consent.api import create_app
from consent.service import TrustService
from consent.settings import Declared, TrustSettings
from deploy.portal_history import PASSWORD, PEOPLE, History, MovedClock
from policies.vocabulary import Purpose

TRUST_PORT, COORDINATOR_PORT = 8443, 8444


def main() -> None:
    """Play the month, then serve."""
    options = _options()
    with ExitStack() as stack:
        folder = options.folder or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="undertone-portal-"))
        )
        history = make_history(
            folder,
            end=options.until or time.time(),
            people=options.people,
            uses=options.uses,
            other_url=f"https://localhost:{options.port + 1}",
        )
        stack.callback(history.service.close)
        history.play()
        history.clock.follow = time.time
        pki = folder / "pki"
        site = Listener(
            app=create_app(history.service),
            port=options.port,
            certificate=pki / "portal.crt",
            private_key=pki / "portal.key",
        )
        serve_all([site], on_ready=lambda _: _tell(history, options.port))


def make_history(
    folder: Path, *, end: float, people: int, uses: int, other_url: str | None
) -> History:
    """Return a trust service in a folder and the month to be played at it."""
    pki = folder / "pki"
    create_authority(pki)
    issue_server(pki, "portal")
    officer, trust = SigningKey.generate("officer"), SigningKey.generate("trust")
    officer.save(folder / "officer.key")
    trust.save(folder / "trust.key")
    create_private(folder / "admin.token", secrets.token_urlsafe(32).encode())
    settings = TrustSettings(
        folder=folder / "trust",
        signing_key=folder / "trust.key",
        officer_key=str(officer.verify_key),
        admin_token_file=folder / "admin.token",
        declared=Declared(purposes=(Purpose.SERVICE, Purpose.HANDOVER, Purpose.TRAINING)),
        portal=PortalSettings(other_url=other_url),
    )
    clock = MovedClock(now=end - 40 * 86_400)
    service = TrustService(settings, clock=clock)
    return History(service=service, clock=clock, officer=officer, end=end, people=people, uses=uses)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.portal", description=__doc__)
    parser.add_argument("--folder", type=Path, help="keep everything here (an empty folder)")
    parser.add_argument("--people", type=int, default=60)
    parser.add_argument("--uses", type=int, default=600)
    parser.add_argument("--port", type=int, default=TRUST_PORT)
    parser.add_argument("--until", type=float, help="the Unix second at which the month ends")
    return parser.parse_args()


def _tell(history: History, port: int) -> None:
    print(f"trust service   https://localhost:{port}/   (its certificate is made up, too)")
    print("sign in         as one of these, with a code that works once:")
    for name, roles in PEOPLE.items():
        codes = " ".join(history.codes[name][:4])
        print(f"  {name:8} {', '.join(roles):16} {PASSWORD!r:26} {codes}")
    print("stop            Ctrl-C", flush=True)


if __name__ == "__main__":
    main()
