"""`python -m deblurgan weights`: published weights to model files."""

import dataclasses
import hashlib

import numpy as np
import pytest
from servers import FileServer, running
from test_published import random_resnet, random_tensors
from torch_files import save_legacy, save_zip

from deblurgan.errors import UserError
from deblurgan.images import read_rgb, write_png
from deblurgan.networks.model_files import load_generator, provenance_of
from deblurgan.published import catalogue, command
from deblurgan.published.conversion import converted, proof_image
from deblurgan.restoration import command as deblur
from deblurgan.sources import web

FEW = (1, 1, 1, 2, 1, 1, 1, 1, 1)


@pytest.fixture
def published(workspace, monkeypatch):
    """Known weights in a file, and what their description needs to be theirs."""
    path = save_zip(workspace / "NAFNet-GoPro-width32.pth", random_tensors(blocks=FEW), "params")
    known = catalogue.KNOWN["nafnet-gopro-32"]
    known = dataclasses.replace(known, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), addresses=())
    monkeypatch.setitem(catalogue.KNOWN, known.name, known)
    return path


def known_at(monkeypatch, *addresses):
    known = dataclasses.replace(catalogue.KNOWN["nafnet-gopro-32"], addresses=addresses)
    monkeypatch.setitem(catalogue.KNOWN, known.name, known)


def test_what_is_known_is_listed_with_size_licence_score_and_blur(workspace, capsys):
    command.main([])
    shown = capsys.readouterr().out
    for known in catalogue.KNOWN.values():
        (line,) = [line for line in shown.splitlines() if line.startswith(f"{known.name} ")]
        assert f"{known.megabytes} MB" in line
        assert known.licence in line
        assert known.score in line
        assert f"for {known.blur}" in shown
        assert known.authors in shown
        assert known.sha256 is None or len(known.sha256) == 64
        assert all(address.startswith("https://") for address in known.addresses)


def test_a_file_that_was_fetched_by_hand_becomes_a_model_with_its_provenance(workspace, published, capsys):
    command.main(["get", "nafnet-gopro-32", "--from", str(published)])
    model = workspace / "models/nafnet-gopro-32.keras"
    assert provenance_of(model) == {
        "architecture": f"NAFNet, 2 filters, blocks {' '.join(map(str, FEW))}",
        "sha256": hashlib.sha256(published.read_bytes()).hexdigest(),
        "source": "NAFNet-GoPro-width32.pth",
        "licence": "MIT",
        "authors": catalogue.NAFNET,
        "published as": "NAFNet-GoPro-width32.pth",
    }
    image = proof_image()[None]
    expected = converted(random_tensors(blocks=FEW)).generator(image)
    np.testing.assert_array_equal(load_generator(model)(image), expected)
    shown = capsys.readouterr().out
    assert "proved: all " in shown
    assert "licence: MIT" in shown
    with pytest.raises(UserError, match=r"nafnet-gopro-32\.keras exists; --overwrite replaces it"):
        command.main(["get", "nafnet-gopro-32", "--from", str(published)])
    before = model.read_bytes()
    command.main(["get", "nafnet-gopro-32", "--from", str(published), "--overwrite"])
    assert model.read_bytes() == before
    command.main([])
    assert "<- models/" in capsys.readouterr().out


def test_another_file_than_was_published_is_refused(workspace, published):
    published.write_bytes(published.read_bytes() + b"x")
    with pytest.raises(
        UserError, match=r"has the SHA-256 [0-9a-f]{64}, and .* as published [0-9a-f]{64}: fetch it again"
    ):
        command.main(["get", "nafnet-gopro-32", "--from", str(published)])
    with pytest.raises(UserError, match=r"none\.pth: no such file"):
        command.main(["get", "nafnet-gopro-32", "--from", "none.pth"])
    assert not (workspace / "models").exists()


def test_a_download_goes_on_where_it_broke_off(workspace, published, monkeypatch, capsys):
    monkeypatch.setattr(web.time, "sleep", lambda seconds: None)
    body = published.read_bytes()
    with running(FileServer(body)) as server:
        server.breaks = [len(body) // 2, None]
        known_at(monkeypatch, f"{server.address}/w.pth?id=secret")
        command.main(["get", "nafnet-gopro-32"])
        assert [bool(asked) for asked in server.ranges] == [False, True]
    assert provenance_of("models/nafnet-gopro-32.keras")["source"] == f"{server.address}/w.pth"
    assert "secret" not in "".join(capsys.readouterr())


def test_the_next_address_is_asked_where_one_fails(workspace, published, monkeypatch, capsys):
    monkeypatch.setattr(web.time, "sleep", lambda seconds: None)
    with running(FileServer(published.read_bytes())) as good, running(FileServer(b"<html>no</html>")) as bad:
        known_at(monkeypatch, f"{bad.address}/w.pth", f"{good.address}/w.pth")
        command.main(["get", "nafnet-gopro-32"])
        assert "has the SHA-256" in capsys.readouterr().out
        known_at(monkeypatch, f"{bad.address}/w.pth", f"{bad.address}/other.pth")
        (workspace / "cache/weights/NAFNet-GoPro-width32.pth").unlink()
        with pytest.raises(UserError, match=r"cannot be had from any of 2 addresses: fetch .*pth by hand, .*--from"):
            command.main(["get", "nafnet-gopro-32", "--overwrite"])


def test_weights_without_an_address_are_to_be_fetched_by_hand(workspace):
    with pytest.raises(UserError, match=r"deblurgan has no address .* fetch latest_net_G\.pth by hand"):
        command.main(["get", "deblurgan"])


def test_a_checkpoint_of_ones_own_is_converted(workspace, capsys):
    statistics = {"model.2.running_mean": np.zeros(2, "f4")}
    path = save_legacy(workspace / "mine.pth", {**random_resnet(), **statistics})
    command.main(["convert", str(path)])
    assert provenance_of("models/mine.keras")["source"] == "mine.pth"
    shown = capsys.readouterr().out
    assert "models/mine.keras: DeblurGAN, 2 filters, blocks 2; " in shown
    assert "not used: 1 statistics of norms" in shown
    assert "--learn_residual" in shown
    path = save_zip(workspace / "other.pth", {"conv.weight": np.zeros((2, 2, 3, 3), "f4")})
    with pytest.raises(UserError, match=r"other\.pth: neither NAFNet .* it begins with conv\.weight"):
        command.main(["convert", str(path)])
    with pytest.raises(UserError, match=r"a\.h5: a model's name ends in \.keras"):
        command.main(["convert", str(path), "--output", "a.h5"])


@pytest.mark.long
def test_a_converted_model_deblurs_photos(workspace, published):
    command.main(["convert", str(published), "--output", "some.keras"])
    photo = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    write_png(workspace / "photo.png", photo)
    deblur.main(["photo.png", "--output", "out", "--model", "some.keras"])
    assert read_rgb(workspace / "out/photo.png").shape == photo.shape
