"""The training step, the schedule, the crops and what is watched."""

import contextlib
import errno
import io
import json
import os
import re
import resource
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import PARAMS as OWN
from conftest import ROOT, SMALL, contents, edit_params
from PIL import Image
from scipy import ndimage
from stage_deps import closure
from tensorboardX.proto.event_pb2 import Event

import stages.train
from deblurgan import backend
from deblurgan.blur.convolution import blur_image
from deblurgan.blur.kinds import draw_blur
from deblurgan.errors import UserError
from deblurgan.evaluation.metrics import psnr
from deblurgan.files import locked
from deblurgan.images import to_float, write_png
from deblurgan.machine import processors_in
from deblurgan.memory import free_memory
from deblurgan.networks.critic import build_critic
from deblurgan.networks.generators import build_generator
from deblurgan.networks.model_files import load_generator
from deblurgan.params import Critic, load
from deblurgan.pictures import CAPTION
from deblurgan.training import losses, run
from deblurgan.training.augmentation import _enlarged, compressed, random_crop
from deblurgan.training.batches import CropSequence, centre_crops
from deblurgan.training.callbacks import Curves, Diverged, Divergence, Samples, sample_picture
from deblurgan.training.checkpoints import Checkpoint, TrainingState, last_checkpoint, save, scratch
from deblurgan.training.frames import Frame, Images, frames_of, keep_in_memory, load_pairs, loader_threads
from deblurgan.training.gan import DeblurGAN, build
from deblurgan.training.optimizers import Trapezoid

GENERATOR = SMALL.model_copy(update={"identity_start": True})
CRITIC = Critic(filters=4, layers=1, norm="instance", conditional=True)
PARAMS = load(OWN)
DEFAULT = PARAMS.train


def model(features=None, critic=CRITIC, **changes) -> DeblurGAN:
    settings = DEFAULT.model_copy(update={"steps": 10, "lambda_adversarial": 1.0, **changes})
    networks = build_generator(GENERATOR, 1), build_critic(critic, 1), build_generator(GENERATOR, 1)
    gan = DeblurGAN(*networks, settings, features)
    gan.compile()
    return gan


def batch(critic_steps=1, count=2, seed=0):
    rng = np.random.default_rng(seed)
    sharp = rng.integers(0, 256, (count, critic_steps, 16, 16, 3), dtype=np.uint8)
    position = rng.random((count, critic_steps), dtype=np.float32)
    return tf.constant(sharp // 2), tf.constant(sharp), tf.constant(position)


def last(images):
    """The batch of the generator, as networks see it."""
    return to_float(np.asarray(images)[:, -1])


def moved(before, after):
    return any((a != b).any() for a, b in zip(before, after, strict=True))


def test_the_schedule_rises_stays_and_falls():
    paper = Trapezoid(0.5, steps=200, warmup=0, decay_from=100)
    assert [float(paper(step)) for step in (0, 100, 150, 200, 300)] == [0.5, 0.5, 0.25, 0, 0]
    rising = Trapezoid.from_config({"rate": 1.0, "steps": 200, "warmup": 9, "decay_from": 200})
    np.testing.assert_allclose([float(rising(step)) for step in (0, 4, 9, 199)], [0.1, 0.5, 1, 1])
    assert rising.get_config() == {"rate": 1.0, "steps": 200, "warmup": 9, "decay_from": 200}


@pytest.mark.parametrize("critic_steps", [1, 3])
def test_a_step_updates_each_network_as_often_as_the_recipe_says(critic_steps):
    gan = model(critic_steps=critic_steps)
    weights = [network.get_weights() for network in (gan.generator, gan.critic, gan.averaged)]
    logs = gan.train_step(batch(critic_steps))
    for before, network in zip(weights, (gan.generator, gan.critic, gan.averaged), strict=True):
        assert moved(before, network.get_weights())
    assert int(gan.generator_optimizer.iterations) == 1
    assert int(gan.critic_optimizer.iterations) == critic_steps
    assert set(logs) == {"loss", "pixel", "g_adversarial", "g_norm", "d_wasserstein", "d_penalty", "d_norm"}
    assert all(np.isfinite(float(value)) for value in logs.values())


def test_the_first_step_reports_the_losses_as_defined():
    gan = model()
    images = batch()
    blur, sharp = map(last, images[:2])
    real, fake = (np.asarray(gan.critic([blur, x])) for x in (sharp, blur))  # identity start: output = input
    logs = gan.train_step(images)
    assert float(logs["pixel"]) == pytest.approx(np.abs(blur - sharp).mean(), rel=1e-5)
    assert float(logs["loss"]) == pytest.approx(DEFAULT.lambda_pixel * float(logs["pixel"]), rel=1e-5)
    assert float(logs["d_wasserstein"]) == pytest.approx(float(losses.critic_wasserstein(real, fake)), rel=1e-4)


def with_linear_critic(**changes) -> DeblurGAN:
    """A model whose critic scores an image by its inner product with one kernel of its size."""
    blurred, judged = keras.Input((16, 16, 3)), keras.Input((16, 16, 3))
    score = keras.layers.Conv2D(1, 16, use_bias=False, kernel_initializer=keras.initializers.RandomNormal(seed=1))
    critic = keras.Model([blurred, judged], score(judged))
    settings = DEFAULT.model_copy(update={"steps": 100, "warmup": 0.0, "lambda_adversarial": 1.0, **changes})
    gan = DeblurGAN(build_generator(GENERATOR, 1), critic, build_generator(GENERATOR, 1), settings)
    gan.compile()
    return gan


def test_the_penalty_in_a_step_is_that_of_a_linear_critic_and_pulls_its_norm_to_one():
    gan = with_linear_critic(lambda_penalty=1000.0, learning_rate=0.001)
    gan.generator_optimizer = keras.optimizers.SGD(0.0)
    start = np.linalg.norm(gan.critic.get_weights()[0])
    step = tf.function(gan.train_step)
    assert float(step(batch())["d_penalty"]) == pytest.approx((start - 1) ** 2, rel=1e-4)
    for _ in range(40):
        step(batch())
    end = np.linalg.norm(gan.critic.get_weights()[0])
    assert abs(end - 1) < abs(start - 1) / 2


def test_the_adversarial_loss_raises_the_critics_score():
    gan = with_linear_critic(lambda_pixel=0.0)
    gan.critic_optimizer = keras.optimizers.SGD(0.0)
    images, scores = batch(), []
    blur = tf.constant(last(images[0]))
    for _ in range(5):
        scores.append(float(np.mean(gan.critic([blur, gan.generator(blur)]))))
        gan.reset_metrics()
        assert float(gan.train_step(images)["g_adversarial"]) == pytest.approx(-scores[-1], abs=1e-4)
    assert scores == sorted(scores)
    assert scores[-1] > scores[0]


def test_without_adversarial_weight_the_critic_rests():
    gan = model(lambda_adversarial=0.0)
    before = gan.critic.get_weights()
    assert set(gan.train_step(batch())) == {"loss", "pixel", "g_norm"}
    assert not moved(before, gan.critic.get_weights())


def test_the_generators_gradient_does_not_reach_the_critic_nor_the_reverse():
    """With a rate of 0 for one network, the step moves the other alone."""
    for still, moving in (("generator", "critic"), ("critic", "generator")):
        gan = model()
        setattr(gan, f"{still}_optimizer", keras.optimizers.SGD(0.0))
        before = {name: getattr(gan, name).get_weights() for name in (still, moving)}
        gan.train_step(batch())
        assert not moved(before[still], getattr(gan, still).get_weights())
        assert moved(before[moving], getattr(gan, moving).get_weights())


def test_the_critic_learns_to_tell_restored_from_sharp():
    gan = model(critic=CRITIC.model_copy(update={"norm": "none"}), steps=100, learning_rate=0.005, warmup=0.0)
    gan.generator_optimizer = keras.optimizers.SGD(0.0)
    step = tf.function(gan.train_step)
    first = float(step(batch())["d_wasserstein"])
    for _ in range(60):
        gan.reset_metrics()
        last = float(step(batch())["d_wasserstein"])
    assert last < first - 0.1


def test_the_average_follows_the_generator():
    gan = model(ema=0.0)
    gan.train_step(batch())
    assert not moved(gan.generator.get_weights(), gan.averaged.get_weights())
    gan = model(ema=0.5)
    start = gan.generator.get_weights()
    gan.train_step(batch())
    keep = 1 / 4  # min(ema, step / (step + 3)) at step 1
    for a, b, c in zip(start, gan.generator.get_weights(), gan.averaged.get_weights(), strict=True):
        np.testing.assert_allclose(c, keep * a + (1 - keep) * b, atol=1e-6)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_share_of_the_starts_weights_stays_in_what_is_kept(ema):
    """And the training itself does not depend on the share."""
    start, ends = build_generator(GENERATOR, 5), []
    for share in (0.0, 0.25):
        settings = DEFAULT.model_copy(update={"steps": 10, "init_share": share, "ema": ema})
        ends.append(build(GENERATOR, CRITIC, settings, 1, start))
        for seed in range(3):
            ends[-1].train_step(batch(seed=seed))
    trained, mixed = ends
    assert moved(start.get_weights(), trained.averaged.get_weights())
    assert not moved(trained.generator.get_weights(), mixed.generator.get_weights())
    weights = (start.get_weights(), trained.averaged.get_weights(), mixed.averaged.get_weights())
    for first, end, kept in zip(*weights, strict=True):
        np.testing.assert_allclose(kept, 0.25 * first + 0.75 * end, atol=1e-6)


def test_without_a_generator_to_start_from_no_share_of_the_start_stays():
    gan = build(GENERATOR, CRITIC, DEFAULT.model_copy(update={"steps": 10, "init_share": 0.9, "ema": 0.0}), 1)
    gan.train_step(batch())
    assert not moved(gan.generator.get_weights(), gan.averaged.get_weights())


def test_the_perceptual_loss_uses_the_features():
    def features(images):
        return images[:, ::2, ::2, :1]

    gan = model(features, lambda_content=3.0, lambda_pixel=0.0, lambda_adversarial=0.0)
    images = batch()
    logs = gan.train_step(images)
    expected = np.square(features(last(images[0])) - features(last(images[1]))).mean()
    assert float(logs["content"]) == pytest.approx(expected, rel=1e-5)
    assert float(logs["loss"]) == pytest.approx(3 * expected, rel=1e-5)


def test_validation_measures_psnr_as_it_is_defined():
    rng = np.random.default_rng(0)
    blur, sharp = (rng.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8) for _ in range(2))
    gan = model()
    logs = gan.evaluate(blur, sharp, batch_size=2, verbose=0, return_dict=True)
    expected = np.mean([psnr(a, b) for a, b in zip(blur, sharp, strict=True)])  # over images, though batches differ
    assert logs["psnr"] == pytest.approx(expected, abs=1e-4)


def images_of(both):
    blur, sharp = both
    return Images(Frame(sharp), Frame(blur))


def pairs(count=3, height=24, width=30):
    rng = np.random.default_rng(5)
    return [images_of(rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)) for _ in range(count)]


def sequence_of(kind=CropSequence, seed=1, first=0, part=0, parts=1, **changes):
    small = {"steps": 6, "batch_size": 2, "critic_steps": 2, "crop": 8, "flip": True, **changes}
    return kind(pairs(), DEFAULT.model_copy(update=small), seed, PARAMS.synthesize, first, part, parts)


def test_crops_are_a_function_of_seed_and_step():
    items = np.array([sequence_of()[step][:2] for step in range(6)])
    assert items.shape == (6, 2, 2, 2, 8, 8, 3)
    assert items.dtype == np.uint8
    assert len(np.unique(items.reshape(6, -1), axis=0)) == 6
    np.testing.assert_array_equal(items[::-1], [sequence_of(steps=9)[step][:2] for step in reversed(range(6))])
    np.testing.assert_array_equal(items[4:], [sequence_of(first=4)[step][:2] for step in range(2)])
    assert (items != [sequence_of(seed=2)[step][:2] for step in range(6)]).any()
    positions = np.array([sequence_of()[step][2] for step in range(6)])
    assert positions.shape == (6, 2, 2)
    assert positions.dtype == np.float32
    assert len(np.unique(positions)) == positions.size
    assert 0 <= positions.min() < positions.max() <= 1


def test_hosts_share_each_batch():
    whole = sequence_of(batch_size=5)[3]
    parts = [CropSequence.part_of(sequence_of(batch_size=5, part=i, parts=2), whole[0]) for i in range(2)]
    items = [sequence_of(batch_size=5, part=i, parts=2)[3] for i in range(2)]
    assert [len(item[0]) for item in items] == [3, 2]
    for one, other, both in zip(*items, whole, strict=True):
        np.testing.assert_array_equal(np.concatenate([one, other]), both)
    np.testing.assert_array_equal(parts[1], items[1][0])


def test_fit_sees_each_step_once_and_in_order(eager):
    seen = []

    class Spy(CropSequence):
        def __getitem__(self, step):
            blur, *others = super().__getitem__(step)
            return np.full_like(blur, step), *others

    gan = model(lambda_adversarial=0.0, steps=6)
    step = gan.train_step

    def watched(batch):
        tf.py_function(lambda x: seen.append(int(x)), [batch[0][0, 0, 0, 0, 0]], [])
        return step(batch)

    gan.train_step = watched
    gan.fit(sequence_of(Spy), epochs=3, steps_per_epoch=2, shuffle=False, verbose=0)
    assert seen == [0, 1, 2, 3, 4, 5]


def test_both_halves_are_cut_alike():
    sharp = np.random.default_rng(0).integers(0, 200, (20, 20, 3), dtype=np.uint8)
    places = np.lib.stride_tricks.sliding_window_view(sharp, (8, 8, 3)).reshape(-1, 8, 8, 3)
    rng = np.random.default_rng(1)
    turned = set()
    for _ in range(60):
        blur, crop = random_crop(images_of([sharp + 50, sharp]), rng, ALL_WAYS, PARAMS.synthesize)
        np.testing.assert_array_equal(blur, crop + 50)
        turned |= {i for i, way in enumerate(symmetries(crop)) if (places == way).all(axis=(1, 2, 3)).any()}
    assert turned == set(range(8))


ALL_WAYS = DEFAULT.model_copy(update={"crop": 8, "flip": True, "flip_vertical": True, "rotate": True})


def symmetries(image):
    """The eight ways to mirror and turn a square."""
    turned = [np.rot90(image, n) for n in range(4)]
    return [*turned, *(way[:, ::-1] for way in turned)]


def test_upright_photos_stay_upright():
    """By default a crop is mirrored left to right at most: streets have an up."""
    sharp = np.broadcast_to(np.arange(20, dtype=np.uint8)[:, None, None], (20, 20, 3))
    pair = images_of([sharp, sharp])
    crops = [random_crop(pair, np.random.default_rng(n), ALL_FLIPS, PARAMS.synthesize)[0] for n in range(20)]
    assert all((np.diff(crop[:, 0, 0].astype(int)) == 1).all() for crop in crops)


ALL_FLIPS = DEFAULT.model_copy(update={"crop": 8})


@pytest.mark.parametrize("size", [(40, 60), (33, 32)])
def test_a_fresh_blur_is_that_of_the_whole_photo(size):
    """At the photo's borders, too; and each crop's is another one."""
    sharp = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    draw = PARAMS.synthesize.model_copy(update={"noise": 0.0, "length": (20.0, 20.0)})
    settings, kernels = DEFAULT.model_copy(update={"crop": 32, "flip": False, "zoom": 1.0}), []

    def remembered(*arguments):
        kernels.append(draw_blur(*arguments))
        return kernels[-1]

    with mock.patch("deblurgan.training.augmentation.draw_blur", remembered):
        for n in range(10):
            blur, crop = random_crop(Images(Frame(sharp)), np.random.default_rng(n), settings, draw)
            top, left = np.argwhere((windows(sharp, 32) == crop).all(axis=(2, 3, 4)))[0]
            whole = blur_image(sharp, kernels[-1].kernel)[top : top + 32, left : left + 32]
            np.testing.assert_allclose(blur, np.rint(whole), atol=1)  # transforms of other sizes round otherwise
            assert (blur == np.rint(whole)).mean() > 0.999
    assert len({blur.kernel.tobytes() for blur in kernels}) == 10


def test_the_scale_of_fresh_blur_reaches_from_sharp_to_the_whole_length():
    sharp = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    draw = PARAMS.synthesize.model_copy(update={"noise": 0.0, "length": (20.0, 20.0), "exposure": (1.0,)})

    def errors(scale):
        settings = DEFAULT.model_copy(update={"crop": 32, "zoom": 1.0, "fresh_scale": scale})
        crops = [random_crop(Images(Frame(sharp)), np.random.default_rng(n), settings, draw) for n in range(20)]
        return [float(np.abs(blur.astype(int) - crop).mean()) for blur, crop in crops]

    assert max(errors((0.0, 0.0))) < 1
    assert min(errors((1.0, 1.0))) > 10
    assert np.std(errors((0.0, 1.0))) > np.std(errors((1.0, 1.0)))


@pytest.mark.parametrize("stored", [False, True])
def test_a_share_of_the_crops_is_hardly_blurred(stored):
    sharp = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    pair = Images(Frame(sharp), Frame(255 - sharp) if stored else None, photo=not stored)
    draw = PARAMS.synthesize.model_copy(update={"noise": 0.0, "length": (40.0, 40.0), "exposure": (1.0,)})

    def errors(mild):
        settings = DEFAULT.model_copy(update={"crop": 32, "zoom": 1.0, "mild": mild})
        crops = [random_crop(pair, np.random.default_rng(n), settings, draw) for n in range(60)]
        return np.array([np.abs(blur.astype(int) - crop).mean() for blur, crop in crops])

    mild, usual, half = errors(1.0), errors(0.0), errors(0.5)
    assert usual.min() > mild.max()  # noise loses all its detail by 40 pixels of motion, and most by one or two
    assert 0.15 < (mild == 0).mean() < 0.55  # a third is left as it is
    assert 0.3 < (half <= mild.max()).mean() < 0.7


def test_a_share_of_the_crops_with_fresh_blur_is_partly_out_of_focus_in_both_halves():
    sharp = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    draw = PARAMS.synthesize.model_copy(update={"noise": 0.0})
    settings = DEFAULT.model_copy(update={"crop": 80, "zoom": 1.0, "flip": False, "fresh_scale": (0.0, 0.0)})

    def crops(share, pair):
        chosen = settings.model_copy(update={"shallow_focus": share})
        return [random_crop(pair, np.random.default_rng(n), chosen, draw) for n in range(60)]

    soft = [(half != sharp).any() for _, half in crops(0.5, Images(Frame(sharp)))]
    assert 0.25 < np.mean(soft) < 0.75
    for blurred, half in crops(1.0, Images(Frame(sharp))):  # a trajectory of no length: both halves are alike
        changed = (half != sharp).any(axis=-1)
        assert 0.01 < changed.mean() < 0.9  # a region of half the picture, and its soft edge
        assert np.abs(blurred.astype(int) - half).mean() < 1
    filmed = Images(Frame(sharp), Frame(255 - sharp), photo=False)
    assert all((half == sharp).all() for _, half in crops(1.0, filmed))


def test_a_share_of_the_blurred_halves_passes_through_jpeg():
    photo = np.rint(ndimage.gaussian_filter(some_photo((64, 64)).astype(float), (1, 1, 0))).astype(np.uint8)
    pair = images_of([photo, photo])
    settings = DEFAULT.model_copy(update={"crop": 64, "flip": False, "jpeg": 0.5})
    crops = [random_crop(pair, np.random.default_rng(n), settings, PARAMS.synthesize) for n in range(60)]
    assert all((sharp == photo).all() for _, sharp in crops)
    errors = [float(np.abs(blur.astype(int) - photo).mean()) for blur, _ in crops]
    assert 15 < np.count_nonzero(errors) < 45
    high, low = (float(np.abs(compressed(photo, quality).astype(int) - photo).mean()) for quality in (95, 40))
    assert 0 < high <= min(filter(None, errors)) < max(errors) <= low


def windows(image, size):
    return np.lib.stride_tricks.sliding_window_view(image, (size, size, 3))[:, :, 0]


def test_a_share_of_the_crops_is_blurred_anew():
    """Photos whose blur was drawn, that is, and never filmed pairs, whose blur nobody can draw."""
    filmed, photo, blurred = (np.full((20, 20, 3), level, np.uint8) for level in (10, 200, 0))
    small = DEFAULT.model_copy(update={"batch_size": 50, "crop": 8, "steps": 10})

    def seen(pairs, share):
        crops = CropSequence(pairs, small.model_copy(update={"photo_share": share}), 1, PARAMS.synthesize)
        return np.array([[batch[0][:, 0, 4, 4, 0], batch[1][:, 0, 4, 4, 0]] for batch in crops])

    filmed, anew = images_of([filmed] * 2), Images(Frame(photo), photo=True)
    stored = Images(Frame(photo), Frame(blurred), photo=True)
    blur, sharp = seen([filmed, anew, anew], 0.9).swapaxes(0, 1)
    assert 0.8 < (sharp == 200).mean() < 0.97
    assert (blur[sharp == 200] > 150).all()
    blur, sharp = seen([filmed, stored, stored], 0.5).swapaxes(0, 1)
    assert 0.4 < (sharp == 200).mean() < 0.6
    assert (blur[sharp == 200] == 0).all()
    assert (seen([filmed, stored], 0.0) == 10).all()
    assert (seen([filmed], 0.9) == 10).all()
    assert (seen([anew], 0.5)[:, 0] > 150).all()


def test_every_pixel_can_be_cut_and_centre_crops_are_central():
    rows = np.arange(10, dtype=np.uint8)[:, None, None] * np.ones((1, 10, 3), np.uint8)
    pair, rng = images_of([rows, rows]), np.random.default_rng(0)
    assert {int(random_crop(pair, rng, ALL_FLIPS, PARAMS.synthesize)[0, 0, 0, 0]) for _ in range(200)} == {0, 1, 2}
    np.testing.assert_array_equal(centre_crops([pair], 8)[0][0, :, 0, 0], np.arange(1, 9))
    blur, sharp = centre_crops(pairs(3), 8, multiple=2)
    assert blur.shape == sharp.shape == (4, 8, 8, 3)
    np.testing.assert_array_equal(blur[3], blur[0])


def write_pair(root, blur, sharp, name="train/gopro/s/{}/1.png"):
    write_png(root / name.format("blur"), np.zeros((*blur, 3), np.uint8))
    write_png(root / name.format("sharp"), np.zeros((*sharp, 3), np.uint8))


def test_pairs_that_cannot_train_are_named(tmp_path, capsys):
    with pytest.raises(UserError, match=r"no pair of at least 16x16 pixels in .*train"):
        load_pairs(tmp_path, "train", 16)
    write_pair(tmp_path, (20, 30), (20, 30))
    assert [pair.sharp.size for pair in load_pairs(tmp_path, "train", 16)] == [(20, 30)]
    write_pair(tmp_path, (40, 50), (40, 50), "train/unsplash/s/{}/2.png")
    assert [pair.sharp.size for pair in load_pairs(tmp_path, "train", 32)] == [(40, 50)]
    assert "train: 1 pairs are smaller than train.crop = 32 and left out" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"no pair of at least 64x64"):
        load_pairs(tmp_path, "train", 64)
    write_pair(tmp_path, (20, 30), (20, 29))
    with pytest.raises(UserError, match=r"1\.png and its sharp partner differ in size"):
        load_pairs(tmp_path, "train", 16)


def some_photo(size=(40, 50), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def write_some_of_both(root):
    """Two filmed pairs, and five photos with two pairs each."""
    for i in range(2):
        for half in ("blur", "sharp"):
            write_png(root / f"train/gopro/s/{half}/{i}.png", some_photo(seed=i))
    for photo in range(5):
        for i in range(2):
            write_png(root / f"train/unsplash/{photo}/blur/{i:04d}.png", some_photo(seed=10 * photo + i))
            write_png(root / f"train/unsplash/{photo}/sharp/{i:04d}.png", some_photo(seed=photo))


def test_the_blurred_halves_of_photos_that_are_blurred_anew_are_not_read(tmp_path):
    write_some_of_both(tmp_path)
    for path in (tmp_path / "train/unsplash").glob("*/blur/*"):
        path.write_bytes(b"nobody looks here")
    pairs = load_pairs(tmp_path, "train", 16, fresh=True)
    assert len(pairs) == 12
    names = [frame.path.relative_to(tmp_path / "train").as_posix() for frame in frames_of(pairs)]
    assert names == [
        *(f"gopro/s/{half}/{i}.png" for i in range(2) for half in ("blur", "sharp")),
        *(f"unsplash/{photo}/sharp/0000.png" for photo in range(5)),  # one for both of its pairs
    ]
    with pytest.raises(UserError, match=r"0000\.png cannot be decoded \(cannot identify image file"):
        load_pairs(tmp_path, "train", 16)


def test_tiles_of_a_photo_are_photos_of_their_own(tmp_path):
    for i in range(2):
        for tile in ("y00000x00000", "y00000x00032"):
            for half in ("blur", "sharp"):
                write_png(tmp_path / f"train/unsplash/a/{half}/{i:04d}_{tile}.png", some_photo(seed=len(tile)))
    assert len(frames_of(load_pairs(tmp_path, "train", 16, fresh=True))) == 2


@pytest.mark.parametrize("share", [0.5, 0.0])
def test_crops_are_the_same_from_memory_and_from_files(tmp_path, share, capsys):
    """Some frames in memory, all, or none; in whatever order the threads are done."""
    write_some_of_both(tmp_path)
    changes = {"photo_share": share, "fresh_blur": share > 0, "crop": 16, "steps": 12, "critic_steps": 2}
    settings = DEFAULT.model_copy(update=changes)
    batches, kept = [], []
    needed = 2 * 40 * 50 * 3 * len(frames_of(load_pairs(tmp_path, "train", 16, fresh=share > 0)))
    for free in (needed, needed // 2, 0):
        pairs = load_pairs(tmp_path, "train", 16, fresh=share > 0)
        keep_in_memory(pairs, 0, 16, free)
        crops = CropSequence(pairs, settings, 1, PARAMS.synthesize, threads=1 if free == needed else loader_threads())
        batches.append([crops[i] for i in (*range(12), 3, 0, 7)])
        kept.append(np.mean([frame.kept is not None for frame in frames_of(pairs)]))
    assert kept[0] == 1 > kept[1] > kept[2] == 0
    for other in batches[1:]:
        for one, two in zip(batches[0], other, strict=True):
            for a, b in zip(one, two, strict=True):
                np.testing.assert_array_equal(a, b)
    said = capsys.readouterr().out.splitlines()
    assert "stay in memory" not in said[0]
    assert " of them stay in memory, the others are decoded for each crop, slower" in said[1]
    assert "0.0 GB of free memory would hold all, or smaller frames (resize.mode, resize.width and" in said[1]


def test_frames_that_are_decoded_on_the_way_train_as_others_do(tmp_path, eager):
    """Over several epochs: Keras's own workers would begin with the first batch again in each."""
    write_some_of_both(tmp_path)
    weights = []
    for free in (10**9, 0):
        pairs = load_pairs(tmp_path, "train", 16)
        settings = DEFAULT.model_copy(update={"crop": 16, "steps": 6, "batch_size": 2})
        keep_in_memory(pairs, 0, 16, free)
        crops = CropSequence(pairs, settings, 1, PARAMS.synthesize, threads=loader_threads() if free else 1)
        gan = model(lambda_adversarial=0.0, steps=6)
        gan.fit(crops, epochs=3, steps_per_epoch=2, shuffle=False, verbose=0)
        weights.append(gan.generator.get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_damaged_frame_is_named_whenever_it_is_met(tmp_path, eager):
    write_some_of_both(tmp_path)
    path = tmp_path / "train/gopro/s/blur/0.png"
    path.write_bytes(path.read_bytes()[:3000])
    pairs = load_pairs(tmp_path, "train", 16)
    message = r"gopro/s/blur/0\.png cannot be decoded \(image file is truncated.*dvc repro resize"
    with pytest.raises(UserError, match=message):
        keep_in_memory(pairs, 0, 16, 10**9)
    crops = CropSequence(pairs[:1], DEFAULT.model_copy(update={"crop": 16}), 1, PARAMS.synthesize, threads=2)
    gan = model(lambda_adversarial=0.0, steps=6)
    with pytest.raises(Exception):  # noqa: B017  TensorFlow's own
        gan.fit(crops, steps_per_epoch=2, shuffle=False, verbose=0)
    with pytest.raises(UserError, match=message):
        raise crops.error


def test_too_little_memory_for_the_validation_is_one_line(tmp_path):
    write_some_of_both(tmp_path)
    with pytest.raises(UserError, match=r"1000 validation crops of 256x256 pixels take 0\.8 GB of memory, and 0\.5 GB"):
        keep_in_memory(load_pairs(tmp_path, "train", 16), 1000, 256, 500_000_000)


@pytest.mark.parametrize(
    ("line", "group", "files"),
    [
        ("0::/job/step", "job", {"memory.max": "5000", "memory.current": "3000", "memory.stat": "inactive_file 200"}),
        (
            "4:cpu,memory:/job",
            "memory/job",
            {
                "memory.limit_in_bytes": "5000",
                "memory.usage_in_bytes": "3000",
                "memory.stat": "total_inactive_file 200",
            },
        ),
    ],
)
def test_a_control_groups_limit_bounds_the_free_memory(tmp_path, line, group, files):
    own, unlimited = tmp_path / "own", free_memory(tmp_path / "nowhere", tmp_path / "nothing")
    own.write_text(f"7:pids:/\n{line}\n")
    assert unlimited > 1_000_000
    assert free_memory(tmp_path, own) > 1_000_000
    (tmp_path / group).mkdir(parents=True)
    for name, value in files.items():
        (tmp_path / group / name).write_text(value + "\n")
    assert free_memory(tmp_path, own) == 2200
    (tmp_path / group / next(iter(files))).write_text("max\n" if "memory.max" in files else f"{2**63}\n")
    assert free_memory(tmp_path, own) > 1_000_000


class Log:
    """DVCLive's part in the curves and pictures."""

    step = 0

    def __init__(self):
        self.pictures = {}

    def log_image(self, name, picture):
        self.pictures[name] = picture

    def log_metric(self, *_, **__):
        pass

    def make_summary(self):
        pass


def test_tensorboard_finds_the_curves_from_the_first_step_on(tmp_path):
    curves = Curves(Log(), 100, [{"loss": 3.0}], tmp_path / "run")
    curves.on_epoch_end(1, {"loss": 2.0, "val_psnr": 30.0})
    curves.board.close()
    (path,) = (tmp_path / "run").iterdir()
    data, found = path.read_bytes(), []
    while data:  # records: length, checksum, event, checksum
        size = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + size])
        found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
        data = data[16 + size :]
    assert found == [("train/loss", 100, 3), ("train/loss", 200, 2), ("val/psnr", 200, 30)]


def test_a_loss_that_is_not_finite_stops_the_training_at_its_step():
    watch = Divergence(100, 25.0, [])
    watch.on_epoch_begin(1)
    watch.on_train_batch_end(6, {"loss": 1.0})
    with pytest.raises(Diverged, match=r"training diverged: loss = nan by step 108; lower train\.learning_rate"):
        watch.on_train_batch_end(7, {"loss": float("nan")})
    with pytest.raises(Diverged, match="val_psnr = inf by step 200"):
        watch.on_epoch_end(1, {"loss": 1.0, "val_psnr": float("inf")})


def stops_at(input_psnr: float, *validated: float, before: tuple[float, ...] = ()) -> int | None:
    """At which validation a training stops; None: it does not."""
    watch = Divergence(10, input_psnr, [{"val_psnr": value} for value in before])
    for epoch, value in enumerate(validated):
        try:
            watch.on_epoch_end(epoch, {"val_psnr": value})
        except Diverged as error:
            assert f"validation is at {value:.1f} dB after step {10 * (epoch + 1)}, its blurred" in str(error)
            return epoch
    return None


def test_a_training_that_falls_far_below_its_input_stops():
    assert stops_at(24.0, 24.1, 23.0, 13.9) == 2
    assert stops_at(24.0, 7.0, before=(24.1,)) == 0  # what an earlier run has seen counts
    assert stops_at(24.0, 24.1, 15.0, 24.0) is None
    assert stops_at(60.0, 31.0, 28.0, 21.0) is None  # hardly blurred: nobody asks a network for 50 dB
    assert stops_at(60.0, 31.0, 28.0, 19.0) == 2


def test_a_training_from_random_weights_has_time_to_come_up():
    assert stops_at(24.0, 7.0, 8.1, 9.2, 10.3, 11.4, 12.5, 13.6, 20.0) is None
    assert stops_at(24.0, 7.0, 7.1, 7.0, 7.1, 7.2, 7.1, 7.1) == 5


def test_a_step_that_breaks_the_generator_stops_a_real_training_at_once(eager):
    gan = model(lambda_adversarial=0.0, steps=6, learning_rate=0.001)
    step = gan.train_step

    def breaking(batch):
        logs = step(batch)
        return {
            name: value / tf.cast(gan.generator_optimizer.iterations < 3, "float32") for name, value in logs.items()
        }

    gan.train_step = breaking
    watch = Divergence(6, 20.0, [])
    with pytest.raises(Diverged, match="by step 3;"):
        gan.fit(sequence_of(), epochs=1, steps_per_epoch=6, shuffle=False, verbose=0, callbacks=[watch])


def test_a_photo_is_enlarged_in_parts_as_it_is_whole():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    whole = np.asarray(Image.fromarray(image).resize((45, 31), Image.Resampling.BICUBIC))
    for box in ((0, 0, 45, 31), (3, 5, 20, 31), (30, 0, 45, 9)):
        left, top, right, bottom = box
        np.testing.assert_allclose(_enlarged(image, (45, 31), box).astype(int), whole[top:bottom, left:right], atol=1)


def test_a_new_training_removes_what_finished_ones_left_but_for_those_at_work(tmp_path, monkeypatch):
    monkeypatch.setenv("DEBLURGAN_CACHE", str(tmp_path))
    folders = [tmp_path / "train" / name for name in ("finished", "at_work", "killed")]
    for folder in folders:
        folder.mkdir(parents=True)
    for folder in folders[:2]:
        (folder / "done").touch()
    with locked(folders[1].with_suffix(".lock")), scratch("mine") as mine:
        assert mine.is_dir()
        assert [folder.is_dir() for folder in folders] == [False, True, True]
    with pytest.raises(UserError, match="another process runs this training"), scratch("mine"), scratch("mine"):
        pass


def test_what_is_left_of_killed_trainings_goes_after_four_weeks(tmp_path, monkeypatch):
    monkeypatch.setenv("DEBLURGAN_CACHE", str(tmp_path))
    for name, weeks in (("recent", 3), ("old", 5), ("mine", 5), ("at_work", 5)):
        folder = tmp_path / "train" / name
        folder.mkdir(parents=True)
        for file in ("checkpoint.npz", ".checkpoint.npz.0123abcd.partial"):
            (folder / file).touch()
        changed = time.time() - weeks * 7 * 86400
        os.utime(folder, (changed, changed))
    with locked(tmp_path / "train/at_work.lock"), scratch("mine") as mine:
        assert sorted(path.name for path in mine.parent.iterdir() if path.is_dir()) == ["at_work", "mine", "recent"]
        assert [path.name for path in mine.iterdir()] == ["checkpoint.npz"]


def two_checkpoints(folder) -> DeblurGAN:
    """Of one epoch, whose first weight is 1, and of two, whose first weight is 2."""
    gan, kept = model(), TrainingState(restored={0: np.zeros((1, 4, 4, 3), np.uint8)})
    for epoch in (1, 2):
        gan.state[0].assign(np.full(gan.state[0].shape, epoch))
        kept.history.append({"loss": float(epoch), "val_psnr": 20.0 - epoch})
        save(folder, gan.state, kept)
    return gan


def test_the_best_generator_of_validation_survives_later_and_worse_ones(tmp_path):
    gan, kept = model(), TrainingState()
    checkpoint = Checkpoint(tmp_path, kept)
    checkpoint.set_model(gan)
    for epoch, found in enumerate([20.0, 22.0, 21.0, 22.0]):
        gan.averaged.set_weights([np.full(weight.shape, epoch) for weight in gan.averaged.weights])
        checkpoint.on_epoch_end(epoch, {"val_psnr": found})
    again = last_checkpoint(tmp_path, gan.state)
    assert again.best_logs == again.history[1]
    assert len(again.best) == len(gan.averaged.weights)
    assert all((weights == 1).all() for weights in again.best)
    assert gan.averaged.get_weights()[0].max() == 3  # the training itself goes on


@pytest.mark.parametrize("keep", ["best", "last"])
def test_what_is_kept_is_the_best_generator_or_the_last(workspace, monkeypatch, eager, keep):
    tiny = {"steps": 3, "validate_every": 1, "batch_size": 1, "crop": 16, "sample_at": [0], "keep": keep, "ema": 0.0}
    edit_params(workspace, {"train": {**tiny, "learning_rate": 0.5, "lambda_adversarial": 0.0}})
    write_training_data(workspace)
    seen = []

    class Watched(Checkpoint):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            seen.append((logs["val_psnr"], self.model.averaged.get_weights()))

    monkeypatch.setattr("deblurgan.training.run.Checkpoint", Watched)
    monkeypatch.setattr(Divergence, "FAR", 1000.0)
    stages.train.main()
    best = max(seen, key=lambda epoch: epoch[0])
    wanted = best if keep == "best" else seen[-1]
    assert best is not seen[-1]  # at such a rate
    assert json.loads((workspace / "metrics/train.json").read_text())["val_psnr"] == pytest.approx(wanted[0])
    for ours, theirs in zip(load_generator(workspace / "models/generator.keras").get_weights(), wanted[1], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def without_a_member(data: bytes) -> bytes:
    kept = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(kept, "w") as new:
        for name in old.namelist()[:-2]:
            new.writestr(name, old.read(name))
    return kept.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:],
        lambda data: data[:40] + bytes(60) + data[100:],
        without_a_member,
    ],
    ids=["truncated", "empty", "a flipped bit", "a torn header", "a missing member"],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(tmp_path, damage, capsys):
    gan = two_checkpoints(tmp_path)
    kept = last_checkpoint(tmp_path, gan.state)
    assert [(entry["loss"], kept.values[0].max()) for entry in kept.history[-1:]] == [(2, 2)]
    assert kept.restored[0].shape == (1, 4, 4, 3)
    assert capsys.readouterr().out == ""

    path = tmp_path / "checkpoint.npz"
    path.write_bytes(damage(path.read_bytes()))
    kept = last_checkpoint(tmp_path, gan.state)
    assert (len(kept.history), kept.values[0].max()) == (1, 1)
    assert re.fullmatch(rf"{path} is damaged \(.+\) and left out: training goes on from .+\n", capsys.readouterr().out)
    save(tmp_path, gan.state, kept)  # which does not push the good one out
    assert len(last_checkpoint(tmp_path, gan.state).history) == 1

    for name in ("checkpoint.npz", "before.npz"):
        (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
    assert last_checkpoint(tmp_path, gan.state) == TrainingState()
    assert f"{tmp_path / 'before.npz'} is damaged" in capsys.readouterr().out


@pytest.mark.parametrize("error", [OSError(errno.ESTALE, "Stale file handle"), MemoryError()], ids=repr)
def test_a_passing_error_of_the_system_costs_no_checkpoint(tmp_path, error, monkeypatch):
    gan = two_checkpoints(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(type(error)):
        patch.setattr(np, "load", lambda *_: (_ for _ in ()).throw(error))
        last_checkpoint(tmp_path, gan.state)
    assert len(last_checkpoint(tmp_path, gan.state).history) == 2


def test_a_checkpoint_of_another_network_is_left_out(tmp_path, capsys):
    two_checkpoints(tmp_path)
    other = model(critic=CRITIC.model_copy(update={"filters": 8}))
    assert last_checkpoint(tmp_path, other.state) == TrainingState()
    assert "is damaged (it is of another network or optimizer)" in capsys.readouterr().out


def test_a_checkpoint_that_cannot_be_written_names_its_place_and_leaves_the_last(tmp_path):
    gan = two_checkpoints(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # a write fails, as on a full disk
    try:
        with pytest.raises(UserError) as error:
            save(tmp_path, gan.state, TrainingState())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert f"the checkpoint {tmp_path / 'checkpoint.npz'} cannot be written (File too large)" in str(error.value)
    assert "DEBLURGAN_CACHE" in str(error.value)
    assert len(last_checkpoint(tmp_path, gan.state).history) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["before.npz", "checkpoint.npz"]


def test_sample_pictures_of_a_training_in_parts_are_those_of_one_in_one_go():
    blur, sharp = (np.stack([some_photo((128, 128), seed) for seed in (k, k + 1)]) for k in (0, 2))

    def drawn(restored, steps, done):
        live = Log()
        samples = Samples(live, restored, blur, sharp, {0, 2, 4}, done)
        samples.set_model(mock.Mock(restored=lambda images: images // (1 + samples.step)))
        samples.on_train_begin()
        for batch in range(steps):
            samples.on_train_batch_end(batch)
        return live.pictures

    whole, restored = drawn({}, 4, 0), {}
    assert list(whole) == ["step_000000.png", "step_000002.png", "step_000004.png"]
    assert list(drawn(restored, 3, 0)) == list(whole)[:2]
    parts = drawn(restored, 1, 3)
    for name, picture in whole.items():
        np.testing.assert_array_equal(parts[name], picture)


def test_sample_pictures_say_what_they_show():
    """Each image keeps its pixels, and what is written above depends on step and PSNR."""
    blur, sharp = (some_photo((128, 128), seed)[None] for seed in (0, 1))
    one, other, later = (
        sample_picture(*given) for given in ((5, blur, blur, sharp), (5, blur, sharp, sharp), (6, blur, blur, sharp))
    )
    assert one.shape == (CAPTION + CAPTION + 128, 3 * 128 + 2 * 4, 3)
    np.testing.assert_array_equal(one[-128:, :128], blur[0])
    np.testing.assert_array_equal(other[-128:, 132:260], sharp[0])
    assert (one[:CAPTION] != later[:CAPTION]).any()
    assert (one[CAPTION:-128, 132:260] != other[CAPTION:-128, 132:260]).any()
    np.testing.assert_array_equal(one[CAPTION:-128, :128], other[CAPTION:-128, :128])


def named(tmp_path, monkeypatch, machine="this one", **changes) -> str:
    monkeypatch.setattr(backend, "facts", lambda: [machine])
    pairs, val = load_pairs(tmp_path, "train", 16, fresh=True), load_pairs(tmp_path, "train", 16)[:1]
    p = PARAMS.model_copy(update={"train": DEFAULT.model_copy(update=changes)})
    return run.training_name(p, pairs, val, None)


def test_a_training_is_named_by_its_data_parameters_and_code(tmp_path, monkeypatch):
    write_some_of_both(tmp_path)
    name = named(tmp_path, monkeypatch)
    assert name == named(tmp_path, monkeypatch)
    write_png(tmp_path / "train/unsplash/1/blur/0000.png", some_photo())  # no step reads it
    assert name == named(tmp_path, monkeypatch, vgg_weights="/elsewhere/unused.h5")
    names = {name, named(tmp_path, monkeypatch, steps=100), named(tmp_path, monkeypatch, "another")}
    write_png(tmp_path / "train/unsplash/1/sharp/0000.png", some_photo(seed=77))
    names.add(named(tmp_path, monkeypatch))
    monkeypatch.setattr(losses, "__file__", str(tmp_path / "losses.py"))
    for code in ("weight = 1\n", "weight = 2\n"):
        (tmp_path / "losses.py").write_text(code)
        names.add(named(tmp_path, monkeypatch))
    assert len(names) == 6
    (tmp_path / "losses.py").write_text('"""Words."""\nweight = 2  # more words\n')
    assert named(tmp_path, monkeypatch) in names


def test_a_training_goes_on_on_another_machine_unless_the_same_bytes_are_asked_for(tmp_path, monkeypatch):
    write_some_of_both(tmp_path)
    for deterministic in (True, False):
        one, other = (named(tmp_path, monkeypatch, m, deterministic=deterministic) for m in ("one", "other"))
        assert (one == other) != deterministic


def test_processors_differ_by_what_they_compute_with():
    """Not by flags that come and go with the kernel."""
    one = "model name\t: A\nflags\t: fpu sse2 avx2 fma\n"
    assert processors_in(one) == processors_in(one.replace("fpu", "fpu flush_l1d md_clear"))
    assert processors_in(one) != processors_in(one.replace("avx2", ""))
    assert processors_in(one) != processors_in(one.replace("A", "B"))


NOT_COMPUTING = {
    "__init__", "backend", "blur.__init__", "errors", "files", "layout", "machine", "memory",
    "networks.__init__", "networks.model_files", "parallel", "params", "pictures", "pretrained", "sampling",
    "training.__init__", "training.callbacks", "training.checkpoints", "training.devices", "training.frames",
    "training.revisions", "training.run", "yaml_files",
}  # fmt: skip


def test_all_code_of_a_training_either_makes_another_one_or_does_not():
    """A new module belongs into `COMPUTING` if it changes what a step computes."""
    used = {path.removeprefix("deblurgan/").removesuffix(".py").replace("/", ".") for path in closure("stages.train")}
    library = {name for name in used if not name.startswith("stages")}
    steps = {"training.step_tensorflow", "training.step_jax"}
    assert library == NOT_COMPUTING | set(run.COMPUTING) | steps


def write_training_data(root) -> None:
    """A pair of each split."""
    for split in ("train", "val"):
        for half in ("blur", "sharp"):
            write_png(root / f"data/resized/{split}/gopro/s/{half}/1.png", some_photo(seed=len(half)) // 4 + 96)


def test_a_training_that_diverges_keeps_its_last_good_generator(workspace, monkeypatch, eager):
    write_training_data(workspace)
    changes = {"steps": 8, "validate_every": 2, "sample_at": [0], "lambda_adversarial": 0, "deterministic": False}
    edit_params(workspace, {"train": changes})

    built = []

    def broken_after_four_steps(*recipe):
        gan = build(*recipe)
        built.append(gan)
        measured = gan.validation_logs

        def falling(restored, sharp):
            logs = measured(restored, sharp)
            return {**logs, "psnr": logs["psnr"] - 20 * tf.cast(gan.generator_optimizer.iterations > 4, "float32")}

        gan.validation_logs = falling
        return gan

    monkeypatch.setattr(run, "build", broken_after_four_steps)
    for _ in range(2):  # a second run goes on from step 4, and says the same
        with pytest.raises(UserError, match=r"training diverged: validation is at .* dB after step 6, its") as error:
            stages.train.main()
        path = Path(re.search(r"train\.init_from=(\S+) begins with the generator after step 4 \(", str(error.value))[1])
        good, (*_, gan) = load_generator(path), built
        for variable, value in zip(gan.state, last_checkpoint(path.parent, gan.state).values, strict=True):
            variable.assign(value)
        for weight, averaged in zip(good.weights, gan.averaged.weights, strict=True):
            np.testing.assert_array_equal(weight, averaged)
    assert not (workspace / "models/generator.keras").exists()


def saturating(after: int):
    """`build` of a generator whose weights explode after so many steps: all that it restores is black or white."""

    def built(*recipe):
        gan = build(*recipe)
        update = gan._update_average

        def exploding():
            update()
            grow = tf.where(gan.generator_optimizer.iterations > after, 30.0, 1.0)
            for averaged, weight in zip(gan.averaged.weights, gan.generator.weights, strict=True):
                averaged.assign(tf.where(grow > 1, weight * grow, averaged))

        gan._update_average = exploding
        return gan

    return built


def test_a_generator_that_saturates_is_noticed_long_before_the_validation(workspace, monkeypatch):
    write_training_data(workspace)
    changes = {"steps": 120, "validate_every": 40, "sample_at": [0], "lambda_adversarial": 0, "deterministic": False}
    edit_params(workspace, {"train": {**changes, "init_from": None}, "generator": {"identity_start": True}})
    monkeypatch.setattr(Divergence, "EVERY", 5)
    monkeypatch.setattr(run, "build", saturating(after=47))
    said = (
        r"training diverged: 1 validation crops are at .* dB after step 60, their blurred input at .*after step 40 \("
    )
    with pytest.raises(UserError, match=said):
        stages.train.main()
    assert not (workspace / "models/generator.keras").exists()


class Restoring:
    """A model whose results are so many grey levels brighter than the blurred images, one after the other."""

    def __init__(self, *levels: int) -> None:
        self.levels = iter(levels)

    def restored(self, images: np.ndarray) -> np.ndarray:
        return images + np.uint8(next(self.levels))


def looks_that_stop(*levels: int) -> int | None:
    """At which look at the crops a training stops, whose results are so many grey levels off; None: it does not."""
    blur = np.full((2, 8, 8, 3), 100, np.uint8)
    watch = Divergence(10**6, 30.0, [], (blur, blur + np.uint8(8)))  # 30.1 dB
    watch.set_model(Restoring(*levels))
    watch.on_epoch_begin(0)
    for step in range(watch.EVERY * len(levels)):
        try:
            watch.on_train_batch_end(step, {"loss": 1.0})
        except Diverged:
            return (step + 1) // watch.EVERY
    return None


def test_a_look_at_a_few_crops_stops_what_stays_far_below_its_input():
    fine, low = 0, 100  # grey levels above the blurred image: 30 dB, 9 dB
    assert looks_that_stop(fine, low, low, low, low) == 4
    assert looks_that_stop(fine, low, low, fine, low, low, fine) is None  # for a moment it may
    assert looks_that_stop(*[low] * 60) == Divergence.LOOKS + 1  # from random weights, it does not come up
    assert looks_that_stop(*range(100, 40, -1)) is None


def test_looking_changes_nothing(workspace, monkeypatch):
    write_training_data(workspace)
    found = []
    for every in (1, 10**9):
        edit_params(workspace, {"train": {"steps": 4, "validate_every": 2, "init_from": None, "lambda_adversarial": 0}})
        monkeypatch.setattr(Divergence, "EVERY", every)
        monkeypatch.setenv("DEBLURGAN_CACHE", str(workspace / f"cache {every}"))
        stages.train.main()
        found.append({**contents("models"), **contents("metrics/train")})
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("changes", "environment", "found", "said"),
    [
        ({"jit": True}, {}, 1, "train.jit has no effect on TensorFlow with train.deterministic: set one of them to"),
        (
            {"jit": True, "deterministic": False}, {}, 2,
            "train.jit works with one device on TensorFlow, not with 2: set it to false, hide the others "
            "(CUDA_VISIBLE_DEVICES), or set KERAS_BACKEND=jax",
        ),
        (
            {}, {"KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}, 1,
            "KERAS_DISTRIBUTION_NUM_PROCESSES is set, but several hosts train together on JAX only: set "
            "KERAS_BACKEND=jax",
        ),
    ],
)  # fmt: skip
def test_what_devices_and_hosts_cannot_do_on_tensorflow_is_said(
    workspace, monkeypatch, changes, environment, found, said
):
    edit_params(workspace, {"train": changes})
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    listed = tf.config.list_logical_devices
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: listed(kind) * found)
    monkeypatch.setattr("deblurgan.training.devices._spread_over", lambda _: contextlib.nullcontext())
    with pytest.raises(UserError, match=f"^{re.escape(said)}"):
        stages.train.main()


def test_hosts_that_do_not_find_each_other_are_one_line(workspace):
    hosts = {"KERAS_DISTRIBUTION_NUM_PROCESSES": "2", "KERAS_DISTRIBUTION_PROCESS_ID": "first"}
    env = {**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "jax", **hosts}
    done = subprocess.run([sys.executable, "-m", "stages.train"], env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "train: error: hosts do not find each other, see KERAS_DISTRIBUTION_NUM_PROCESSES, "
        "KERAS_DISTRIBUTION_JOB_ADDRESSES, KERAS_DISTRIBUTION_PROCESS_ID: invalid literal for int() with base 10: "
        "'first'\n"
    )
