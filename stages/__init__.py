"""The stages of dvc.yaml, one script each."""

from deblurgan.errors import keep_interrupts_short

keep_interrupts_short()
