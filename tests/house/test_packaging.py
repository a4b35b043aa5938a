"""The wheel as a user gets it: six packages, and names as common as `models` in the user's own folder."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"models", "ingest", "streams", "warehouse", "dashboards", "desireline"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)],
        check=True,
    )  # fmt: skip
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that holds our wheel; its dependencies are looked up in this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet",
         "--disable-pip-version-check", "--no-deps", "--no-index", str(wheel)],
        check=True,
    )  # fmt: skip
    # a path in a .pth is not searched for further .pth files, so this checkout stays out
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


@pytest.fixture
def decoys(tmp_path: Path) -> Path:
    """A user's folder that has taken two of our names."""
    for name in ("models", "warehouse"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a decoy was imported')\n")
    return tmp_path


def run(*line: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("DESIRELINE_", "PYTHON"))
    }
    return subprocess.run(
        list(map(str, line)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )


def test_the_wheel_holds_the_six_packages_and_nothing_else_of_the_top_level(wheel: Path) -> None:
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == PACKAGES


def test_every_package_says_that_it_is_typed(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert all(f"{package}/py.typed" in names for package in PACKAGES)


def test_data_files_are_in_the_wheel(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    shipped = (
        "default.yaml",
        "retail.yaml",
        "saas.yaml",
        "telecom.yaml",
        "banking.yaml",
        "journey-model.schema.json",
    )
    assert [name for name in shipped if f"models/templates/{name}" not in names] == []
    assert any(name.startswith("dashboards/assets/") for name in names)


def test_the_command_runs_in_a_folder_with_decoys(installed: Path, decoys: Path) -> None:
    ended = run(installed / "desireline", "model", "check", cwd=decoys)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_children_run_in_a_folder_with_decoys(installed: Path, decoys: Path) -> None:
    ended = run(installed / "python", "-P", "-m", "desireline", "warehouse", "ddl", cwd=decoys)
    assert ended.returncode == 0, ended.stderr
    assert "CREATE TABLE" in ended.stdout


def test_a_decoy_that_would_be_imported_is_named_with_the_way_out(installed: Path, decoys: Path) -> None:
    ended = run(installed / "python", "-m", "desireline", "version", cwd=decoys)
    assert ended.returncode == 1
    assert str(decoys / "models.py") in ended.stderr
    assert 'the package "models"' in ended.stderr
    assert "environment of its own" in ended.stderr
    assert "Traceback" not in ended.stderr
