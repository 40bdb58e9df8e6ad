"""The stages of dvc.yaml, each run as `python -m stages.<name>` from the root of the repository."""

import os

# TensorFlow reads these when it is first imported. oneDNN's kernels are on by default only on some processors;
# on the others the convolutions of a training step take about twice as long.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
