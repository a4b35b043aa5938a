"""Children end with the process that started them, and only what is ours is ended."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from desireline import children
from desireline.asking import locked
from desireline.errors import NoWarehouse
from desireline.running import Child, DataFolder, Running, Urls

SLEEPS = """
import os, signal, time
from desireline import children
{first}
print("there", flush=True)
time.sleep(600)
"""
STARTS_ANOTHER = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {inner!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print("there", flush=True)
time.sleep(600)
"""


def start(code: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "there\n"
    return process


def test_a_child_is_gone_when_its_parent_was_killed() -> None:
    inner = SLEEPS.format(first="children.end_with(os.getppid())")
    outer = start(STARTS_ANOTHER.format(inner=inner))
    (child,) = psutil.Process(outer.pid).children()
    outer.kill()
    outer.communicate()
    _, alive = psutil.wait_procs([child], timeout=10)
    assert alive == []


def test_a_child_whose_parent_is_already_gone_ends_at_once() -> None:
    code = SLEEPS.format(first="children.end_with(1)")
    ended = subprocess.run([sys.executable, "-c", code], timeout=30)
    assert ended.returncode == 1


def test_what_nobody_asks_after_has_ended_all_the_same() -> None:
    """As in a container whose first process does not look after the children of others."""
    heedless = start(STARTS_ANOTHER.format(inner="print('there', flush=True); import time; time.sleep(600)"))
    (child,) = psutil.Process(heedless.pid).children()
    begun = time.monotonic()
    children.end([child], patience_s=20)
    assert time.monotonic() - begun < 10
    assert child.status() == psutil.STATUS_ZOMBIE
    heedless.kill()
    heedless.communicate()


def test_a_process_that_ignores_sigterm_is_killed() -> None:
    stubborn = start(SLEEPS.format(first="signal.signal(signal.SIGTERM, signal.SIG_IGN)"))
    children.end([psutil.Process(stubborn.pid)], patience_s=0.3)
    assert not psutil.pid_exists(stubborn.pid)
    stubborn.communicate()


def test_a_pid_that_another_process_has_now_is_not_taken_for_ours() -> None:
    created = psutil.Process().create_time()
    assert Child("me", os.getpid(), created).process() is not None
    assert Child("someone before me", os.getpid(), created - 60).process() is None


def test_a_child_is_told_nothing_by_the_environment_of_our_own_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESIRELINE_PARTITIONS", "3")
    monkeypatch.setenv("LANG", "C.UTF-8")
    told = children.environment()
    assert "DESIRELINE_PARTITIONS" not in told
    assert told["LANG"] == "C.UTF-8"


def test_children_do_not_import_what_lies_in_the_users_folder() -> None:
    assert "-P" in children.command("worker")


def test_a_data_folder_belongs_to_one_at_a_time(tmp_path: Path) -> None:
    with (
        locked(DataFolder(tmp_path)),
        pytest.raises(NoWarehouse, match="in use"),
        locked(DataFolder(tmp_path)),
    ):
        pass
    with locked(DataFolder(tmp_path)):
        pass


def test_what_runs_is_read_back_as_written_and_by_its_owner_alone(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    urls = Urls(pages="p", collector="c", warehouse="w", warehouse_reader="r", broker="b")
    me = Child("up", os.getpid(), psutil.Process().create_time())
    running = Running(data_dir=str(tmp_path), supervisor=me, urls=urls, write_keys={"key": "shop"})
    folder.write_running(running)
    assert folder.running() == running
    assert folder.alive() == running
    assert folder.run.stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_run_file_that_is_broken_or_missing_says_nothing_runs(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    assert folder.running() is None
    folder.run.write_text('{"half": ')
    assert folder.running() is None
