"""Push and pull against an S3 server on 127.0.0.1."""

import re
import shutil

import pytest
from aws import client, environment, moto
from conftest import REMOTES, ROOT, Repo, committed
from PIL import Image, UnidentifiedImageError
from ruamel.yaml import YAML

BUCKETS = {name: f"test-{name}" for name in REMOTES}
ROUTES = {
    "data/source/unsplash": "source",
    "data/source/pairs": "source",
    "data/clean": "source",
    "data/synthetic": "resized",
    "data/resized/train": "resized",
    "data/resized/val": "resized",
    "data/resized/test": "resized",
    "data/resized/unpaired": "resized",
    "data/deblurred": "deblurred",
    "models/generator.keras": "models",
    "models/generator.onnx": "models",
    "models/generator.tflite": "models",
    "metrics/synthesize/kernels.png": "resized",
    "metrics/train/plots/images": "resized",
    "metrics/evaluate/panels": "resized",
    "metrics/evaluate/gains.png": "resized",
}


@pytest.fixture
def server():
    with moto() as address:
        yield address


@pytest.fixture
def s3(server):
    s3 = client("s3", server)
    for bucket in BUCKETS.values():
        s3.create_bucket(Bucket=bucket)
    return s3


def stored(s3, bucket: str) -> set[str]:
    """MD5 sums of the objects in a bucket, `.dir` listings included."""
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
    return {"".join(key.split("/")[-2:]) for key in keys}


@pytest.mark.long
def test_round_trip_through_four_buckets(finished: Repo, s3, server, tmp_path):
    repo = finished.copy(tmp_path / "repo")
    env = environment(server)
    repo.dvc("push", env=env)

    held = {name: stored(s3, bucket) for name, bucket in BUCKETS.items()}
    lock = YAML(typ="safe").load(repo.root / "dvc.lock")
    sums = {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}
    for path in ROUTES:
        same = {ROUTES[other] for other in ROUTES if sums[other] == sums[path]}  # two that are empty, for instance
        assert {name for name in held if sums[path] in held[name]} == same, path
    assert not set(sums.values()) - {sums[path] for path in ROUTES} & set.union(*held.values())

    for path in (".dvc/cache", *ROUTES):
        target = repo.root / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    repo.dvc("pull", env=env)
    assert "up to date" in repo.dvc("repro", env=env)
    assert repo.git("status", "--porcelain") == ""


def test_every_cached_output_names_its_remote():
    pipeline = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    routed = {}
    for stage in pipeline.values():
        for out in (out for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])):
            ((path, settings),) = out.items()
            if settings.get("cache", True):
                routed[path] = settings["remote"]
    assert routed == ROUTES
    assert set(re.findall(r'remote "(\w+)"', committed(".dvc/config"))) == set(REMOTES)


def test_models_can_be_shared_without_photos(finished: Repo):
    """Terms of Unsplash: its photos are not for redistribution; pictures that show them are private like them."""
    shared = [finished.root / path for path, remote in ROUTES.items() if remote == "models"]
    files = [file for path in shared for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
    assert files
    for file in files:
        with pytest.raises(UnidentifiedImageError), Image.open(file):
            pass


def test_a_missing_bucket_and_missing_credentials_lose_nothing(finished: Repo, s3, server, tmp_path):
    repo = finished.copy(tmp_path / "repo")
    s3.delete_bucket(Bucket=BUCKETS["deblurred"])
    for env, said in (
        (environment(server), "NoSuchBucket"),
        ({"AWS_ENDPOINT_URL": server}, "Unable to locate credentials"),
    ):
        assert said in repo.dvc("push", "data/deblurred", ok=False, env=env)
    assert "up to date" in repo.dvc("status")
