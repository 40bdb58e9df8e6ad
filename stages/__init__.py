"""The stages of dvc.yaml, one script each."""

from deblurgan.errors import keep_starts_short

keep_starts_short()
