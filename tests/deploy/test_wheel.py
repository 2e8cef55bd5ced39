"""What is shipped: the packages and what they read, and nothing that lay beside it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"policies", "audit", "consent", "models", "client_node", "coordinator", "deploy"}
STRAY = {".git/config", "audit/.git/HEAD", "audit/.env", "audit/staff.db", "consent/trust.key"}


@pytest.mark.slow
def test_a_wheel_holds_neither_source_control_nor_keys_nor_tests(tmp_path: Path) -> None:
    """Made in a folder where all of these lie about (ASVS 13.4.1)."""
    source = tmp_path / "source"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for name in STRAY:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("secret")
    (source / "tests").mkdir()
    (source / "tests" / "test_x.py").write_text("")
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "-q"]
    subprocess.run(  # noqa: S603 (our own interpreter)
        [*command, "--no-index", "-w", str(tmp_path), "."], cwd=source, check=True
    )
    (made,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(made).namelist())
    assert not names & STRAY
    assert not [name for name in names if ".git" in name or Path(name).name.startswith(".")]
    assert {name.partition("/")[0] for name in names} - PACKAGES == {made.stem[:15] + ".dist-info"}
    assert "audit/portal/templates/frame.html" in names
