"""Claims about when a node's own head is gone, over restarts, and what its operator is told."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from audit.errors import EvidenceUnavailable
from audit.events import EventKind
from audit.serve import Listener, serve_all
from client_node.cli import app
from client_node.errors import LocalHeadRefused, StartRefused
from client_node.internal_api import create_internal_app
from client_node.personal import LONGEST_S, PAUSE_S, Dropped
from client_node.service import NodeService
from client_node.settings import NodeSettings
from client_node.vault import TrainingRecord
from models.bags import Bags
from models.personal import Gain, Personal
from policies.redacted import RedactedText
from policies.vocabulary import Purpose
from tests.client_node.conftest import World
from tests.client_node.stand_ins import hash_encoder
from tests.client_node.test_personal import BOTH, SAID, bundle, pleased
from tests.client_node.test_personal import branch as whole_branch
from tests.promises.town import events

PEOPLE = tuple(f"person-{number}" for number in range(4))
FITTED, DROPPED = EventKind.LOCAL_HEAD_FITTED, EventKind.LOCAL_HEAD_DROPPED
GAIN = Gain(
    people=40, before=0.4321, after=0.8765, low=0.3, high=0.5, ece_before=0.2, ece_after=0.1
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fit at once what reads the branch's words as it does; the real fit has its own tests."""
    words = hash_encoder().encode([RedactedText(text=SAID["pleased"])])[0]

    def quick(weights: np.ndarray[Any, Any], bags: Bags) -> Personal:
        assert len(bags.labels) > 0
        ours = weights.copy()
        ours[:, 1] += 20 * words
        return Personal(weights=ours, share=1.0, temperature=1.5, gain=GAIN)

    monkeypatch.setattr("client_node.personal.personal_head", quick)


def branch(world: World, *people: str, **more: Any) -> NodeService:
    """Open a node with four people, as in `test_personal`."""
    return whole_branch(world, *(people or PEOPLE), **more)


# --- when it is gone --------------------------------------------------------------------------


def _withdraws(world: World) -> None:
    world.trust.withdraw(world.standing(PEOPLE[1], Purpose.SERVICE), Purpose.TRAINING)


def _is_erased(world: World) -> None:
    world.trust.withdraw(world.standing(PEOPLE[1], erased=True), None)


def _comes_back_at_once(world: World) -> None:
    world.trust.withdraw(world.standing(PEOPLE[1], *BOTH), Purpose.TRAINING)


def _restricts(world: World) -> None:
    world.trust.put(world.standing(PEOPLE[1], *BOTH, restricted=True))


def _lets_it_lapse(world: World) -> None:
    world.trust.put(world.standing(PEOPLE[1], Purpose.SERVICE))


def _organisation_says_no(world: World) -> None:
    world.trust.dpia = frozenset({Purpose.SERVICE})


SAYING_NO = [
    _withdraws,
    _is_erased,
    _comes_back_at_once,
    _restricts,
    _lets_it_lapse,
    _organisation_says_no,
]


@pytest.mark.promise(11)
@pytest.mark.parametrize("says_no", SAYING_NO)
def test_head_is_dropped_at_once_when_somebody_in_it_says_no(
    world: World, says_no: Callable[[World], None]
) -> None:
    """With the page that tells of it the head reads no more, and its key and file are gone."""
    node = branch(world)
    node.personalisation.fit()
    kept = (node.settings.folder / "local-head.sealed").read_bytes()
    world.now += 1
    says_no(world)
    node.keeper.poll()
    assert node.personalisation.current is None
    assert pleased(world, node)["reading"]["label"] == "frustrated"
    assert not (node.settings.folder / "local-head.sealed").exists()
    assert node.keystore.owner(kept) is None
    assert events(node.log, DROPPED)[-1].fields["reason"] == Dropped.CONSENT


@pytest.mark.promise(11)
def test_head_is_dropped_before_any_key_and_though_the_page_fails(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the vault cannot destroy, the head is out of use all the same."""
    node = branch(world)
    node.personalisation.fit()
    world.now += 1
    _withdraws(world)

    def broken(*_: object, **__: object) -> Any:
        raise EvidenceUnavailable("no")

    monkeypatch.setattr(node.vault, "destroy", broken)
    with pytest.raises(EvidenceUnavailable):
        node.keeper.poll()
    assert pleased(world, node)["reading"]["local_head"] is None


def test_head_stays_when_somebody_else_says_no(world: World) -> None:
    """A stranger's withdrawal, or a newcomer's consent, is nothing to it."""
    node = branch(world)
    world.trust.put(world.standing("zoe", *BOTH))
    node.keeper.poll()
    head = node.personalisation.fit()
    world.now += 1
    world.trust.withdraw(world.standing("zoe", Purpose.SERVICE), Purpose.TRAINING)
    world.trust.put(world.standing("new", *BOTH))
    node.keeper.poll()
    assert node.personalisation.current is head


@pytest.mark.parametrize("says_no", [_withdraws, _comes_back_at_once, _restricts])
def test_withdrawal_while_it_is_fitted_leaves_none(
    world: World, monkeypatch: pytest.MonkeyPatch, says_no: Callable[[World], None]
) -> None:
    """Who says no between opening and keeping is in no head; asked again, it is without them."""
    node = branch(world)
    opening = node.vault.open_batch

    def interrupted(**options: Any) -> list[TrainingRecord]:
        records = opening(**options)
        world.now += 1
        says_no(world)
        node.keeper.poll()
        return records

    monkeypatch.setattr(node.vault, "open_batch", interrupted)
    with pytest.raises(LocalHeadRefused, match="said no meanwhile"):
        node.personalisation.fit()
    assert node.personalisation.current is None
    monkeypatch.undo()
    if says_no is not _comes_back_at_once:
        assert world.subject(PEOPLE[1]) not in node.personalisation.fit().people


def test_it_is_fitted_anew_from_those_who_are_left(world: World) -> None:
    """After a withdrawal the node fits another by itself, without that person."""
    node = branch(world)
    first = node.personalisation.fit()
    world.now += PAUSE_S + 1
    _withdraws(world)
    node.keeper.poll()
    node.personalisation.keep_fresh()
    node.personalisation.close()
    second = node.personalisation.current
    assert second is not None
    assert first.people - second.people == {world.subject(PEOPLE[1])}
    assert pleased(world, node)["reading"]["local_head"] == second.digest


def test_fits_that_nobody_asked_for_keep_a_pause(world: World) -> None:
    """However many withdraw, a fit begins at most once a minute; off, none ever does."""
    node = branch(world)
    node.personalisation.fit()
    _withdraws(world)
    node.keeper.poll()
    node.personalisation.keep_fresh()
    node.personalisation.close()
    assert node.personalisation.current is None
    node.close()
    off = world.open(personal=False)
    world.now += PAUSE_S + 1
    off.personalisation.keep_fresh()
    off.personalisation.close()
    assert len(events(off.log, FITTED)) == 1


def test_it_is_of_one_release_and_some_hours(world: World) -> None:
    """A newer release reads alone until a head is fitted to it, and so does an old one."""
    node = branch(world)
    node.personalisation.fit()
    node.releases.load(bundle(world, 2))
    assert pleased(world, node)["reading"]["local_head"] is None
    world.now += PAUSE_S + 1
    node.keeper.poll()
    node.personalisation.keep_fresh()
    node.personalisation.close()
    found = node.personalisation.current
    assert found is not None
    assert found.release == node.releases.current.digest  # type: ignore[union-attr]
    world.now = found.good_until
    node.keeper.poll()
    assert found.good_until == found.fitted_at + LONGEST_S
    assert pleased(world, node)["reading"]["local_head"] is None
    said = [event.fields["reason"] for event in events(node.log, DROPPED)]
    assert said == [Dropped.RELEASE]


def test_it_ends_with_the_first_consent_in_it(world: World) -> None:
    """Nobody's features read on when their consent ended, though no feed tells of that."""
    soon = world.standing(PEOPLE[2], *BOTH)
    ends = int(world.now) + 3600
    grants = tuple(replace(g, expires_at=ends) for g in soon.grants)
    node = branch(world)
    world.trust.put(replace(soon, grants=grants))
    node.keeper.poll()
    assert node.personalisation.fit().good_until == ends


# --- over restarts ----------------------------------------------------------------------------


def test_it_survives_a_restart_and_no_switching_off(world: World) -> None:
    """What the log names last is taken up again; with the setting off it is destroyed."""
    node = branch(world)
    head = node.personalisation.fit()
    node.close()
    again = world.open(personal=True)
    assert again.personalisation.current is not None
    assert again.personalisation.current.digest == head.digest
    assert pleased(world, again)["reading"]["label"] == "pleased"
    again.close()
    off = world.open(personal=False)
    assert pleased(world, off)["reading"]["local_head"] is None
    assert not (off.settings.folder / "local-head.sealed").exists()
    assert events(off.log, DROPPED)[-1].fields["reason"] == Dropped.OFF
    with pytest.raises(LocalHeadRefused, match="personal = true"):
        off.personalisation.fit()


@pytest.mark.promise(3)
@pytest.mark.parametrize("with_keys", [False, True])
def test_head_that_was_put_back_is_not_taken_up(world: World, with_keys: bool) -> None:  # noqa: FBT001
    """Yesterday's file opens nothing after a withdrawal; nor with yesterday's keys beside it."""
    node = branch(world)
    node.personalisation.fit()
    folder, copy = node.settings.folder, world.folder / "yesterday"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.sock"))
    world.now += 1
    _withdraws(world)
    node.keeper.poll()
    node.close()
    shutil.copy(copy / "local-head.sealed", folder / "local-head.sealed")
    if with_keys:
        shutil.rmtree(folder / "keystore")
        shutil.copytree(copy / "keystore", folder / "keystore")
    again = world.open(personal=True)
    assert again.personalisation.current is None
    assert not (folder / "local-head.sealed").exists()
    assert pleased(world, again)["reading"]["local_head"] is None


def test_earlier_head_is_not_taken_up_for_a_later_one(world: World) -> None:
    """A fit destroys the key of the head before it."""
    node = branch(world)
    node.personalisation.fit()
    path = node.settings.folder / "local-head.sealed"
    earlier = path.read_bytes()
    node.personalisation.fit()
    assert node.keystore.owner(earlier) is None
    node.close()
    path.write_bytes(earlier)
    again = world.open(personal=True)
    assert again.personalisation.current is None


@pytest.mark.parametrize("broken", [b"", b"\x01" * 500])
def test_broken_file_costs_the_head_and_nothing_else(world: World, broken: bytes) -> None:
    """Cut or changed, it is not taken up, and the node starts."""
    node = branch(world)
    node.personalisation.fit()
    path = node.settings.folder / "local-head.sealed"
    node.close()
    path.write_bytes(broken or path.read_bytes()[:-9])
    again = world.open(personal=True)
    assert again.personalisation.status()["state"] == "none"
    assert pleased(world, again)["reading"]["label"] == "frustrated"
    assert again.personalisation.fit().takes_part


# --- the operator -----------------------------------------------------------------------------


@contextmanager
def serving(node: NodeService) -> Iterator[Path]:
    """Serve the node's own socket; yield a settings file that names it."""
    ready, stop = threading.Event(), threading.Event()
    socket = node.settings.socket_path
    thread = threading.Thread(
        target=serve_all,
        args=([Listener(app=create_internal_app(node), unix_socket=socket)],),
        kwargs={"on_ready": lambda _: ready.set(), "stop": stop},
    )
    thread.start()
    assert ready.wait(30)
    try:
        yield settings_file(node.settings.folder.parent / "node.toml", node)
    finally:
        stop.set()
        thread.join()


def settings_file(path: Path, node: NodeService) -> Path:
    """Write a node's settings."""
    values = node.settings.model_dump(mode="json", exclude_none=True)
    path.write_text(tomli_w.dumps(values), encoding="utf-8")
    return path


def command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run `undertone-node personal`; return exit code, stdout and stderr."""
    with pytest.raises(SystemExit) as ended:
        app(["personal", *words])
    out = capsys.readouterr()
    return int(ended.value.code or 0), out.out, out.err


def test_operator_fits_sees_the_gain_and_drops(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """`personal show|fit|drop`: the gain is told here, and by no route of an integration."""
    node = branch(world)
    with serving(node) as path:
        code, out, _ = command(capsys, "show", "--settings", str(path))
        assert (code, "There is none" in out) == (0, True)
        code, out, _ = command(capsys, "fit", "--settings", str(path))
        assert code == 0
        assert "On 40 people" in out
        assert "stay at this node" in out
        code, out, _ = command(capsys, "show", "--settings", str(path), "--json")
        shown = json.loads(out)
        assert shown["state"] == "takes part"
        assert shown["gain"]["low"] > 0
        api = world.api(node)
        for route in ("/v1/status", "/v1/budget", "/internal/personal", "/v1/personal"):
            assert str(GAIN.after) not in api.get(route).text
        assert str(GAIN.after) not in str(pleased(world, node))
        assert shown["gain"]["after"] == GAIN.after
        code, out, _ = command(capsys, "drop", "--settings", str(path), "--yes")
        assert (code, out.strip()) == (0, "dropped")
        code, out, _ = command(capsys, "show", "--settings", str(path))
        assert "only when you say `fit`" in out
    world.now += PAUSE_S + 1
    node.personalisation.keep_fresh()
    assert node.personalisation.current is None
    node.close()
    assert world.open(personal=True).personalisation.status()["waits_for_fit"]


def test_commands_say_in_one_line_what_is_wrong(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Off, not running, not asked twice: one line and exit 1; nothing is dropped unasked."""
    node = branch(world, *PEOPLE[:2], personal=False)
    with serving(node) as path:
        code, out, err = command(capsys, "fit", "--settings", str(path))
        assert (code, out) == (1, "")
        assert "personal = true" in err
        assert err.count("\n") == 1
        code, out, _ = command(capsys, "show", "--settings", str(path))
        assert (code, out[:4]) == (0, "Off:")
    code, _, err = command(capsys, "show", "--settings", str(path))
    assert code == 1
    assert "no node answers" in err
    assert err.count("\n") == 1


def test_fit_before_any_release_that_answers_is_refused(world: World) -> None:
    """There is nothing to start from, and nothing is opened or logged."""
    node = world.open(personal=True)
    answer = world.executor(node).post("/internal/personal")
    assert answer.status_code == 409
    assert "no release that answers" in answer.json()["detail"]
    kinds = {entry.event.kind for entry in node.log.entries(0, node.log.size)}
    assert not kinds & {EventKind.BATCH_DECISION, EventKind.LOCAL_HEAD_FITTED}


def test_two_fits_at_once_are_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit that is asked for while one is under way is refused, and says so."""
    node = branch(world)
    opening, said = node.vault.open_batch, list[str]()

    def again(**options: Any) -> list[TrainingRecord]:
        with pytest.raises(LocalHeadRefused) as refused:
            node.personalisation.fit()
        said.append(str(refused.value))
        return opening(**options)

    monkeypatch.setattr(node.vault, "open_batch", again)
    assert node.personalisation.fit().takes_part
    assert said == ["a fit is under way: ask again when it is done"]


def test_setting_that_is_no_switch_is_refused(world: World) -> None:
    """`personal` takes true or false."""
    node = branch(world, PEOPLE[0])
    path = settings_file(world.folder / "node.toml", node)
    path.write_text(path.read_text(encoding="utf-8").replace("personal = true", 'personal = "x"'))
    with pytest.raises(StartRefused, match="personal"):
        NodeSettings.load(path)
