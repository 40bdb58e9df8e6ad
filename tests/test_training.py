"""The training step, the schedule, the crops and what is watched."""

import os
import shutil
import subprocess
import sys
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import PARAMS as OWN
from conftest import ROOT, SMALL, edit_params
from PIL import Image
from tensorboardX.proto.event_pb2 import Event

from deblurgan import losses
from deblurgan.blur.convolution import blur_image
from deblurgan.blur.trajectory import random_blur
from deblurgan.callbacks import Curves
from deblurgan.checkpoints import scratch
from deblurgan.datasets import CropSequence, Images, _enlarged, centre_crops, load_pairs, random_crop
from deblurgan.errors import UserError
from deblurgan.files import locked
from deblurgan.images import to_float, write_png
from deblurgan.metrics import psnr
from deblurgan.models import build_critic, build_generator
from deblurgan.params import Critic, load
from deblurgan.training import DeblurGAN, Trapezoid

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
    keep = 1 / 11  # min(ema, step / (step + 10)) at step 1
    for a, b, c in zip(start, gan.generator.get_weights(), gan.averaged.get_weights(), strict=True):
        np.testing.assert_allclose(c, keep * a + (1 - keep) * b, atol=1e-6)


def test_a_content_loss_uses_the_features():
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


def test_two_runs_give_the_same_weights():
    def run():
        gan = model()
        gan.fit(sequence_of(crop=16, critic_steps=1), epochs=2, steps_per_epoch=3, shuffle=False, verbose=0)
        return gan.averaged.get_weights()

    for a, b in zip(run(), run(), strict=True):
        np.testing.assert_array_equal(a, b)


def pairs(count=3, height=24, width=30, drawn=False):
    rng = np.random.default_rng(5)
    return [Images(rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8), drawn) for _ in range(count)]


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


def test_fit_sees_each_step_once_and_in_order():
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
        blur, crop = random_crop(Images(np.stack([sharp + 50, sharp])), rng, ALL_WAYS)
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
    crops = [random_crop(Images(np.stack([sharp, sharp])), np.random.default_rng(n), ALL_FLIPS)[0] for n in range(20)]
    assert all((np.diff(crop[:, 0, 0].astype(int)) == 1).all() for crop in crops)


ALL_FLIPS = DEFAULT.model_copy(update={"crop": 8})


@pytest.mark.parametrize("size", [(40, 60), (33, 32)])
def test_a_fresh_blur_is_that_of_the_whole_photo(size):
    """At the photo's borders, too; and each crop's is another one."""
    sharp = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    draw = PARAMS.synthesize.model_copy(update={"noise": 0.0, "length": (20.0, 20.0)})
    settings, kernels = DEFAULT.model_copy(update={"crop": 32, "flip": False, "zoom": 1.0}), []

    def remembered(rng, **options):
        kernels.append(random_blur(rng, **options))
        return kernels[-1]

    with mock.patch("deblurgan.datasets.random_blur", remembered):
        for n in range(10):
            blur, crop = random_crop(
                Images(np.stack([sharp * 0, sharp]), True), np.random.default_rng(n), settings, draw
            )
            top, left = np.argwhere((windows(sharp, 32) == crop).all(axis=(2, 3, 4)))[0]
            whole = blur_image(sharp, kernels[-1].kernel)[top : top + 32, left : left + 32]
            np.testing.assert_allclose(blur, np.rint(whole), atol=1)  # transforms of other sizes round otherwise
            assert (blur == np.rint(whole)).mean() > 0.999
    assert len({blur.kernel.tobytes() for blur in kernels}) == 10


def windows(image, size):
    return np.lib.stride_tricks.sliding_window_view(image, (size, size, 3))[:, :, 0]


def test_a_share_of_the_crops_is_blurred_anew():
    """Photos whose blur was drawn, that is, and never filmed pairs, whose blur nobody can draw."""
    filmed, drawn = np.full((2, 20, 20, 3), 10, np.uint8), np.full((2, 20, 20, 3), 200, np.uint8)
    drawn[0] = 0  # what a new blur replaces
    small = DEFAULT.model_copy(update={"batch_size": 50, "crop": 8, "steps": 10})

    def seen(pairs, share):
        crops = CropSequence(pairs, small.model_copy(update={"fresh_blur": share}), 1, PARAMS.synthesize)
        return np.array([[batch[0][:, 0, 4, 4, 0], batch[1][:, 0, 4, 4, 0]] for batch in crops])

    both = [Images(filmed), Images(drawn, drawn=True), Images(drawn, drawn=True)]
    blur, sharp = seen(both, 0.9).swapaxes(0, 1)
    assert 0.8 < (sharp == 200).mean() < 0.97
    assert (blur[sharp == 200] > 150).all()
    blur, sharp = seen(both, 0.0).swapaxes(0, 1)
    assert 0.5 < (sharp == 200).mean() < 0.8  # two of three pairs
    assert (blur[sharp == 200] == 0).all()
    assert (seen(both[:1], 0.9) == 10).all()
    assert (seen(both[1:], 0.5)[:, 0] > 150).all()


def test_every_pixel_can_be_cut_and_centre_crops_are_central():
    rows = np.arange(10, dtype=np.uint8)[:, None, None] * np.ones((1, 10, 3), np.uint8)
    pair, rng = Images(np.stack([rows, rows])), np.random.default_rng(0)
    assert {int(random_crop(pair, rng, ALL_FLIPS)[0, 0, 0, 0]) for _ in range(200)} == {0, 1, 2}
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
    assert [pair.both.shape for pair in load_pairs(tmp_path, "train", 16)] == [(2, 20, 30, 3)]
    write_pair(tmp_path, (40, 50), (40, 50), "train/unsplash/s/{}/2.png")
    assert [(pair.both.shape, pair.drawn) for pair in load_pairs(tmp_path, "train", 32)] == [((2, 40, 50, 3), True)]
    assert "train: 1 pairs are smaller than train.crop = 32 and left out" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"no pair of at least 64x64"):
        load_pairs(tmp_path, "train", 64)
    write_pair(tmp_path, (20, 30), (20, 29))
    with pytest.raises(UserError, match=r"1\.png and its sharp partner differ in size"):
        load_pairs(tmp_path, "train", 16)


class Log:
    """DVCLive's part in the curves."""

    step = 0

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


def test_a_diverged_training_stops_with_one_line():
    curves = Curves(Log(), 100, [])
    curves.on_epoch_end(0, {"loss": 1.0})
    with pytest.raises(UserError, match=r"training diverged: loss = nan by step 200; lower train\.learning_rate"):
        curves.on_epoch_end(1, {"loss": float("nan")})


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
    with pytest.raises(UserError, match="another process is at this training"), scratch("mine"), scratch("mine"):
        pass


TWO_DEVICES = (
    "from stages.train import main, reported; import tensorflow as tf; "
    "parts = [tf.config.LogicalDeviceConfiguration()] * 2; "
    "tf.config.set_logical_device_configuration(tf.config.list_physical_devices('CPU')[0], parts)\n"
    "with reported('train'): main()"
)


@pytest.mark.parametrize(
    ("changes", "env", "start", "said"),
    [
        (
            {"jit": True}, {}, ["-m", "stages.train"],
            "train.jit has no effect on TensorFlow with train.deterministic: set one of them to false",
        ),
        (
            {"jit": True, "deterministic": False}, {}, ["-c", TWO_DEVICES],
            "train.jit works with one device on TensorFlow, not with 2: set it to false, hide the others "
            "(CUDA_VISIBLE_DEVICES), or set KERAS_BACKEND=jax",
        ),
        (
            {}, {"KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}, ["-m", "stages.train"],
            "KERAS_DISTRIBUTION_NUM_PROCESSES is set, but several hosts train together on JAX only: set "
            "KERAS_BACKEND=jax",
        ),
        (
            {}, {
                "KERAS_BACKEND": "jax", "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
                "KERAS_DISTRIBUTION_PROCESS_ID": "first",
            }, ["-m", "stages.train"],
            "hosts do not find each other, see KERAS_DISTRIBUTION_NUM_PROCESSES, KERAS_DISTRIBUTION_JOB_ADDRESSES, "
            "KERAS_DISTRIBUTION_PROCESS_ID: invalid literal for int() with base 10: 'first'",
        ),
    ],
)  # fmt: skip
def test_what_devices_and_hosts_cannot_do_is_one_line(tmp_path, changes, env, start, said):
    shutil.copy(OWN, tmp_path / "params.yaml")
    edit_params(tmp_path, {"train": changes})
    env = {**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "tensorflow", **env}
    done = subprocess.run([sys.executable, *start], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == f"train: error: {said}\n"
