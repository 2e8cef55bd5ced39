"""Promise 3: erasure is destroying keys, which no backup includes."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from audit.errors import KeyDestroyed, KeystoreError
from audit.keystore import Keystore
from audit.verify import verify_log
from client_node.service import NodeService
from client_node.vault import Vault
from policies.vocabulary import Purpose, SubjectId
from tests.promises.town import Branch, Town, consents, says

pytestmark = pytest.mark.promise(3)


def back_up(node: NodeService, to: Path) -> Path:
    """Copy the running node's folder, write-ahead logs included, as a backup does."""
    left_out = shutil.ignore_patterns("keystore", "*-shm", "*.sock")
    shutil.copytree(node.settings.folder, to, ignore=left_out)
    assert (to / "records.db-wal").stat().st_size > 0
    return to


def restored(
    backup: Path, keystore: Keystore, subject: SubjectId, turn: str, purpose: Purpose
) -> bytes:
    """Open one copy of a turn out of a backup, as whoever holds both would."""
    vault = Vault(backup / "records.db", keystore)
    try:
        record = vault._records.find(turn, purpose)
        context = f"undertone/record/{purpose}/{turn}".encode()
        return keystore.open(subject, purpose, record.sealed, context=context)
    finally:
        vault.close()


@pytest.fixture
def branch(town: Town) -> Branch:
    """Return a branch."""
    return town.branch()


def test_yesterdays_backup_does_not_open_the_erased(town: Town, branch: Branch) -> None:
    """With yesterday's files and today's keys, Anna is gone and Ben is not."""
    node = branch.open()
    api = branch.api(node)
    token = consents(api, "anna")["manage_token"]
    consents(api, "ben")
    node.keeper.poll()
    turns = {customer: says(api, customer)["turn"] for customer in ("anna", "ben")}
    backup = back_up(node, town.folder / "backup")
    assert town.by_code(token, None).status_code == 201
    node.keeper.poll()
    for purpose in (Purpose.SERVICE, Purpose.TRAINING):
        opened = (node.keystore, branch.subject("ben"), turns["ben"], purpose)
        assert restored(backup, *opened)
        with pytest.raises(KeyDestroyed):
            restored(backup, node.keystore, branch.subject("anna"), turns["anna"], purpose)
    assert verify_log(backup / "log.db", branch.node_key.verify_key).size > 0
    assert verify_log(node.settings.folder / "log.db", branch.node_key.verify_key).size > 0


def test_backup_alone_opens_nobody(town: Town, branch: Branch) -> None:
    """Keys are in no backup: without the keystore even those who stay are closed."""
    node = branch.open()
    api = branch.api(node)
    consents(api, "anna")
    node.keeper.poll()
    turn = says(api, "anna")["turn"]
    backup = back_up(node, town.folder / "backup")
    with (
        closing(Keystore(town.folder / "thief", clock=town.clock)) as empty,
        pytest.raises(KeystoreError),
    ):
        restored(backup, empty, branch.subject("anna"), turn, Purpose.SERVICE)


def test_withdrawing_one_purpose_destroys_that_key_only(town: Town, branch: Branch) -> None:
    """The copy for training is noise, in the backup too; the copy for service opens."""
    node = branch.open()
    api, anna = branch.api(node), branch.subject("anna")
    token = consents(api, "anna")["manage_token"]
    node.keeper.poll()
    turn = says(api, "anna")["turn"]
    backup = back_up(node, town.folder / "backup")
    town.by_code(token, "training")
    node.keeper.poll()
    with pytest.raises(KeyDestroyed):
        restored(backup, node.keystore, anna, turn, Purpose.TRAINING)
    assert restored(backup, node.keystore, anna, turn, Purpose.SERVICE)


def test_survivors_are_wrapped_anew_and_the_old_wrapping_key_is_gone(
    town: Town, branch: Branch
) -> None:
    """A copy of the key table from before an erasure no longer opens anybody by itself."""
    node = branch.open()
    api = branch.api(node)
    token = consents(api, "anna")["manage_token"]
    consents(api, "ben")
    node.keeper.poll()
    says(api, "anna")
    says(api, "ben")
    folder = node.settings.folder / "keystore"
    before = {path.name: path.read_bytes() for path in folder.iterdir() if "db" not in path.name}
    assert town.by_code(token, None).status_code == 201
    node.keeper.poll()
    wrapping = {name: data for name, data in before.items() if len(data) >= 32}
    assert wrapping
    now = [path.read_bytes() for path in folder.iterdir()]
    assert not any(data in other for data in wrapping.values() for other in now)
