"""`make portal`: the portal's two sites over a month of made-up history, on this machine.

    python -m deploy.portal [--folder FOLDER] [--people N] [--uses N] [--until SECOND]

Prints where the sites are and how to sign in, and serves until stopped. Everybody in it is made
up, keys and passwords too; nothing here is fit for use.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from audit.pki import create_authority, issue_server
from audit.portal.settings import PortalSettings, SingleSignOnSettings
from audit.private_files import create_private
from audit.serve import Listener, serve_all
from audit.signing import SigningKey
from consent.api import create_app
from consent.service import TrustService
from consent.settings import Declared, TrustSettings
from coordinator.api import create_app as create_centre_app
from deploy.portal_centre import NAME as COORDINATOR
from deploy.portal_centre import SECRET, Centre, make_centre
from deploy.portal_history import PASSWORD, PEOPLE, History, MovedClock
from policies.vocabulary import Purpose

TRUST_PORT = 8443
_CODES = 4
_ANSWERED_EVERY_S = 2.0


def main() -> None:
    """Play the month, then serve."""
    options = _options()
    with ExitStack() as stack:
        folder = options.folder or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="undertone-"))
        )
        trust_url, centre_url = (f"https://localhost:{options.port + n}" for n in (0, 1))
        history = make_history(
            folder,
            end=options.until or time.time(),
            people=options.people,
            uses=options.uses,
            other_url=centre_url,
            own_url=trust_url,
        )
        stack.callback(history.close)
        app = create_app(history.service)
        centre = make_centre(folder, history, app, url=trust_url, port=options.port + 1)
        stack.callback(centre.service.close)
        print("making up a month at both services; a minute or so", file=sys.stderr, flush=True)
        play(history, centre)
        centre_app = create_centre_app(centre.service, admin_token=centre.token)
        serve_all(
            [_listener(folder, app, options.port), _listener(folder, centre_app, options.port + 1)],
            on_ready=lambda _: _go_on(stack, folder, history, centre, (trust_url, centre_url)),
        )


def play(history: History, centre: Centre) -> None:
    """Play the month at both services."""
    history.meanwhile = centre.let_pass
    history.play()
    centre.end()


def make_history(
    folder: Path,
    *,
    end: float,
    people: int,
    uses: int,
    other_url: str | None,
    own_url: str = f"https://localhost:{TRUST_PORT}",
) -> History:
    """Return a trust service in a folder and the month to be played at it.

    With `other_url` whoever is signed in at `own_url` is so there.
    """
    pki = folder / "pki"
    create_authority(pki)
    issue_server(pki, "portal")
    officer, trust = SigningKey.generate("officer"), SigningKey.generate("trust")
    officer.save(folder / "officer.key")
    trust.save(folder / "trust.key")
    for name in ("admin.token", SECRET):
        create_private(folder / name, secrets.token_urlsafe(32).encode())
    on = None if other_url is None else _single_sign_on(folder, own_url, other_url)
    settings = TrustSettings(
        folder=folder / "trust",
        signing_key=folder / "trust.key",
        officer_key=str(officer.verify_key),
        admin_token_file=folder / "admin.token",
        coordinator=COORDINATOR,
        declared=Declared(purposes=(Purpose.SERVICE, Purpose.HANDOVER, Purpose.TRAINING)),
        portal=PortalSettings(other_url=other_url, single_sign_on=on),
    )
    clock = MovedClock(now=end - 40 * 86_400)
    service = TrustService(settings, clock=clock)
    return History(service=service, clock=clock, officer=officer, end=end, people=people, uses=uses)


def _single_sign_on(folder: Path, own_url: str, other_url: str) -> SingleSignOnSettings:
    back = f"{other_url}/sign-in/provider"
    return SingleSignOnSettings(
        issuer=own_url,
        client_id=COORDINATOR,
        client_secret_file=folder / SECRET,
        redirect_uri=f"{back}/return",
        logout_uri=f"{back}/logout",
        authority=folder / "pki" / "authority.crt",
    )


def _go_on(
    stack: ExitStack, folder: Path, history: History, centre: Centre, urls: tuple[str, str]
) -> None:
    """Go on by the machine's clock and over the network, and say where and how to sign in."""
    history.clock.follow = time.time
    centre.line.serve(folder / "pki" / "authority.crt")
    centre.service.start()
    over = threading.Event()
    branches = threading.Thread(target=_speak, args=(history, over), name="branches", daemon=True)
    branches.start()
    stack.callback(branches.join)
    stack.callback(over.set)
    _tell(history, urls)


def _speak(history: History, over: threading.Event) -> None:
    """Let the branches answer what they are asked, until it is over."""
    while not over.wait(_ANSWERED_EVERY_S):
        history.go_on()


def _listener(folder: Path, app: Any, port: int) -> Listener:
    pki = folder / "pki"
    return Listener(
        app=app, port=port, certificate=pki / "portal.crt", private_key=pki / "portal.key"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.portal", description=__doc__)
    parser.add_argument("--folder", type=Path, help="keep everything here (an empty folder)")
    parser.add_argument("--people", type=int, default=60, help="8 at least")
    parser.add_argument("--uses", type=int, default=600)
    parser.add_argument("--port", type=int, default=TRUST_PORT, help="the coordinator's is next")
    parser.add_argument("--until", type=float, help="the Unix second at which the month ends")
    return parser.parse_args()


def _tell(history: History, urls: tuple[str, str]) -> None:
    trust, coordinator = urls
    print(f"trust service   {trust}/   begin with {trust}/tour")
    print(f"coordinator     {coordinator}/   (both certificates are made up, too)")
    print(f"sign in         once, for both, with the password {PASSWORD!r}")
    print("                and one of these codes, each of which works once:")
    for name, roles in PEOPLE.items():
        print(f"  {name:6} {', '.join(roles)}")
        print(f"    {' '.join(history.codes[name][:_CODES])}")
    print("stop            Ctrl-C", flush=True)


if __name__ == "__main__":
    main()
