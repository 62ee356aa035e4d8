"""Peak memory of decoding large pictures in small files, against the estimate and the budget.

Each kind of file is generated, decoded and prepared for a network in a process of its own;
the peak is the kernel's, above what the process held before. Then threads read a folder of
such files under a budget. Needs /proc (Linux).

    python benchmarks/decode_memory.py
    python benchmarks/decode_memory.py --side 4000 --kinds png gif --budget 1000
"""

from __future__ import annotations

import gc
import io
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from PIL import Image

from arguments import Parser, positive
from measure import heading
from offshelf.backbones.specification.spec import InputSpec
from offshelf.data.decoding.limits import Limits
from offshelf.features.network_input import network_input

# Kind -> Pillow's format and mode, and how it is saved.
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "png": ("PNG", "RGB", {}),
    "png grey": ("PNG", "L", {}),
    "png 16-bit grey": ("PNG", "I;16", {}),
    "png palette": ("PNG", "P", {}),
    "gif": ("GIF", "P", {}),
    "gif transparent": ("GIF", "P", {"transparency": 0}),
    "bmp": ("BMP", "RGB", {}),
    "ppm": ("PPM", "RGB", {}),
    "tiff floats": ("TIFF", "F", {"compression": "tiff_deflate"}),
    "tiff CMYK": ("TIFF", "CMYK", {"compression": "tiff_lzw"}),
    "webp": ("WEBP", "RGB", {"method": 0}),
    "avif": ("AVIF", "RGB", {"speed": 10}),
    "jpeg 2000": ("JPEG2000", "RGB", {}),
    "jpeg": ("JPEG", "RGB", {}),
    "jpeg progressive": ("JPEG", "RGB", {"progressive": True, "subsampling": 0}),
    "jpeg CMYK": ("JPEG", "CMYK", {}),
}
SPEC = InputSpec(size=224)
MIB = 2**20


def write(kind: str, side: int, path: Path) -> None:
    """Write a gradient of side x side pixels, which packs into a small file."""
    form, mode, options = KINDS[kind]
    picture = Image.linear_gradient("L").resize((side, side))
    if mode == "I;16":
        picture = picture.convert("I").point(lambda value: value * 257)
    picture.convert(mode).save(path, form, **options)


def memory(name: str) -> float:
    """Return a figure of this process that the kernel keeps, MiB."""
    found = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def peak_of(paths: list[Path], threads: int, budget: int) -> tuple[float, list[float]]:
    """Decode files in threads: the peak above what was held before, and the estimates, MiB."""
    contents = [path.read_bytes() for path in paths]
    small = io.BytesIO()
    Image.new("RGB", (64, 64)).save(small, Image.open(io.BytesIO(contents[0])).format or "PNG")
    network_input(small.getvalue(), SPEC)  # libraries are loaded
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
    before = memory("VmRSS")
    limits = Limits(max_memory=budget)
    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(lambda one: network_input(one, SPEC, limits), contents))
    return memory("VmHWM") - before, [one.facts.memory / MIB for one in found]


def child(*arguments: str) -> list[str]:
    """Run a part in a process of its own, and return the words that it prints."""
    done = subprocess.run(
        [sys.executable, __file__, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def part(arguments: list[str]) -> None:
    """Write a file, or print the peak of decoding some."""
    Image.MAX_IMAGE_PIXELS = None
    if arguments[0] == "write":
        write(arguments[1], int(arguments[2]), Path(arguments[3]))
        return
    paths = [Path(name) for name in arguments[3:]]
    peak, estimates = peak_of(paths, int(arguments[1]), int(arguments[2]))
    print(f"{peak:.0f} {max(estimates):.0f}")


def main() -> None:
    """Print the peak and the estimate of each kind, then of threads under a budget."""
    parser = Parser(__doc__)
    parser.add_argument("--side", type=positive, default=13_000, help=" ")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS), help=" ")
    parser.add_argument("--budget", type=int, default=0, help="MiB; 0 for the largest estimate")
    asked = parser.parse_args()
    print(heading(f"Memory of decoding {asked.side} x {asked.side} pixels"))
    print("| kind | file MiB | peak MiB | estimate MiB |\n|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        files, largest = [], 0
        for number, kind in enumerate(asked.kinds):
            path = Path(folder, f"{number}")
            child("write", kind, str(asked.side), str(path))
            peak, estimate = child("peak", "1", str(10**15), str(path))
            files.append(str(path))
            largest = max(largest, int(estimate))
            size = path.stat().st_size / MIB
            print(f"| {kind} | {size:.1f} | {peak} | {estimate} |", flush=True)
        budget = asked.budget or largest
        print("\n| threads | budget MiB | peak MiB |\n|---:|---:|---:|")
        for threads in (1, 2, 4):
            peak, _ = child("peak", str(threads), str((budget + 1) * MIB), *files, *files)
            print(f"| {threads} | {budget} | {peak} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] in (["write"], ["peak"]):
        part(sys.argv[1:])
    else:
        main()
