"""The pretrained generator, which comes with the project."""

from pathlib import Path

PRETRAINED = Path(__file__).parents[1] / "pretrained" / "generator.keras"
"""Its model card lies beside it, and the same network as an ONNX file."""
