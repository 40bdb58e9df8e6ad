"""Directories that are published whole or not at all, whoever else is at work; the cache; stages whose DVC is gone;
damaged images."""

import os
import pickle
import shlex
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, contents

from deblurgan.errors import UserError, explained
from deblurgan.files import cache_directory, files_below, locked, new_directory, require
from deblurgan.images import read_rgb, write_png


def test_one_process_at_a_time_makes_a_directory(tmp_path):
    with new_directory(tmp_path / "out") as first:
        (first / "half").touch()
        said = rf"out is being made by process {os.getpid()}: wait for it, or end it"
        with pytest.raises(UserError, match=said), new_directory(tmp_path / "out"):
            pass
        (first / "whole").touch()
    assert set(contents(tmp_path)) == {"out/half", "out/whole"}
    with new_directory(tmp_path / "out"):
        pass
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("link_first", [True, False])
def test_of_a_folder_and_a_link_to_it_the_link_is_to_be_removed(tmp_path, monkeypatch, link_first):
    """In whatever order the file system lists both."""
    (tmp_path / "walk").mkdir()
    (tmp_path / "walk/1.png").touch()
    (tmp_path / "to walk").symlink_to(tmp_path / "walk")
    walk = os.walk

    def ordered(*arguments, **options):
        for folder, folders, names in walk(*arguments, **options):
            folders.sort(reverse=not link_first)
            yield folder, folders, names

    monkeypatch.setattr(os, "walk", ordered)
    with pytest.raises(UserError, match=r"to walk leads to a folder .*: remove the link"):
        files_below(tmp_path)
    (tmp_path / "to walk").unlink()
    (tmp_path / "walk/round").symlink_to(tmp_path)
    with pytest.raises(UserError, match=r"round leads to a folder"):
        files_below(tmp_path)


def test_what_came_back_under_a_deleted_name_is_not_published(tmp_path):
    """As when another run takes a directory for a dead one's, and a worker goes on to write there."""
    with new_directory(tmp_path / "out") as partial:
        (partial / "right").touch()
    with pytest.raises(UserError, match=r"was deleted while it was being filled: .*out is as it was"):  # noqa: SIM117
        with new_directory(tmp_path / "out") as partial:
            shutil.rmtree(partial)
            partial.mkdir()
            (partial / "half").touch()
    assert set(contents(tmp_path)) == {"out/right"}


def test_a_lock_file_that_is_deleted_keeps_nobody_waiting_in_vain(tmp_path):
    """Who waited for the deleted file takes the new one, as everybody does who comes later."""
    path, inside, most = tmp_path / "lock", [], []

    def work() -> None:
        for _ in range(50):
            with locked(path):
                inside.append(1)
                most.append(len(inside))
                inside.pop()
                path.unlink()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 200


@pytest.mark.parametrize("shells", [[], ["sh"], ["sh", "sh"]], ids=["directly", "by a shell", "by two"])
def test_a_stage_ends_with_the_dvc_that_runs_it(shells):
    """Killed alone, as by `kill -9`: its stage would go on to write beside the next run.

    DVC runs a stage by the user's shell, which does not always become the command: dash, Debian's /bin/sh, stays.
    """
    stage = "from deblurgan.errors import reported\nwith reported('clean'): print('begun', flush=True); input()"
    command = [sys.executable, "-c", stage]
    for shell in shells:
        command = [shell, "-c", f"{shlex.join(command)}; true"]
    parent = f"import os, subprocess; subprocess.Popen({command}, stdin={{}}, env=os.environ | {{}}).wait()"
    ends, writing = os.pipe()  # nothing ever comes: the stage would wait for ever
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    dvc = subprocess.Popen(
        [sys.executable, "-c", parent.format(ends, {"DVC_STAGE": "clean"})], env=env, pass_fds=[ends],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert dvc.stdout.readline() == "begun\n"
    dvc.kill()
    said = []
    reader = threading.Thread(target=lambda: said.append(dvc.stdout.read()))
    reader.start()
    reader.join(20)
    os.close(writing)  # a stage that lives on ends here
    reader.join()
    dvc.wait()
    dvc.stdout.close()
    assert said == ["\nclean: DVC is gone; no half result was published, run it again\n"]


def test_a_missing_input_is_named(tmp_path):
    require(tmp_path)
    with pytest.raises(UserError, match=r"x is missing: make it with `dvc repro`, or fetch it with `dvc pull`"):
        require(tmp_path, tmp_path / "x")


@pytest.mark.parametrize("home", ["/proc/nowhere", "a file"])
def test_a_home_without_room_for_the_cache_names_the_way_out(monkeypatch, tmp_path, home):
    (tmp_path / "a file").touch()
    monkeypatch.delenv("DEBLURGAN_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / home))
    said = rf"the cache .*{home}/\.cache/deblurgan cannot be used \(.*\): set DEBLURGAN_CACHE"
    with pytest.raises(UserError, match=said):
        cache_directory()
    monkeypatch.setenv("DEBLURGAN_CACHE", str(tmp_path / "other"))
    assert cache_directory() == (tmp_path / "other").resolve()


def test_no_home_at_all_makes_no_folder_here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEBLURGAN_CACHE", raising=False)
    monkeypatch.setattr(Path, "expanduser", lambda path: (_ for _ in ()).throw(RuntimeError))
    with pytest.raises(UserError, match=r"no home directory is known"):
        cache_directory()
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.9])
def test_a_damaged_image_is_named(tmp_path, kept):
    """Also where the error comes out of another process."""
    path = tmp_path / "photo.png"
    write_png(path, np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(OSError, match="image file") as error:
        read_rgb(path)
    assert explained(pickle.loads(pickle.dumps(error.value))).count(str(path)) == 1
