"""Training: pairs and a recipe in, a generator out.

Read `run` (a training as a whole) first, then `gan` (what one step computes), `losses`, and one of `step_tensorflow`
and `step_jax` (how gradients are taken). Data: `frames` (what stays in memory), `augmentation` (what is drawn for a
crop) and `batches`. Around it: `optimizers`, `callbacks` (what a person watches), `checkpoints`, `devices` (several
GPUs and hosts), `revisions` (generators of commits).
"""

from deblurgan import backend  # noqa: F401  imports Keras without its start-up notes, before any module here does
