"""The S3 server of `make s3`. `make test-s3` runs these tests, which need its environment, .venv-s3."""

import os
import shutil
import socket
import stat
import subprocess
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from conftest import ROOT, Repo, contents, edit_params

from deblurgan.errors import UserError
from deploy.s3 import control
from deploy.s3.control import BUCKETS, Store, client, start, stop


def free_port() -> int:
    """The first of four that follow each other and are free."""
    for _ in range(100):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        try:
            for offset in range(4):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port + offset))
        except (OSError, OverflowError):
            continue
        return port
    raise AssertionError


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(control, "PYTHON", ROOT / control.PYTHON)
    store = Store(tmp_path / "a store", free_port())
    start(store)
    yield store
    stop(store)


def test_what_was_pushed_survives_a_restart(finished: Repo, store, tmp_path):
    """A fresh clone pulls it, and the pipeline has nothing to do."""
    repo = finished.copy(tmp_path / "repo")
    for name in ("source", "resized", "deblurred", "models"):
        repo.dvc("remote", "modify", name, "url", f"s3://deblurgan-{name}")
    repo.commit("Our buckets")
    env = store.environment()
    repo.dvc("push", env=env)
    published = f"s3://{BUCKETS[2]}/photos"
    repo.run("python", "-m", "deblurgan", "dumps", "push", published, env=env)

    assert stop(store)
    assert not stop(store)
    start(store)

    clone = Repo(tmp_path / "clone", tmp_path)
    clone.env = dict(repo.env)
    subprocess.run(["git", "clone", "-q", repo.root, clone.root], check=True)
    clone.dvc("pull", env=env)
    assert "up to date" in clone.dvc("repro", env=env)
    assert clone.git("status", "--porcelain") == ""
    for path in ("data/deblurred", "data/resized", "data/source"):
        assert contents(clone.root / path) == contents(repo.root / path)
    again = clone.run("python", "-m", "deblurgan", "dumps", "push", published, env=env)
    count = len(contents(clone.root / "data/deblurred"))
    assert f"0 new, 0 changed, {count} as before" in again


def test_photos_arrive_there(finished: Repo, store, tmp_path):
    repo = finished.copy(tmp_path / "repo")
    s3 = client(store)
    photos = contents(repo.root / "data/source/unsplash/sharp")
    for name, content in photos.items():
        s3.put_object(Bucket=BUCKETS[0], Key=f"photos/sharp/{name}", Body=content)
    pull = ("python", "-m", "deblurgan", "dumps", "pull", "--photos", f"s3://{BUCKETS[0]}/photos")
    assert f"{len(photos)} new, 0 changed, 0 as before" in repo.run(*pull, env=store.environment())
    assert f"0 new, 0 changed, {len(photos)} as before" in repo.run(*pull, env=store.environment())
    s3.delete_object(Bucket=BUCKETS[0], Key="photos/sharp/chelsea.jpg")
    assert "1 registered before are no longer in the bucket" in repo.run(*pull, env=store.environment())
    edit_params(repo.root, {"fetch_unsplash": {"source": f"s3://{BUCKETS[0]}/photos"}})
    repo.dvc("repro", "fetch_unsplash", env=store.environment())
    assert contents(repo.root / "data/source/unsplash/sharp") == photos  # chelsea.jpg is on this machine


def test_data_of_a_killed_server_are_there(store):
    s3 = client(store)
    for n in range(20):
        s3.put_object(Bucket=BUCKETS[0], Key=f"{n}", Body=bytes([n]) * 100_000)
    os.kill(store.serving(), 9)
    while store.serving():
        pass
    start(store)
    listed = s3.list_objects_v2(Bucket=BUCKETS[0])["Contents"]
    assert sorted(int(one["Key"]) for one in listed) == list(range(20))
    for n in range(20):
        assert s3.get_object(Bucket=BUCKETS[0], Key=f"{n}")["Body"].read() == bytes([n]) * 100_000


def test_large_objects_come_in_parts(store, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(os.urandom(20 << 20))
    s3 = client(store)
    s3.upload_file(str(path), BUCKETS[3], "a folder/large ä+.bin")
    assert s3.get_object(Bucket=BUCKETS[3], Key="a folder/large ä+.bin")["Body"].read() == path.read_bytes()


def test_who_has_no_key_has_no_access(store):
    keys = store.keys()
    (store.root / "keys.json").write_text(f'{{"key": "{keys.key}", "secret": "guessed"}}')
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client(store).list_buckets()
    (store.root / "keys.json").write_text(f'{{"key": "{keys.key}", "secret": "{keys.secret}"}}')
    client(store).list_buckets()
    for path in (store.root / "keys.json", store.root / "etc/proxy-server.conf"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077
    assert not stat.S_IMODE(store.root.stat().st_mode) & 0o077


def test_buckets_keep_versions(store):
    s3 = client(store)
    s3.put_bucket_versioning(Bucket=BUCKETS[0], VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=BUCKETS[0], Key="x", Body=b"1")["VersionId"]
    s3.put_object(Bucket=BUCKETS[0], Key="x", Body=b"2")
    assert s3.get_object(Bucket=BUCKETS[0], Key="x", VersionId=first)["Body"].read() == b"1"
    assert s3.get_object(Bucket=BUCKETS[0], Key="x")["Body"].read() == b"2"


def test_starting_twice_serves_once(store):
    before = store.serving()
    start(store)
    assert store.serving() == before


def test_what_cannot_be_is_one_line(store, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=rf"port {store.port} is taken by another program: set DEBLURGAN_S3_PORT"):
        start(Store(tmp_path / "another", store.port))
    monkeypatch.setenv("DEBLURGAN_S3_PORT", "many")
    with pytest.raises(UserError, match="'many' is no port"):
        Store.from_environment()
    monkeypatch.setattr(control, "PYTHON", Path("nowhere"))
    with pytest.raises(UserError, match="`make s3` installs the server"):
        start(Store(tmp_path / "another", 1))


def test_a_number_that_is_another_programs_is_left_alone(tmp_path):
    store = Store(tmp_path, 1)
    store.pid.write_text(str(os.getpid()))
    assert store.serving() is None
    assert not stop(store)
    shutil.rmtree(tmp_path)
