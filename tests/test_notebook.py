"""README and tutorial as a notebook: what a person sees below each cell is short and readable."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from documentation import PAGES, examples, python_of

MOST_LINES = 200
# What the commands of README and tutorial print, as the last line of a cell.
RESULTS = """\
import offshelf, pathlib
digits, model, photos = "offshelf-demo/digits", "digits.offshelf", "offshelf-demo/photos"
offshelf.fit(digits, model)
offshelf.predict(model, digits)
offshelf.predict(model, photos)
offshelf.evaluate(model, digits)
offshelf.show(model)
offshelf.load_model(model)
offshelf.explain(model, f"{photos}/flower.jpg")
offshelf.explain_images(model, sorted(pathlib.Path(photos).glob("*.jpg")))
offshelf.compare(digits, heads=["svm", "centroid"])
offshelf.compare(digits, heads=["svm", "centroid"]).best
offshelf.audit(digits)
offshelf.curve(digits, repeats=2)
offshelf.curve(digits, repeats=2).plot()
offshelf.extract(digits)
offshelf.maps(f"{photos}/china.jpg", "conv_stem")
offshelf.filters("efficientnet_lite0")
offshelf.top_images(photos, "stage5")
offshelf.classify(photos, no_normalize=True)
offshelf.inspect("vgg16")
offshelf.list_layers("vgg16")
offshelf.catalogue()
offshelf.predict(model, photos).predictions
offshelf.predict(model, photos).to_frame()
offshelf.fit(digits, C="auto").evaluation
offshelf.fit(digits).model
"""


def cells() -> list[str]:
    """The Python blocks of README and tutorial, and a cell for each result."""
    blocks = [
        "".join(example.source for example in python_of(one.text, name))
        for name in ("README.md", "docs/tutorial.md")
        for one in examples(PAGES[name].read_text(encoding="utf-8"))
        if one.language == "python"
    ]
    return [*RESULTS.splitlines(), *blocks]


def shown(output: dict[str, Any]) -> str:
    """What an output shows as text: without pictures, as a notebook keeps them beside it."""
    data = output.get("data", {})
    texts = [output.get("text", ""), *(text for kind, text in data.items() if "image" not in kind)]
    return re.sub(r"data:image/[^\"')]+", "", "\n".join(map(str, texts)))


def troubles(source: str, text: str) -> list[str]:
    """What is wrong with an output."""
    lines = text.count("\n") + 1
    found = [f"{source}: {lines} lines"] if lines >= MOST_LINES else []
    found += [f"{source}: {len(text):,} characters"] if len(text) > 60_000 else []
    arrays = re.search(r"array\(|\bb['\"]\\?", text)
    return found + ([f"{source}: {text[arrays.start() :][:60]}"] if arrays else [])


def test_troubles_are_found() -> None:
    assert troubles("x", "a picture of 3 images\n") == []
    assert troubles("x", "array([1])") == ["x: array([1])"]
    assert troubles("x", "b'\\x89PNG'") == ["x: b'\\x89PNG'"]
    assert troubles("x", "\n" * 200) == ["x: 201 lines"]


@pytest.mark.slow
@pytest.mark.long
def test_every_result_can_be_looked_at(reader: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    (reader / "offshelf-demo" / "digits.offshelf").unlink(missing_ok=True)
    first = (
        'import offshelf; _ = offshelf.fit("offshelf-demo/digits", "offshelf-demo/digits.offshelf")'
    )
    made = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(one) for one in [first, *cells()]]
    )
    kernel = nbclient.NotebookClient(
        made, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(reader)}}
    )
    kernel.execute()
    outputs = {cell.source: cell.outputs for cell in made.cells}
    found = [
        line
        for source, several in outputs.items()
        for one in several
        for line in troubles(source, shown(one))
    ]
    assert found == []
    silent = [one for one in RESULTS.splitlines()[2:] if not outputs[one]]
    assert silent == []
    kinds = {
        kind for several in outputs.values() for one in several for kind in one.get("data", {})
    }
    assert {"text/html", "text/plain", "image/png"} <= kinds
