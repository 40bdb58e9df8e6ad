"""`python -m deblurgan plots`: DVC's own page of plots, with the script that draws it beside it.

DVC's page takes Vega from a public server, and shows no curve without a network. The same Vega lies in
`vl-convert-python`.
"""

import argparse
import subprocess
import sys
import tempfile
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from deblurgan.errors import UserError
from deblurgan.files import new_file

FOLDER = Path("dvc_plots")
SCRIPT = "vega.js"
EXPOSED = "window.vega = vega; window.vegaLite = vegaLite; window.vegaEmbed = vegaEmbed;"
"""What DVC's page calls."""
TEMPLATE = f"""<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  {{refresh_tag}}
  <title>Plots</title>
  <script src="{SCRIPT}"></script>
  <style>
    body {{ font-family: system-ui, sans-serif; margin: 1rem; }}
    img {{ max-width: 100%; }}
    table {{ border-spacing: 1rem; }}
  </style>
</head>
<body>
  {{plot_divs}}
</body>
</html>
"""
"""A page of DVC without `{scripts}`, which are those from elsewhere."""


def main(arguments: Sequence[str]) -> None:
    """Write the page, and open it where that is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m deblurgan plots",
        description=f"Write {FOLDER}/index.html: loss curves, samples and test panels, of the working tree or of "
        "several revisions beside each other. The page needs no network.",
    )
    parser.add_argument("revisions", nargs="*", metavar="REVISION", help="what to compare, as for `dvc plots diff`")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    options = parser.parse_args(list(arguments))
    write_script(FOLDER)
    page = write_page(options.revisions)
    print(f"The plots are in {page}")
    if options.open:
        webbrowser.open(page.absolute().as_uri())


def write_script(folder: Path) -> None:
    """Write Vega, Vega-Lite and Vega-Embed as one script.

    Raises
    ------
    UserError
        The package that carries them is missing.
    """
    try:
        import vl_convert
    except ImportError:
        raise UserError("vl_convert is missing: run `make plots`, or pip install -r requirements-app.txt") from None
    with new_file(folder / SCRIPT) as partial:
        partial.write_text(vl_convert.javascript_bundle(EXPOSED), encoding="utf-8")


def write_page(revisions: Sequence[str]) -> Path:
    """Let DVC write its page, of the working tree or of revisions.

    Raises
    ------
    UserError
        DVC fails; what it says stands above.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".html", encoding="utf-8") as template:
        template.write(TEMPLATE)
        template.flush()
        what = ["diff", *revisions] if revisions else ["show"]
        command = [sys.executable, "-m", "dvc", "plots", *what, "--html-template", template.name, "--out", str(FOLDER)]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    page = FOLDER / "index.html"
    if done.returncode or not page.is_file():
        raise UserError("DVC has written no plots; it says why above")
    return page
