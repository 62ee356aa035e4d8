"""Damaged JPEGs are told from whole ones, whatever end they have, and their share is said."""

from __future__ import annotations

import io
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from offshelf.data.decode import decode, decode_with_facts
from offshelf.data.decoding import colour, strips
from offshelf.data.decoding.colour import RGB
from offshelf.data.decoding.jpeg import fault, readable_share
from offshelf.data.decoding.jpeg_segments import MAX_SCANS, Jpeg, outlined, parsed, segments
from offshelf.data.decoding.limits import Facts, Limits, check_facts
from offshelf.data.decoding.strips import Pixels
from offshelf.errors import ImageError

END = b"\xff\xd9"
KEEP = Limits(keep_damaged=True)


def scene(mode: str = "RGB") -> Image.Image:
    """Coarse colours with fine noise, so that every block has coefficients."""
    random = np.random.default_rng(5)
    coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8))
    smooth = np.asarray(coarse.resize((320, 240), Image.Resampling.BICUBIC), np.float64)
    noisy = (smooth + random.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(noisy).convert(mode)


def jpeg(mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    scene(mode).save(buffer, "JPEG", **{"quality": 90, **options})
    return buffer.getvalue()


def parts(content: bytes) -> Jpeg:
    found = parsed(content)
    assert found is not None
    return found


KINDS: dict[str, bytes] = {
    "plain": jpeg(),
    "without subsampling": jpeg(subsampling=0),
    "own tables": jpeg(optimize=True),
    "own tables, coarse": jpeg(optimize=True, quality=20),
    "restart markers by rows": jpeg(restart_marker_rows=1),
    "restart markers by blocks": jpeg(restart_marker_blocks=7),
    "progressive": jpeg(progressive=True),
    "progressive, restart markers by blocks": jpeg(progressive=True, restart_marker_blocks=7),
    "progressive, restart markers by rows": jpeg(progressive=True, restart_marker_rows=2),
    "grey": jpeg("L"),
    "grey progressive": jpeg("L", progressive=True),
    "inks": jpeg("CMYK"),
}


def middle(content: bytes) -> int:
    start = content.index(parts(content).scans[0].data[:30])
    return (start + len(content)) // 2


def cut(content: bytes) -> bytes:
    return content[: middle(content)]


def hole(content: bytes, filling: bytes) -> bytes:
    at = middle(content)
    return content[:at] + filling + content[at + len(filling) :]


DAMAGES = {
    "closed": lambda content: cut(content) + END,
    "zeros to the end": lambda content: cut(content).ljust(len(content), b"\0"),
    "zeros to the end mark": lambda content: cut(content).ljust(len(content) - 2, b"\0") + END,
    "a hole of zeros": lambda content: hole(content, bytes(700)),
    "a hole of ones": lambda content: hole(content, b"\xff" * 700),
    "a hole of anything": lambda content: hole(content, np.random.default_rng(1).bytes(700)),
}
WHOLE = {
    "as written": lambda content: content,
    "no end mark": lambda content: content[:-2],
    "half an end mark": lambda content: content[:-1],
    "zeros behind": lambda content: content + bytes(4000),
    "words behind": lambda content: content + b"written by a camera " * 50,
    "another picture behind": lambda content: content + jpeg(),
    "a damaged picture behind": lambda content: content + cut(jpeg()),
    "zeros before the end mark": lambda content: content[:-2] + bytes(4000) + END,
    "zeros instead of an end mark": lambda content: content[:-2] + bytes(4000),
    "ones before the end mark": lambda content: content[:-2] + b"\xff" * 300 + END,
    "two bytes before the end mark": lambda content: content[:-2] + b"ab" + END,
    "unknown Adobe transform": lambda content: with_segment(
        content, 0xEE, b"Adobe\0d\0\0\0\0" + (b"\7" if parts(content).frame[9] == 3 else b"\0")
    ),
    "a damaged profile": lambda content: with_segment(content, 0xE2, b"ICC_PROFILE\0\7\1"),
    "a thumbnail": lambda content: with_segment(content, 0xE1, b"Exif\0\0" + cut(jpeg())[:9000]),
    "an unknown version": lambda content: content.replace(b"JFIF\0\1\1", b"JFIF\0\7\7"),
}


def with_segment(content: bytes, marker: int, body: bytes) -> bytes:
    head = bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big")
    return content[:2] + head + body + content[2:]


def failure(content: bytes, limits: Limits | None = None) -> tuple[str, str]:
    with pytest.raises(ImageError) as caught:
        decode(content, limits or Limits())
    return caught.value.status, caught.value.reason


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_although_it_has_an_end(kind: str, damage: str) -> None:
    content = DAMAGES[damage](KINDS[kind])
    facts = decode_with_facts(content, KEEP).facts
    share = facts.readable
    assert facts.status == "damaged"
    if "progressive" in kind:  # scans that sharpen, not rows: some are in the first half
        assert 0.1 < share < 0.7
    elif damage.startswith("a hole") and "restart" in kind:  # it goes on behind the hole
        assert 0.4 < share < 0.99
    else:
        assert share == pytest.approx(0.5, abs=0.08)
    text = f"{int(share * 100)} % of the picture could be read; --keep-damaged takes such images"
    assert failure(content) == ("damaged", text)


@pytest.mark.parametrize("kind", KINDS)
def test_cut_files_end_early(kind: str) -> None:
    content = cut(KINDS[kind])
    facts = decode_with_facts(content, KEEP).facts
    assert facts.status == "truncated"
    share = f"{int(facts.readable * 100)} % of the picture could be read"
    reason = f"the file ends early, {share}; --keep-damaged takes such images"
    assert failure(content) == ("truncated", reason)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("oddity", WHOLE)
def test_whole_although_odd(kind: str, oddity: str) -> None:
    content = WHOLE[oddity](KINDS[kind])
    decoded = decode_with_facts(content)
    assert (decoded.facts.status, decoded.facts.readable) == ("ok", 1.0)
    assert readable_share(parts(content)) == ("ok", 1.0)
    if oddity != "unknown Adobe transform":
        assert (decode(content) == decode(KINDS[kind])).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_kept_picture_is_that_of_the_tolerant_reader(kind: str) -> None:
    closed = cut(KINDS[kind]) + END
    with Image.open(io.BytesIO(closed)) as image:
        pillows = np.asarray(image.convert("RGB"))
    assert (decode(closed, KEEP) == pillows).all()
    assert (decode(cut(KINDS[kind]), KEEP) == pillows).all()
    above = decode(KINDS[kind])[:90]
    assert "progressive" in kind or (pillows[:90] == above).all()


def test_a_kept_picture_is_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = cut(jpeg(exif=exif))
    assert decode(content, KEEP).shape == (320, 240, 3)
    assert (decode(content, KEEP) == np.rot90(decode(cut(jpeg()), KEEP), -1)).all()


def test_a_kept_picture_is_turned_once_pillows_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three copies at once would be more than the estimate of the memory says."""
    opened = list[weakref.ref[Image.Image]]()
    there = list[bool]()

    def picture(image: Image.Image, background: RGB) -> tuple[Pixels, str]:
        opened.append(weakref.ref(image))
        return colour.picture(image, background)

    def turned(pixels: Pixels, turn: int) -> Pixels:
        there.append(any(one() is not None for one in opened))
        return strips.turned(pixels, turn)

    monkeypatch.setattr("offshelf.data.decoding.jpeg.picture", picture)
    monkeypatch.setattr("offshelf.data.decoding.jpeg.turned", turned)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    content = cut(jpeg(exif=exif)) + END
    assert decode(content, KEEP).shape == (320, 240, 3)
    assert there == [False]


@pytest.mark.parametrize("scans", range(1, 10))
def test_scans_that_are_not_there_are_missed(scans: int) -> None:
    """libjpeg finds no fault in a progressive file that stops between two of its scans."""
    whole = parts(jpeg(progressive=True))
    content = whole.content(whole.scans[:scans])
    status, _ = failure(content)
    assert status == "damaged"
    shares = [readable_share(parts(whole.content(whole.scans[:n])))[1] for n in range(1, 11)]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_components_that_are_not_there_are_missed() -> None:
    """A sequential file may hold each component in a scan of its own."""
    whole = parts(jpeg(progressive=True))
    grey = parts(jpeg("L"))
    luma = grey.scans[0]
    tables = luma.tables + whole.scans[0].tables
    only = Jpeg(
        frame=bytes([0xFF, 0xC0]) + whole.frame[2:10] + b"\1\x11\0\2\x11\0\3\x11\0",
        scans=(type(luma)(tables=tables, head=luma.head, data=luma.data),),
        ended=True,
    )
    assert readable_share(only, checked=True) == ("damaged", pytest.approx(1 / 3))
    assert failure(only.content())[0] == "damaged"


def test_a_hole_that_libjpeg_does_not_see() -> None:
    """Codes find their step again behind a hole, and now and then there are as many blocks."""
    content = jpeg("L", quality=95)
    start = content.index(parts(content).scans[0].data)
    unseen = 0
    for at in range(start, len(content) - 600, 950):
        torn = content[:at] + bytes(512) + content[at + 512 :]
        unseen += not fault(torn, 1)
        with pytest.raises(ImageError) as caught:
            decode(torn)
        assert caught.value.status == "damaged"
    assert unseen


def test_nothing_to_read_is_never_taken() -> None:
    whole = jpeg()
    content = whole[: whole.index(parts(whole).scans[0].data[:30]) + 9] + END
    text = ("damaged", "nothing of the picture could be read")
    assert failure(content) == text
    assert failure(content, KEEP) == text


def test_a_lie_about_the_height() -> None:
    for height in (120, 480):
        content = bytearray(jpeg())
        at = content.index(b"\xff\xc0") + 5
        content[at : at + 2] = height.to_bytes(2, "big")
        assert failure(bytes(content))[0] == "damaged"


def test_blank_rows_at_the_end_are_no_hole() -> None:
    """With tables of its own, an even area is a run of zero bytes."""
    picture = np.asarray(scene()).copy()
    tall = np.concatenate([picture, np.full((2000, 320, 3), 255, np.uint8)])
    buffer = io.BytesIO()
    Image.fromarray(tall).save(buffer, "JPEG", quality=20, optimize=True)
    content = buffer.getvalue()
    assert bytes(64) in content
    for name, oddity in WHOLE.items():
        # Zeros behind an even area: where it ends cannot be told.
        wanted = "damaged" if "zeros" in name and name != "zeros behind" else "ok"
        assert readable_share(parts(oddity(content)))[0] == wanted, name


@pytest.mark.parametrize("where", ["before the first scan", "before the first that needs them"])
def test_flat_colours_in_scans_of_their_own_are_no_hole(where: str) -> None:
    frame, luma = parts(KINDS["without subsampling"]), parts(KINDS["grey"]).scans[0].data
    tables = {body[4]: body for marker, body in segments(frame.scans[0].tables) if marker == 0xC4}
    others = b"".join(body for marker, body in segments(frame.scans[0].tables) if marker != 0xC4)
    first, second = tables[0] + tables[0x10], tables[1] + tables[0x11]
    zeros = bytes(320 * 240 // 64 * 4 // 8)  # 2 bits for no change of the mean, 2 for no more
    early, late = (second, b"") if where == "before the first scan" else (b"", second)
    heads = [
        bytes([0xFF, 0xDA, 0, 8, 1, n, code, 0, 63, 0]) for n, code in ((1, 0), (2, 17), (3, 17))
    ]
    start = b"\xff\xd8" + others + first + early + frame.frame
    content = start + heads[0] + luma + late + heads[1] + zeros + heads[2] + zeros + END
    assert decode_with_facts(content).facts.status == "ok"
    assert failure(start + heads[0] + luma + late + heads[1] + zeros + END)[0] == "damaged"


def test_scans_without_an_end_take_no_memory() -> None:
    content = KINDS["grey progressive"][:-2]
    head = bytes([0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 0, 0])
    for read in (parsed, outlined):
        found = read(content + (MAX_SCANS + 5) * head + END)
        assert found is not None
        assert len(found.scans) == MAX_SCANS


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_head_alone(kind: str) -> None:
    """That of most files is the only one, and nothing behind it need be searched."""
    found, first = outlined(KINDS[kind]), outlined(KINDS[kind][:-2], most=1)
    assert found is not None
    assert first is not None
    assert first.scans == found.scans[:1]
    assert first.in_one_scan == found.in_one_scan


def test_a_long_run_of_ones_takes_no_time() -> None:
    """A search that starts again at each byte would take hours."""
    content = cut(jpeg()) + b"\xff" * 3_000_000 + b"\0" + END
    assert failure(content)[0] == "damaged"


def test_many_restart_markers_are_few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    from offshelf.data.decoding import jpeg as decoder

    tries = []
    fault = decoder.fault
    monkeypatch.setattr(decoder, "fault", lambda *given: tries.append(1) or fault(*given))
    content = hole(jpeg(restart_marker_blocks=1), bytes(300))
    status, share = readable_share(parts(content))
    assert (status, 0.9 < share < 1) == ("damaged", True)
    assert len(tries) < 150


def test_facts_refuse_as_the_decoder_does() -> None:
    for content in (cut(jpeg()), cut(jpeg()) + END):
        facts = decode_with_facts(content, KEEP).facts
        check_facts(facts, KEEP)
        with pytest.raises(ImageError) as caught:
            check_facts(facts, Limits())
        assert (caught.value.status, caught.value.reason) == failure(content)


def test_a_share_is_never_all() -> None:
    with pytest.raises(ImageError, match=r"^damaged: 99 % of the picture could be read; --keep-"):
        check_facts(Facts(width=1, height=1, status="damaged", readable=0.9999), Limits())


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.floats(0.02, 0.98))
def test_the_share_is_where_it_was_cut(kind: str, at: float) -> None:
    content = KINDS[kind]
    start = content.index(parts(content).scans[0].data[:30])
    place = start + int((len(content) - start) * at)
    status, share = readable_share(parts(content[:place] + END))
    if status == "ok":  # a last byte that filled up
        assert place > len(content) - 6
    elif "progressive" in kind:
        assert 0 <= share < 1
    else:
        assert share == pytest.approx(at, abs=0.12)
