"""The tab that compares trainings: scores over commits, loss curves, test panels under a slider."""

import html
from collections.abc import Sequence
from typing import Any

import gradio as gr

from deblurgan.app.folders import Folders
from deblurgan.app.trainings import Training, curves_of, panel, panels_of, trainings
from deblurgan.errors import UserError
from deblurgan.files import new_file

MEASURES = {
    "Gain in PSNR, dB": "psnr_gain",
    "PSNR, dB": "psnr",
    "Gain in SSIM": "ssim_gain",
    "SSIM": "ssim",
    "SSIM of papers": "ssim_3d",
    "Gain in PSNR of the network alone, dB": "network_psnr_gain",
}
CURVE = "val/psnr"
"""What is drawn first."""
COLOURS = ("#3b82f6", "#ea580c")
"""Of the two trainings: told apart in light and dark, and by those who see no red or green."""
QUICK: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": 1, "concurrency_id": "dvc"}


class TrainingsTab:
    """What is committed, compared.

    Parameters
    ----------
    folders
        Where pictures of panels go.
    """

    def __init__(self, folders: Folders) -> None:
        self.folders = folders
        self.build()

    def build(self) -> None:
        """Lay the tab out."""
        self.said = gr.HTML("<p>Reading commits ...</p>", elem_id="trainings-said")
        self.measure = gr.Dropdown(list(MEASURES), value="Gain in PSNR, dB", label="Score", elem_id="measure")
        self.plot = gr.LinePlot(
            x="training", y="score", x_title="commit", x_label_angle=-45, height=300, elem_id="scores", buttons=[]
        )
        self.table = gr.HTML(elem_id="scores-table", elem_classes="outcomes scores")
        with gr.Row():
            self.one = gr.Dropdown(label="One training", elem_id="one", min_width=280)
            self.other = gr.Dropdown(label="Another", elem_id="other", min_width=280)
        self.panel = gr.Radio(label="Test panel", visible=False, elem_id="panel", elem_classes="shown")
        self.slider = gr.ImageSlider(
            label="One, and another", interactive=False, elem_id="panels", visible=False, buttons=["fullscreen"]
        )
        self.panels_said = gr.HTML(elem_id="panels-said")
        self.curve = gr.Dropdown(label="Curve", elem_id="curve")
        self.curves = gr.LinePlot(
            x="step", y="value", color="training", x_title="generator step", height=300, elem_id="curves", buttons=[]
        )

    def wire(self, tab: gr.Tab) -> None:
        """Say what happens when."""
        pair = [self.one, self.other]
        views = [self.panel, self.slider, self.panels_said, self.curve, self.curves]
        tab.select(
            self.open, self.measure, [self.said, self.plot, self.table, *pair, *views], show_progress="hidden", **QUICK
        )
        self.measure.input(self.scores, self.measure, self.plot, show_progress="hidden", **QUICK)
        for choice in pair:
            choice.input(self.compare, [*pair, self.panel, self.curve], views, show_progress="hidden", **QUICK)
        self.panel.input(self.show_panel, [*pair, self.panel], [self.slider, self.panels_said], **QUICK)
        self.curve.input(self.draw, [*pair, self.curve], self.curves, show_progress="hidden", **QUICK)

    def open(self, measure: str) -> tuple[Any, ...]:
        """Read what is committed now."""
        try:
            found = trainings()
        except UserError as error:
            found, said = [], str(error)
        else:
            said = f"{len(found)} trainings whose scores are committed" if found else "No scores are committed yet."
        labels = [(training.label, training.rev) for training in reversed(found)]
        revs = [training.rev for training in found][-2:]
        one, other = (revs[0], revs[-1]) if revs else (None, None)
        return (
            f"<p>{html.escape(said)}</p>",
            self._scores(found, measure),
            table(found),
            gr.update(choices=labels, value=one),
            gr.update(choices=labels, value=other),
            *self.compare(one, other, None, None),
        )

    def scores(self, measure: str) -> Any:
        """Draw another score."""
        try:
            return self._scores(trainings(), measure)
        except UserError:
            return gr.skip()

    def _scores(self, found: Sequence[Training], measure: str) -> Any:
        import pandas

        name = MEASURES.get(measure, "psnr_gain")
        rows = [(training.name, training.scores[name]) for training in found if name in training.scores]
        frame = pandas.DataFrame(rows, columns=["training", "score"])
        return gr.update(value=frame, y_title=measure, sort=[row[0] for row in rows])

    def compare(self, one: str | None, other: str | None, name: str | None, curve: str | None) -> tuple[Any, ...]:
        """Show two trainings beside each other."""
        revs = [rev for rev in (one, other) if rev and self._known(rev)]
        names = sorted(set.intersection(*(set(panels_of(rev)) for rev in revs))) if revs else []
        name = name if name in names else next(iter(names), None)
        curves = sorted({curve for rev in revs for curve in curves_of(rev)})
        curve = curve if curve in curves else CURVE if CURVE in curves else next(iter(curves), None)
        said = ""
        if revs and not names:
            said = (
                "<p>The test panels of these two are not both on this machine: <code>dvc fetch -A</code> brings them. "
                "Nothing is fetched from here.</p>"
            )
        slider, problem = self.show_panel(one, other, name)
        return (
            gr.update(choices=[(name.removesuffix(".png"), name) for name in names], value=name, visible=bool(names)),
            slider,
            said or problem,
            gr.update(choices=curves, value=curve),
            self.draw(one, other, curve),
        )

    def show_panel(self, one: str | None, other: str | None, name: str | None) -> tuple[Any, str]:
        """Show the panels of one name of two trainings."""
        if not (name and one and other and self._known(one) and self._known(other)):
            return gr.update(value=None, visible=False), ""
        try:
            pictures = tuple(self._picture(rev, name) for rev in (one, other))
        except UserError as error:
            return gr.update(value=None, visible=False), f"<p>{html.escape(str(error))}</p>"
        return gr.update(value=pictures, visible=True, label=f"{one[:7]} and {other[:7]}"), ""

    def draw(self, one: str | None, other: str | None, curve: str | None) -> Any:
        """Draw a curve of two trainings."""
        import pandas

        names = {training.rev: training.name for training in trainings()} if one or other else {}
        rows = []
        for rev in dict.fromkeys((one, other)):
            if rev in names:
                rows += [(step, value, names[rev]) for step, value in curves_of(rev).get(curve or "", [])]
        frame = pandas.DataFrame(rows, columns=["step", "value", "training"])
        colours = dict(zip(dict.fromkeys(row[2] for row in rows), COLOURS, strict=False))
        return gr.update(value=frame, y_title=curve or "", color_map=colours)

    def _known(self, rev: str | None) -> bool:
        """Whether a revision is offered: a request could name anything."""
        return rev is not None and any(rev == training.rev for training in trainings())

    def _picture(self, rev: str, name: str) -> str:
        """A panel as a file that the browser can ask for."""
        if name not in panels_of(rev):
            raise UserError("there is no such panel")
        path = self.folders.root / "panels" / rev / name
        with new_file(path) as partial:
            partial.write_bytes(panel(rev, name))
        return str(path)


def table(found: Sequence[Training]) -> str:
    """The scores as a table, the newest first."""
    rows = []
    for training in reversed(found):
        cells = "".join(f"<td>{_number(training.scores.get(name), sign)}</td>" for name, sign in COLUMNS.values())
        said = html.escape(training.subject)
        rows.append(f"<tr><td>{html.escape(training.name)}</td><td>{training.date}</td>{cells}<td>{said}</td></tr>")
    head = "".join(f"<th scope='col'>{name}</th>" for name in ("Commit", "Date", *COLUMNS, "What"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>" if rows else ""


COLUMNS = {"PSNR": ("psnr", ".2f"), "Gain": ("psnr_gain", "+.2f"), "SSIM": ("ssim", ".3f")}


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
