"""The tab that compares trainings."""

import gradio as gr


def build(page: gr.Blocks) -> None:
    """Lay it out."""
    gr.Markdown("soon")
