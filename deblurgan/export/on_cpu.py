"""Imported before anything that imports Keras: exporting takes TensorFlow, whatever trained the generator.

Exported models are compared with TensorFlow on the CPU: a GPU computes with fewer digits.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
