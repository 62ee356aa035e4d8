"""The whole audit, on a data set that was spoiled in every way it looks for."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from command_run import Run
from conftest import texture
from offshelf.cli.main import main
from offshelf.errors import DataError, OffshelfError
from offshelf.features.reader import ReadOptions
from offshelf.jobs.audit.audit_result import AuditResult, of_copies
from offshelf.jobs.audit.findings_file import check_findings_file, write_findings
from offshelf.jobs.audit.html_page import write_page
from offshelf.jobs.audit.job import audit
from offshelf.jobs.audit.thresholds import Bounds
from offshelf.jobs.setup.page_files import check_page, thumbnail
from offshelf.jobs.setup.settings import RunSettings
from offshelf.progress import Silent
from offshelf.report.findings import TITLES, Finding, ImageRef, findings_blocks

CLASSES = ("checks", "noise", "stripes")


def picture(kind: str, draw: np.random.Generator, size: tuple[int, int] = (128, 96)) -> Image.Image:
    """One picture of a kind under a light of its own, so that no two look alike."""
    light = Image.fromarray(draw.integers(40, 256, (5, 6, 3)).astype(np.uint8))
    shade = np.asarray(light.resize(size, Image.Resampling.BICUBIC), np.float64) / 255
    pattern = np.asarray(Image.fromarray(texture(kind, draw)).resize(size), np.float64)
    return Image.fromarray((shade * (60 + pattern * 0.75)).clip(0, 255).astype(np.uint8))


def clean(root: Path, draw: np.random.Generator) -> Path:
    for split, count in (("train", 12), ("test", 5)):
        for name in CLASSES:
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                picture(name, draw).save(folder / f"{number}.png")
    return root


def spoil(root: Path, draw: np.random.Generator) -> None:
    train, test = root / "train", root / "test"
    shutil.copy(train / "checks" / "0.png", test / "checks" / "copy.png")
    shutil.copy(train / "noise" / "0.png", train / "stripes" / "other-label.png")
    shutil.copy(test / "noise" / "0.png", test / "noise" / "within.png")
    first = Image.open(train / "stripes" / "1.png")
    first.resize((120, 90)).save(test / "stripes" / "near.jpg", quality=80)
    ImageOps.mirror(Image.open(train / "checks" / "1.png")).save(test / "checks" / "mirror.png")
    picture("stripes", draw).save(train / "checks" / "wrong.png")
    (train / "checks" / "empty.png").write_bytes(b"")
    (test / "noise" / "broken.jpg").write_bytes(b"no image at all")
    (train / "rare").mkdir()
    for number in range(3):
        picture("noise", draw).transpose(Image.Transpose.ROTATE_90).save(
            train / "rare" / f"{number}.png"
        )


def oddities(root: Path, draw: np.random.Generator) -> None:
    folder = root / "test" / "noise"
    picture("noise", draw, (12, 10)).save(folder / "tiny.png")
    picture("noise", draw, (600, 100)).save(folder / "long.png")
    picture("noise", draw, (700, 600)).save(folder / "huge.png")
    picture("noise", draw).convert("CMYK").save(folder / "print.jpg")
    picture("noise", draw).convert("RGBA").save(folder / "clear.png")
    picture("noise", draw).convert("L").save(folder / "grey.png")
    for name, level in (("dark", 0.12), ("bright", 0.0)):
        pixels = np.asarray(picture("noise", draw), np.float64) * level + 220 * (name == "bright")
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}.png")
    Image.new("RGB", (128, 96), (120, 130, 140)).save(folder / "flat.png")
    blurred = picture("checks", draw).filter(ImageFilter.GaussianBlur(12))
    ImageOps.autocontrast(blurred).save(folder / "blurred.png")


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = np.random.default_rng(5)
    root = clean(tmp_path_factory.mktemp("audit") / "spoiled", draw)
    spoil(root, draw)
    oddities(root, draw)
    return root


@pytest.fixture(scope="module")
def result(spoiled: Path) -> AuditResult:
    return audit(spoiled, progress=Silent())


def names(result: AuditResult, kind: str) -> list[set[str]]:
    root = Path(result.data)
    return [
        {Path(image.path).relative_to(root).as_posix() for image in finding.images}
        for finding in result.of_kind(kind)
    ]


def test_identical_files(result: AuditResult) -> None:
    assert names(result, "identical") == [
        {"train/noise/0.png", "train/stripes/other-label.png"},
        {"train/checks/0.png", "test/checks/copy.png"},
        {"test/noise/0.png", "test/noise/within.png"},
    ]
    found = result.of_kind("identical")
    assert [finding.severity for finding in found] == ["error", "error", "warning"]
    assert [finding.reason for finding in found] == [
        "same bytes; under 2 labels: 'noise', 'stripes'",
        "same bytes; in both splits",
        "same bytes",
    ]
    assert result.identical.to_json() == {
        "groups": 3,
        "groups_in_both_splits": 1,
        "groups_with_two_labels": 1,
        "pairs": 3,
        "pairs_across_splits": 1,
        "pairs_with_two_labels": 1,
    }


def test_near_duplicates(result: AuditResult) -> None:
    found = {frozenset(group): f for group, f in near(result)}
    copy = found[frozenset({"train/stripes/1.png", "test/stripes/near.jpg"})]
    mirror = found[frozenset({"train/checks/1.png", "test/checks/mirror.png"})]
    assert copy.severity == mirror.severity == "error"
    assert (copy.figures["mirrored"], mirror.figures["mirrored"]) == (False, True)
    assert mirror.reason.startswith("mirrored, ")
    assert all(f.figures["cosine"] >= 0.9 and f.figures["distance"] <= 10 for f in found.values())
    assert len(found) == 2


def near(result: AuditResult) -> Iterator[tuple[set[str], Finding]]:
    return zip(names(result, "near_duplicate"), result.of_kind("near_duplicate"), strict=True)


def test_leaked_rows(result: AuditResult) -> None:
    def of(rows: np.ndarray) -> set[str]:
        return {Path(result.table.paths[row]).name for row in rows}

    assert of(result.found.leaked) == {"copy.png"}
    assert of(result.found.near_leaked) == {"near.jpg", "mirror.png"}


def test_unreadable_files(result: AuditResult) -> None:
    assert names(result, "unreadable") == [{"train/checks/empty.png"}, {"test/noise/broken.jpg"}]
    reasons = [finding.reason for finding in result.of_kind("unreadable")]
    assert reasons[0] == "empty: the file is empty"
    assert reasons[1].startswith("not_an_image: ")


def test_a_wrong_label_comes_first(result: AuditResult) -> None:
    found = result.of_kind("doubtful_label")
    assert {"train/checks/wrong.png"} in names(result, "doubtful_label")[:3]
    margins = [finding.figures["margin"] for finding in found]
    assert margins == sorted(margins, reverse=True)
    assert min(margins) >= 1
    wrong = found[names(result, "doubtful_label").index({"train/checks/wrong.png"})]
    assert wrong.figures["suggested"] == "stripes"
    assert wrong.reason.startswith("looks like 'stripes': scored ")


def test_classes(result: AuditResult) -> None:
    assert [f.reason for f in result.of_kind("small_class")] == ["'rare': 3 usable training images"]
    assert result.of_kind("imbalance") == ()


ODD = [
    ("odd_size", {"tiny.png"}, "12 x 10 pixels: tiny"),
    ("odd_size", {"long.png"}, "600 x 100 pixels: 6.0 times as long as wide"),
    ("odd_size", {"huge.png"}, "700 x 600 pixels: 34 times the pixels of the median"),
    ("odd_mode", {"print.jpg"}, "stored as CMYK (print colours, converted without their profile)"),
    ("odd_mode", {"clear.png"}, "stored as RGBA (transparent parts are laid on white)"),
    ("odd_mode", {"grey.png"}, "stored as L"),
    ("dark", {"dark.png"}, "mean grey "),
    ("bright", {"bright.png"}, "mean grey 220.0"),
    ("low_contrast", {"flat.png"}, "contrast 0.0"),
    ("blurred", {"blurred.png"}, "sharpness "),
]


@pytest.mark.parametrize(("kind", "files", "reason"), ODD, ids=[min(row[1]) for row in ODD])
def test_odd_pictures(result: AuditResult, kind: str, files: set[str], reason: str) -> None:
    for finding in result.of_kind(kind):
        if {Path(image.path).name for image in finding.images} == files:
            assert reason in finding.reason
            assert finding.severity == "note"
            return
    raise AssertionError(f"{files} is in none of {[f.reason for f in result.of_kind(kind)]}")


def test_nothing_else_is_odd(result: AuditResult) -> None:
    expected = {min(files) for _, files, _ in ODD}
    kinds = ("odd_size", "odd_mode", "dark", "bright", "blurred")
    found = {Path(path).name for kind in kinds for group in names(result, kind) for path in group}
    assert found == expected - {"flat.png"}


def test_the_document(result: AuditResult) -> None:
    document = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert document["n_images"] == len(result.table) == document["n_train"] + document["n_test"]
    assert document["n_failed"] == 2
    assert list(document["counts"]) == list(TITLES)
    assert sum(document["counts"].values()) == len(document["findings"])
    severities = [finding["severity"] for finding in document["findings"]]
    for word in ("error", "warning", "note"):
        assert document[f"n_{word}s"] == severities.count(word)
    assert (document["n_test_in_train"], document["n_test_near_train"]) == (1, 2)
    assert document["bounds"]["cosine"] == 0.9
    assert document["backbone"] == "efficientnet_lite0"


def test_the_same_again(result: AuditResult, spoiled: Path) -> None:
    again, first = audit(spoiled).to_json(), result.to_json()
    for document in (again, first):
        del document["seconds"], document["computed"]
    assert again == first


def test_another_seed_deals_other_folds(result: AuditResult, spoiled: Path) -> None:
    other = audit(spoiled, run=RunSettings(seed=1))
    assert names(other, "identical") == names(result, "identical")
    assert other.of_kind("doubtful_label") != result.of_kind("doubtful_label")


def test_bounds_decide(result: AuditResult, spoiled: Path) -> None:
    loose = audit(spoiled, bounds=Bounds(hash_distance=0, cosine=1.0, margin=100, dark=0))
    assert loose.of_kind("near_duplicate") == ()
    assert loose.of_kind("doubtful_label") == ()
    assert loose.of_kind("dark") == ()
    assert names(loose, "identical") == names(result, "identical")


@pytest.mark.slow
def test_a_clean_set_has_few_findings(tmp_path: Path) -> None:
    found = audit(clean(tmp_path / "clean", np.random.default_rng(8)))
    assert not found.severities["error"]
    for kind in ("identical", "near_duplicate", "small_class", "odd_size", "odd_mode", "blurred"):
        assert found.of_kind(kind) == ()


def test_a_file_that_is_gone_after_the_extraction(
    spoiled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from offshelf.errors import ImageError
    from offshelf.jobs.audit import image_quality
    from offshelf.jobs.audit.image_quality import KeptFingerprints

    genuine = image_quality.read_bytes
    # Where its fingerprint is kept, nobody notices.
    monkeypatch.setattr(KeptFingerprints, "find", lambda _, digests: [None] * len(digests))

    def gone(path: str, limits: object) -> bytes:
        if path.endswith("huge.png"):
            raise ImageError("missing", "no such file")
        return genuine(path, limits)  # type: ignore[arg-type]

    monkeypatch.setattr(image_quality, "read_bytes", gone)
    reasons = [finding.reason for finding in audit(spoiled).of_kind("unreadable")]
    assert "missing: no such file" in reasons


def test_the_page(result: AuditResult, tmp_path: Path) -> None:
    page = write_page(result, tmp_path / "page.html").read_text(encoding="ascii")
    assert page.startswith("<!doctype html>")
    assert "Audit of spoiled" in page
    assert page.count("data:image/jpeg;base64,") > 20
    assert page.count("no picture") == 2
    for kind in ("identical", "near_duplicate", "blurred"):
        assert f'id="{kind}"' in page


def test_a_thumbnail_is_small_or_absent(tmp_path: Path) -> None:
    from offshelf.data.decode import Limits

    Image.new("RGB", (2000, 40)).save(tmp_path / "a.png")
    assert len(thumbnail(str(tmp_path / "a.png"), Limits()) or "") < 3000
    assert thumbnail(str(tmp_path / "none.png"), Limits()) is None


def text_file(path: Path) -> Path:
    path.write_text("a,b\n")
    return path


REFUSED: list[tuple[Callable[[Path], Path], str]] = [
    (lambda root: root, "is a folder; name a file such as audit.html"),
    (
        lambda root: text_file(root / "a.csv"),
        "exists and is no HTML page, so it is not replaced; choose another name",
    ),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_where_no_page_goes(tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    path = make(tmp_path)
    with pytest.raises(OffshelfError, match=message):
        check_page(path)


def test_a_page_may_be_written_again(result: AuditResult, tmp_path: Path) -> None:
    path = write_page(result, tmp_path / "page.html")
    assert check_page(path) == path


def test_a_page_that_cannot_be_written(result: AuditResult, tmp_path: Path) -> None:
    text_file(tmp_path / "file")
    with pytest.raises(OffshelfError, match=r"page\.html: cannot be written \("):
        write_page(result, tmp_path / "file" / "page.html")


def test_the_command(spoiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert main(["audit", str(spoiled), "--html", str(page), "--quiet"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "error    train/checks/0.png = test/checks/copy.png: same bytes; in both" in said.out
    assert "Files with the same sha256." in said.out
    assert "1 across the splits, 1 under two labels" in said.out
    assert f"page written to {page}" in said.out
    assert page.is_file()


def test_the_command_as_json_and_strict(spoiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(spoiled), "--json", "--strict", "--quiet"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["page"] is None
    assert document["identical"]["pairs"] == 3


@pytest.mark.slow
def test_strict_forgives_warnings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = clean(tmp_path / "clean", np.random.default_rng(8))
    shutil.copy(data / "train" / "noise" / "0.png", data / "train" / "noise" / "copy.png")
    assert main(["audit", str(data), "--strict", "--quiet"]) == 0
    assert "warning  train/noise/0.png = train/noise/copy.png" in capsys.readouterr().out


WRONG = [
    (["--cosine", "1.5"], "error: cosine is a number from 0 to 1, not 1.5"),
    (["--margin", "-1"], "error: margin is a number from 0 to 1e+06, not -1"),
    (["--margin", "nan"], "error: margin is a number from 0 to 1e+06, not nan"),
    (["--hash-distance", "33"], "33 is not from 0 to 32"),
    (["--html", "."], "error: .: is a folder; name a file such as audit.html"),
]


@pytest.mark.parametrize(("words", "message"), WRONG)
def test_wrong_input(
    spoiled: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["audit", str(spoiled), *words])
    except SystemExit as stop:
        code = int(stop.code or 0)
    said = capsys.readouterr()
    assert code == 2
    assert said.out == ""
    assert message in said.err
    assert said.err.count("\n") == 1


def test_data_that_is_not_there() -> None:
    with pytest.raises(DataError, match="no/such/folder: no such file or folder"):
        audit("no/such/folder")


@pytest.mark.real
@pytest.mark.slow
def test_every_pair_of_the_scenes(shared: Path) -> None:
    """The pairs that hashing every file says, without any code of the audit."""
    data = shared / "data" / "15-scene"
    files: dict[str, list[tuple[str, str, str]]] = {}
    for path in data.rglob("*.jpg"):
        parts = path.relative_to(data).parts
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        files.setdefault(digest, []).append((parts[0], parts[1], parts[2]))
    expected = {
        frozenset(pair) for group in files.values() for pair in itertools.combinations(group, 2)
    }
    result = audit(data)
    found = [
        [(i.split, i.label, Path(i.path).name) for i in finding.images]
        for finding in result.of_kind("identical")
    ]
    pairs = {frozenset(pair) for group in found for pair in itertools.combinations(group, 2)}
    assert pairs == expected
    counts = result.identical
    assert counts.pairs == len(expected) == 18
    assert counts.pairs_across_splits == sum(a[0] != b[0] for a, b in expected) == 11
    assert counts.pairs_with_two_labels == sum(a[1] != b[1] for a, b in expected) == 1


def test_copies_are_among_the_corrections(result: AuditResult) -> None:
    root = Path(result.data)
    rows = {
        Path(one.path).relative_to(root).as_posix(): (one.suggestion, one.decision)
        for one in result.corrections()
    }
    # Near-duplicates across the splits: the training image stays.
    assert rows["test/stripes/near.jpg"] == ("leave out", "")
    assert "train/stripes/1.png" not in rows
    assert rows["test/checks/copy.png"] == ("leave out", "")
    # Two labels: a person sees both images.
    assert rows["train/noise/0.png"] == ("", "")
    assert rows["train/stripes/other-label.png"] == ("noise", "")


def test_of_identical_blank_pictures_none_stays(result: AuditResult) -> None:
    group = result.of_kind("identical")[-1]
    flat = [
        Finding(kind="low_contrast", severity="note", reason="contrast 0.0", images=(one,))
        for one in group.images
    ]
    found = dataclasses.replace(result.found, findings=(group, *flat))
    one, other = dataclasses.replace(result, found=found).corrections()[:2]
    assert {one.suggestion, other.suggestion} == {"leave out"}
    found = dataclasses.replace(result.found, findings=(group, *flat[:1]))
    rows = dataclasses.replace(result, found=found).corrections()
    assert {image.path for image in group.images} - {row.path for row in rows}


def test_what_is_next_knows_the_file_of_corrections(result: AuditResult) -> None:
    def last(**changes: object) -> str:
        return str(dataclasses.replace(result, **changes)).splitlines()[-1]  # type: ignore[arg-type]

    assert "--corrections FILE.csv writes the images" in last()
    assert last(corrections_in=Path("c.csv"), waiting=3) == (
        "next: look at what is listed, and fill in the column decision of c.csv; fit, compare, "
        "curve and audit carry that out"
    )
    assert last(corrections_in=Path("c.csv")) == (
        "next: all images of c.csv are decided about; fit, compare, curve and audit carry that out"
    )


def test_where_nothing_was_found_the_check_is_not_too_sure(
    result: AuditResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AuditResult, "corrections", lambda _: [])
    nothing = dataclasses.replace(result.found, findings=())
    assert str(dataclasses.replace(result, found=nothing)).splitlines()[-1] == (
        "next: nothing was found that has to be mended, though an audit misses some wrong labels; "
        "'offshelf fit DATA --out MODEL.offshelf' trains, and its --errors FILE.csv lists the test "
        "images that it gets wrong"
    )


def test_one_of_each_is_told_in_the_singular(result: AuditResult) -> None:
    same, near = result.of_kind("identical")[1], result.of_kind("near_duplicate")[0]
    found = dataclasses.replace(
        result.found, findings=(same, near), near_leaked=result.found.near_leaked[:1]
    )
    facts = dict(dataclasses.replace(result, found=found).facts())
    assert facts["found"] == "2 errors, 0 warnings, 0 notes"
    assert facts["identical"].startswith("1 pair of files with the same bytes: 1 across")
    assert facts["similar"].startswith("1 group of near-duplicates: 1 in both splits")
    assert facts["leaks"] == (
        "1 test image has the bytes of a training image, 1 more is a near-duplicate of one"
    )


def refs(text: str) -> tuple[ImageRef, ...]:
    """Images of words such as ``test:cat:a``."""
    parts = (word.split(":") for word in text.split())
    return tuple(ImageRef(name, label, split) for split, label, name in parts)


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("train:cat:a train:cat:b", {"b": "leave out"}),
        ("test:cat:a train:cat:b train:cat:c", {"a": "leave out", "c": "leave out"}),
        ("train:cat:a train:dog:b", {"a": "", "b": ""}),
        ("train:cat:a train:dog:b train:dog:c", {"a": "dog", "b": "", "c": "leave out"}),
        ("train:cat:a test:dog:b test:dog:c", {"a": "dog", "b": "leave out", "c": "leave out"}),
        ("test:cat:a train:dog:b", {"a": "leave out", "b": ""}),
        ("test:cat:a test:dog:b test:cat:c", {"a": "", "b": "cat", "c": "leave out"}),
    ],
)
def test_of_copies_one_stays(group: str, expected: dict[str, str]) -> None:
    found = of_copies(refs(group))
    assert {path: suggestion for path, (_, suggestion) in found.items()} == expected
    assert all(found[one.path][0] == one.label for one in refs(group) if one.path in found)


@pytest.mark.parametrize("form", [".csv", ".json", ".html"])
def test_all_findings_are_written(result: AuditResult, tmp_path: Path, form: str) -> None:
    path = write_findings(result, tmp_path / f"found{form}", ReadOptions(), Silent())
    text = path.read_text()
    for finding in result.findings:
        assert all(Path(image.path).name in text for image in finding.images)
    if form == ".csv":
        rows = list(csv.DictReader(io.StringIO(text)))
        assert len(rows) == sum(max(1, len(one.images)) for one in result.findings)
    if form == ".json":
        assert json.loads(text)["findings"] == [one.to_json() for one in result.findings]
    # Its own kind is replaced.
    assert write_findings(result, path, ReadOptions(), Silent()) == path
    path.write_text("mine")
    with pytest.raises(OffshelfError) as error:
        check_findings_file(path)
    kind = "HTML page" if form == ".html" else "list of findings"
    assert str(error.value) == (
        f"{path}: exists and is no {kind}, so it is not replaced; choose another name"
    )


def test_what_is_cut_off_is_counted_and_named(result: AuditResult) -> None:
    finding = result.of_kind("identical")[0]
    many = [dataclasses.replace(finding, kind="dark")] * 23
    lines = [str(one) for one in findings_blocks(many, {"dark": "."}, {})]
    assert lines[-1] == "  3 more; --out FILE.html, .csv or .json lists them all"
    assert [*findings_blocks(many, {"dark": "."}, {}, "a.csv")][-1] == "  3 more; all are in a.csv"


def test_the_command_writes_and_names_the_file(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "found.csv"
    run = Run(capsys, "audit", scenes, "--out", file, "--quiet")
    assert run.out.endswith(f"findings written to {file}\n")
    assert file.read_text().startswith("finding,kind,severity,reason,path,label,split\n")
    wrong = Run(capsys, "audit", scenes, "--out", "found.doc")
    assert (wrong.code, wrong.err) == (
        2,
        "error: found.doc: the ending says the form: use .html, .csv or .json\n",
    )
