"""The training step, the schedule, the crops and what is watched."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT

from deblurgan import losses
from deblurgan.callbacks import Curves
from deblurgan.datasets import CropSequence, centre_crops, load_pairs, random_crops
from deblurgan.errors import UserError
from deblurgan.images import to_float, write_png
from deblurgan.metrics import psnr
from deblurgan.models import build_critic, build_generator
from deblurgan.params import Critic, Generator, load
from deblurgan.training import DeblurGAN, Trapezoid

GENERATOR = Generator(filters=4, blocks=1, norm="none", dropout=0.0, identity_start=True)
CRITIC = Critic(filters=4, layers=1, norm="instance", conditional=True)
DEFAULT = load(ROOT / "params.yaml").train


def model(features=None, critic=CRITIC, **changes) -> DeblurGAN:
    settings = DEFAULT.model_copy(update={"steps": 10, "lambda_adversarial": 1.0, **changes})
    networks = build_generator(GENERATOR, 1), build_critic(critic, 1), build_generator(GENERATOR, 1)
    gan = DeblurGAN(*networks, settings, features, seed=1)
    gan.compile()
    return gan


def batch(critic_steps=1, count=2, seed=0):
    rng = np.random.default_rng(seed)
    sharp = rng.uniform(-1, 1, (critic_steps, count, 16, 16, 3)).astype(np.float32)
    return tf.constant(sharp * 0.5), tf.constant(sharp)


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
    assert set(logs) == {"loss", "pixel", "g_adversarial", "d_wasserstein", "d_penalty"}
    assert all(np.isfinite(float(value)) for value in logs.values())


def test_the_first_step_reports_the_losses_as_defined():
    gan = model()
    blur, sharp = batch()
    real, fake = (np.asarray(gan.critic([blur[0], x])) for x in (sharp[0], blur[0]))  # identity start: output = input
    logs = gan.train_step((blur, sharp))
    assert float(logs["pixel"]) == pytest.approx(np.abs(blur - sharp).mean(), rel=1e-5)
    assert float(logs["loss"]) == pytest.approx(DEFAULT.lambda_pixel * float(logs["pixel"]), rel=1e-5)
    assert float(logs["d_wasserstein"]) == pytest.approx(float(losses.critic_wasserstein(real, fake)), rel=1e-4)


def with_linear_critic(**changes) -> DeblurGAN:
    """A model whose critic scores an image by its inner product with one kernel of its size."""
    blurred, judged = keras.Input((16, 16, 3)), keras.Input((16, 16, 3))
    score = keras.layers.Conv2D(1, 16, use_bias=False, kernel_initializer=keras.initializers.RandomNormal(seed=1))
    critic = keras.Model([blurred, judged], score(judged))
    settings = DEFAULT.model_copy(update={"steps": 100, "warmup": 0.0, "lambda_adversarial": 1.0, **changes})
    gan = DeblurGAN(build_generator(GENERATOR, 1), critic, build_generator(GENERATOR, 1), settings, seed=1)
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
    blur, sharp = batch()
    scores = []
    for _ in range(5):
        scores.append(float(np.mean(gan.critic([blur[0], gan.generator(blur[0])]))))
        gan.reset_metrics()
        assert float(gan.train_step((blur, sharp))["g_adversarial"]) == pytest.approx(-scores[-1], abs=1e-4)
    assert scores == sorted(scores)
    assert scores[-1] > scores[0]


def test_without_adversarial_weight_the_critic_rests():
    gan = model(lambda_adversarial=0.0)
    before = gan.critic.get_weights()
    assert set(gan.train_step(batch())) == {"loss", "pixel"}
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
    blur, sharp = batch()
    logs = gan.train_step((blur, sharp))
    expected = np.square(features(blur[0]) - features(sharp[0])).mean()
    assert float(logs["content"]) == pytest.approx(expected, rel=1e-5)
    assert float(logs["loss"]) == pytest.approx(3 * expected, rel=1e-5)


def test_validation_measures_psnr_as_it_is_defined():
    rng = np.random.default_rng(0)
    blur, sharp = (rng.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8) for _ in range(2))
    gan = model()
    logs = gan.evaluate(to_float(blur), to_float(sharp), batch_size=2, verbose=0, return_dict=True)
    expected = np.mean([psnr(a, b) for a, b in zip(blur, sharp, strict=True)])  # over images, though batches differ
    assert logs["psnr"] == pytest.approx(expected, abs=1e-4)


def test_two_runs_give_the_same_weights():
    def run():
        gan = model()
        gan.fit(sequence_of(crop=16, critic_steps=1), epochs=2, steps_per_epoch=3, shuffle=False, verbose=0)
        return gan.averaged.get_weights()

    for a, b in zip(run(), run(), strict=True):
        np.testing.assert_array_equal(a, b)


def pairs(count=3, height=24, width=30):
    rng = np.random.default_rng(5)
    return [tuple(rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)) for _ in range(count)]


def sequence_of(kind=CropSequence, **changes):
    arguments = {"seed": 1, "steps": 6, "batch_size": 2, "critic_steps": 2, "crop": 8, "flip": True, **changes}
    return kind(pairs(), **arguments)


def test_crops_are_a_function_of_seed_and_step():
    items = np.array([sequence_of()[step] for step in range(6)])
    assert items.shape == (6, 2, 2, 2, 8, 8, 3)
    assert np.abs(items).max() <= 1
    assert len(np.unique(items.reshape(6, -1), axis=0)) == 6
    np.testing.assert_array_equal(items[::-1], [sequence_of(steps=9)[step] for step in reversed(range(6))])
    assert (items != [sequence_of(seed=2)[step] for step in range(6)]).any()


def test_fit_sees_each_step_once_and_in_order():
    seen = []

    class Spy(CropSequence):
        def __getitem__(self, step):
            blur, sharp = super().__getitem__(step)
            return blur * 0 + np.float32(step / 100), sharp

    gan = model(lambda_adversarial=0.0, steps=6)
    step = gan.train_step

    def watched(batch):
        tf.py_function(lambda x: seen.append(round(float(x) * 100)), [batch[0][0, 0, 0, 0, 0]], [])
        return step(batch)

    gan.train_step = watched
    gan.fit(sequence_of(Spy), epochs=3, steps_per_epoch=2, shuffle=False, verbose=0)
    assert seen == [0, 1, 2, 3, 4, 5]


def test_both_halves_are_cut_alike():
    sharp = np.random.default_rng(0).integers(0, 200, (20, 20, 3), dtype=np.uint8)
    blur, cut = random_crops([(sharp + 50, sharp)], np.random.default_rng(1), 20, 8, flip=True)
    np.testing.assert_allclose(blur - cut, 50 / 127.5, atol=1e-5)
    places = np.lib.stride_tricks.sliding_window_view(to_float(sharp), (8, 8, 3)).reshape(-1, 8, 8, 3)
    for crop in cut:
        assert any(np.array_equal(crop, p) or np.array_equal(crop[:, ::-1], p) for p in places)


def test_every_pixel_can_be_cut_and_centre_crops_are_central():
    rows = np.arange(10, dtype=np.uint8)[:, None, None] * np.ones((1, 10, 3), np.uint8)
    blur, _ = random_crops([(rows, rows)], np.random.default_rng(0), 200, 8, flip=False)
    tops = np.rint((blur[:, 0, 0, 0] + 1) * 127.5)
    assert set(tops) == {0, 1, 2}
    np.testing.assert_allclose((centre_crops([(rows, rows)], 8)[0][0, :, 0, 0] + 1) * 127.5, np.arange(1, 9), atol=1e-4)


def write_pair(root, blur, sharp, name="train/gopro/s/{}/1.png"):
    write_png(root / name.format("blur"), np.zeros((*blur, 3), np.uint8))
    write_png(root / name.format("sharp"), np.zeros((*sharp, 3), np.uint8))


def test_pairs_that_cannot_train_are_named(tmp_path, capsys):
    with pytest.raises(UserError, match=r"no pair of at least 16x16 pixels in .*train"):
        load_pairs(tmp_path, "train", 16)
    write_pair(tmp_path, (20, 30), (20, 30))
    assert [image.shape for image in load_pairs(tmp_path, "train", 16)[0]] == [(20, 30, 3)] * 2
    write_pair(tmp_path, (40, 50), (40, 50), "train/gopro/s/{}/2.png")
    assert [pair[0].shape for pair in load_pairs(tmp_path, "train", 32)] == [(40, 50, 3)]
    assert "train: 1 pairs are smaller than train.crop = 32 and left out" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"no pair of at least 64x64"):
        load_pairs(tmp_path, "train", 64)
    write_pair(tmp_path, (20, 30), (20, 29))
    with pytest.raises(UserError, match=r"1\.png and its sharp partner differ in size"):
        load_pairs(tmp_path, "train", 16)


def test_a_diverged_training_stops_with_one_line():
    class Log:
        step = 0

        def log_metric(self, *_, **__):
            pass

        def make_summary(self):
            pass

    curves = Curves(Log())
    curves.set_model(model())
    curves.on_epoch_end(0, {"loss": 1.0})
    with pytest.raises(UserError, match=r"training diverged: loss = nan by step 0; lower train\.learning_rate"):
        curves.on_epoch_end(1, {"loss": float("nan")})
