"""The page: its tab for photos, and the tab for trainings."""

import html
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from deblurgan.app import words
from deblurgan.app.batch import Batch
from deblurgan.app.choices import choices
from deblurgan.app.folders import Folders
from deblurgan.app.process import Process
from deblurgan.app.trainings_tab import TrainingsTab
from deblurgan.app.worker import Restored
from deblurgan.errors import explained
from deblurgan.restoration.tiles import MEMORY

MOST = 1000
"""Photos that can be handed in together: as many as Gradio takes in one upload."""
QUEUE = 50
"""Batches that can wait."""

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""Of events that are the page's own."""


class PhotosTab:
    """Photos in, photos out.

    Parameters
    ----------
    folders
        Where results go.
    process
        What restores.
    memory
        Budget of a photo's restoration, GB.
    examples
        Photos to try.
    """

    def __init__(self, folders: Folders, process: Process, memory: float, examples: list[Path]) -> None:
        self.folders, self.process, self.memory, self.examples = folders, process, memory, examples
        self.batches: dict[str, Batch] = {}
        self.build()

    def build(self) -> None:
        """Lay the tab out."""
        offered = choices()
        first = next(iter(offered.values()))
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                self.photos = gr.File(label="Photos", file_count="multiple", height=190, elem_id="photos")
                if self.examples:
                    self.samples = gr.Dataset(
                        components=[gr.Image(visible=False)],
                        samples=[[str(path)] for path in self.examples],
                        label="Examples",
                        elem_id="examples",
                    )
                self.model = gr.Dropdown(list(offered), value=first.name, label="Restore with", elem_id="model")
                self.about = gr.Markdown(first.about, elem_id="about")
                self.strength = gr.Slider(0, 1, 1, step=0.05, label="Strength", elem_id="strength")
                with gr.Accordion("More options", open=False):
                    self.skip_sharp = gr.Checkbox(
                        label="Leave photos that do not look blurred as they are (--skip-sharp)", elem_id="skip-sharp"
                    )
                    self.ensemble = gr.Checkbox(
                        label="Average eight positions: slightly better, eight times as long (--ensemble)",
                        elem_id="ensemble",
                    )
                with gr.Row():
                    self.start = gr.Button("Deblur", variant="primary", elem_id="start")
                    self.stop = gr.Button("Cancel", interactive=False, elem_id="stop")
                self.status = gr.HTML(elem_id="status", elem_classes="status")
            with gr.Column(scale=3, min_width=300):
                self.slider = gr.ImageSlider(
                    label="Before and after",
                    interactive=False,
                    max_height=560,
                    elem_id="slider",
                    buttons=["fullscreen"],
                )
                self.shown = gr.Radio(label="Photo", visible=False, elem_id="shown", elem_classes="shown")
                with gr.Row():
                    self.download = gr.DownloadButton("Download", visible=False, elem_id="download")
                    self.download_all = gr.DownloadButton("Download all (zip)", visible=False, elem_id="download-all")
                self.outcomes = gr.HTML(elem_id="outcomes", elem_classes="outcomes")
                self.command = gr.HTML(elem_id="command", elem_classes="command")

    def wire(self, page: gr.Blocks) -> None:
        """Say what happens when."""
        if self.examples:
            self.samples.click(self.take_example, self.samples, self.photos, **PRIVATE)
        self.model.change(self.describe, self.model, [self.about, self.ensemble], queue=False, **PRIVATE)
        views = [
            self.status, self.outcomes, self.shown, self.slider, self.download, self.download_all, self.command,
            self.start, self.stop,
        ]  # fmt: skip
        self.start.click(self.hold, self.photos, None, queue=False, **PRIVATE)
        running = self.start.click(
            self.run,
            [self.photos, self.model, self.strength, self.skip_sharp, self.ensemble],
            views,
            concurrency_limit=1,
            api_visibility="private",
            show_progress="minimal",
            show_progress_on=self.status,
        )
        self.stop.click(self.cancel, None, [self.status, self.start, self.stop], queue=False, **PRIVATE)
        self.shown.input(self.show, self.shown, [self.slider, self.download], queue=False, **PRIVATE)
        page.load(self.refresh, None, self.model, **PRIVATE)
        page.unload(self.leave)
        self.running = running

    def take_example(self, sample: list[str]) -> list[str]:
        """Hand in an example."""
        (path,) = sample
        return [path["path"] if isinstance(path, dict) else path]

    def refresh(self) -> Any:
        """Offer the models that are there now."""
        names = list(choices())
        return gr.update(choices=names, value=names[0])

    def describe(self, name: str) -> tuple[str, Any]:
        """Say something about a model."""
        choice = choices().get(name)
        if choice is None:
            return "", gr.skip()
        return choice.about, gr.update(interactive=True) if choice.neural else gr.update(interactive=False, value=False)

    def hold(self, photos: list[str] | None, request: gr.Request) -> None:
        """Keep uploads while their batch waits for its turn."""
        self.folders.hold(str(request.session_hash), map(Path, (photos or [])[:MOST]))

    def run(
        self,
        photos: list[str] | None,
        name: str,
        strength: float,
        skip_sharp: bool,
        ensemble: bool,
        request: gr.Request,
    ) -> Iterator[dict[Any, Any]]:
        """Restore a batch, and show how far it is."""
        session = str(request.session_hash)
        if not photos:
            yield {self.status: "<p role='alert'>Choose a photo first, or click an example.</p>"}
            return
        choice = choices().get(name)
        if choice is None:
            yield {self.status: "<p role='alert'>This model is gone: reload the page.</p>"}
            return
        arguments = [*choice.arguments]
        arguments += ["--strength", f"{strength:g}"] if strength != 1 else []
        arguments += ["--skip-sharp"] if skip_sharp else []
        arguments += ["--ensemble"] if ensemble and choice.neural else []
        arguments += ["--memory", f"{self.memory:g}"] if self.memory != MEMORY else []
        self.folders.drop(session)
        folder = self.folders.new(session)
        self.folders.hold(session, [folder])
        try:
            batch = Batch([Path(photo) for photo in photos[:MOST]], folder, tuple(arguments), threading.Event())
            self.batches[session] = batch
            yield self._begun(batch)
            yield from self._shown_while_restored(batch)
            yield self._ended(batch)
        except FileNotFoundError as error:
            yield self._failed(f"{Path(error.filename or '').name} is no longer here: choose the photos again")
        except OSError as error:
            yield self._failed(explained(error))
        except Exception:
            yield self._failed("The page has failed: its terminal says how.")
            raise
        finally:
            self.folders.release(session)

    def _shown_while_restored(self, batch: Batch) -> Iterator[dict[Any, Any]]:
        shown, said, table = None, "", ""
        for item in batch.run(self.process):
            changed: dict[Any, Any] = {}
            if (new := words.status(batch)) != said:
                changed[self.status] = said = new
            if (new := words.outcomes(batch)) != table:
                changed[self.outcomes] = table = new
            if item is not None and item in (found := [done for done, _ in batch.restored]):
                shown = found[0] if shown is None else shown
                changed |= self._views(batch, batch.items.index(shown))
            if changed:
                yield changed

    def _begun(self, batch: Batch) -> dict[Any, Any]:
        names = [item.name for item in batch.items]
        return {
            self.status: words.status(batch),
            self.outcomes: words.outcomes(batch),
            self.shown: gr.update(visible=False, choices=[], value=None),
            self.slider: None,
            self.download: gr.update(visible=False),
            self.download_all: gr.update(visible=False),
            self.command: words.command(names, batch.arguments),
            self.start: gr.update(interactive=False),
            self.stop: gr.update(interactive=True),
        }

    def _views(self, batch: Batch, number: int) -> dict[Any, Any]:
        """What shows a photo of a batch, and which others there are."""
        names = [(item.name, batch.items.index(item)) for item, _ in batch.restored]
        slider, download = self._shown(batch, number)
        return {
            self.shown: gr.update(visible=len(names) > 1, choices=names, value=number),
            self.slider: slider,
            self.download: download,
        }

    def _shown(self, batch: Batch, number: int) -> tuple[Any, Any]:
        found = batch.items[number].outcome
        assert isinstance(found, Restored)
        label = f"Download {found.result.name}"
        return (str(found.before), str(found.after)), gr.update(value=str(found.result), label=label, visible=True)

    def _ended(self, batch: Batch) -> dict[Any, Any]:
        archive = batch.write_zip()
        return {
            self.status: words.status(batch),
            self.outcomes: words.outcomes(batch),
            self.download_all: gr.update(value=str(archive) if archive else None, visible=archive is not None),
            self.start: gr.update(interactive=True),
            self.stop: gr.update(interactive=False),
        }

    def _failed(self, reason: str) -> dict[Any, Any]:
        return {
            self.status: f"<p role='alert'>{html.escape(reason)}</p>",
            self.start: gr.update(interactive=True),
            self.stop: gr.update(interactive=False),
        }

    def show(self, number: int, request: gr.Request) -> tuple[Any, Any]:
        """Show another photo of the batch."""
        batch = self.batches.get(str(request.session_hash))
        if batch is None or number not in [batch.items.index(item) for item, _ in batch.restored]:
            return gr.skip(), gr.skip()
        return self._shown(batch, number)

    def cancel(self, request: gr.Request) -> tuple[Any, Any, Any]:
        """End a batch; what is done stays."""
        batch = self.batches.get(str(request.session_hash))
        if batch:
            batch.cancelled.set()
        return "<p role='status'>Cancelling ...</p>", gr.skip(), gr.update(interactive=False)

    def leave(self, request: gr.Request) -> None:
        """Forget a session whose page was closed."""
        session = str(request.session_hash)
        batch = self.batches.pop(session, None)
        if batch:
            batch.cancelled.set()
        self.folders.drop(session)


def build(folders: Folders, process: Process, memory: float, examples: list[Path]) -> gr.Blocks:
    """Lay the whole page out."""
    with gr.Blocks(title="Deblur photos", analytics_enabled=False, fill_width=True) as page:
        gr.Markdown("# Deblur photos\nEverything happens on the machine that this page comes from.")
        with gr.Tab("Photos", id="photos"):
            photos = PhotosTab(folders, process, memory, examples)
        with gr.Tab("Trainings", id="trainings") as tab:
            compared = TrainingsTab(folders)
        photos.wire(page)
        compared.wire(tab)
    return page.queue(max_size=QUEUE, default_concurrency_limit=1)
