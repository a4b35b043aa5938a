"""Facts about the repository: what it must not name, and the words we keep."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("models", "ingest", "streams", "warehouse", "dashboards", "desireline")


def files(*endings: str) -> Iterator[Path]:
    """What the repository holds, or would hold if all were added."""
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    for name in filter(None, names.split("\0")):
        path = ROOT / name
        if path.is_file() and (not endings or path.suffix in endings):
            yield path


def texts() -> Iterator[tuple[Path, str]]:
    for path in files():
        if path != Path(__file__):
            try:
                yield path.relative_to(ROOT), path.read_text()
            except UnicodeDecodeError:
                continue


def modules() -> list[Path]:
    return [path.relative_to(ROOT) for path in files(".py") if path.relative_to(ROOT).parts[0] in PACKAGES]


def test_no_file_names_a_path_of_one_machine() -> None:
    ours = re.compile(rf"{re.escape(str(ROOT))}\b|(?<![\w.\-/])/(?:root|work|home/\w+)/")
    assert [f"{path}: {found[0]}" for path, text in texts() if (found := ours.search(text))] == []


def test_no_file_names_a_host_of_a_package_registry() -> None:
    hosts = re.compile(
        r"pypi\.org|pythonhosted\.org|registry\.npmjs|--(?:extra-)?index-url[ =]|find-links", re.IGNORECASE
    )
    assert [f"{path}: {found[0]}" for path, text in texts() if (found := hosts.search(text))] == []


def test_every_lock_has_a_hash_for_every_requirement() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        for requirement in re.split(
            r"\n(?=\S)", re.sub(r"(?m)^ *#.*\n?", "", (ROOT / name).read_text()).strip()
        ):
            assert "--hash=sha256:" in requirement, requirement


def test_tests_are_no_packages() -> None:
    # with a tests/models/__init__.py, `import models` finds the tests
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    nothing = {"utils", "util", "helpers", "helper", "common", "base", "manager", "service", "misc"}
    meant = {Path("ingest/simulation/service.py")}  # what customers call
    assert [
        path for path in modules() if set(path.with_suffix("").parts) & nothing and path not in meant
    ] == []


@pytest.mark.parametrize("path", modules(), ids=str)
def test_a_module_says_what_it_is_and_takes_no_name_of_a_package(path: Path) -> None:
    tree = ast.parse((ROOT / path).read_text())
    if path.name != "__init__.py":
        assert ast.get_docstring(tree), "a module begins with what it is"
    fields = {
        id(line.target)
        for part in ast.walk(tree)
        if isinstance(part, ast.ClassDef)
        for line in part.body
        if isinstance(line, ast.AnnAssign)
    }
    names = {
        *(node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)),
        *(
            node.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in fields
        ),
        *(
            alias.asname
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom | ast.Import)
            for alias in node.names
        ),
    }
    assert names & {"models", "streams", "warehouse"} == set()


@pytest.mark.parametrize("path", modules(), ids=str)
def test_whatever_a_module_offers_says_what_it_means(path: Path) -> None:
    tree = ast.parse((ROOT / path).read_text())
    offered = [
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
    ]
    assert [node.name for node in offered if not ast.get_docstring(node)] == []


def test_nothing_is_skipped_and_nothing_left_unfinished() -> None:
    left = re.compile(r"pytest\.mark\.(skip|xfail)|pytest\.skip|importorskip|\b(TODO|FIXME|XXX)\b")
    found = [
        f"{path}: {match[0]}"
        for path, text in texts()
        if path.suffix == ".py" and (match := left.search(text))
    ]
    assert found == []
