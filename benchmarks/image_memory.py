"""Memory that one image takes at most in a worker: peak MB per megapixel while it is measured and made a square.

python -m benchmarks.image_memory --megapixels 49
"""

import argparse
import hashlib
import io
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

KINDS = {
    "png": ("RGB", "PNG", {}), "png rgba": ("RGBA", "PNG", {}), "png rgba turned": ("RGBA", "PNG", {"turned": True}),
    "png rgb with a profile": ("RGB", "PNG", {"profile": True}), "png palette": ("P", "PNG", {}),
    "png 16-bit grey": ("I;16", "PNG", {}), "jpeg": ("RGB", "JPEG", {}),
    "jpeg progressive": ("RGB", "JPEG", {"progressive": True}), "jpeg cmyk": ("CMYK", "JPEG", {}),
    "webp": ("RGB", "WEBP", {}), "webp rgba": ("RGBA", "WEBP", {}), "avif": ("RGB", "AVIF", {"speed": 10}),
    "tiff": ("RGB", "TIFF", {"compression": "tiff_lzw"}), "gif": ("P", "GIF", {}),
}  # fmt: skip
"""Mode, format and options by what is printed."""
WORK = """
import sys
from pathlib import Path
from anime_lora.data.quality.measures import measure
from anime_lora.data.resize import Job, make_square
file = Path(sys.argv[1])
def memory(name): return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))
Path("/proc/self/clear_refs").write_text("5")  # the greatest size so far is forgotten; a child begins with its parent's
start = memory("VmRSS")
if sys.argv[2] == "measure": measure(file)
else: make_square(Job(file, file.with_name("square.png"), 512, "crop", "center", (255, 255, 255)))
print(memory("VmHWM") - start)
"""


def write(folder: Path, kind: str, side: int) -> Path:
    """An image of smooth noise of a kind, named by its hash as in ingest's store."""
    mode, name, given = KINDS[kind]
    options = dict(given)
    small = np.random.default_rng(0).integers(0, 256, (64, 64, 4), dtype=np.uint8)
    image = Image.fromarray(small, "RGBA").resize((side, side), Image.Resampling.BICUBIC)
    image = image if mode == "RGBA" else image.convert("RGB")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif mode in {"P", "CMYK"}:
        image = image.convert(mode)
    if options.pop("turned", False):
        exif = Image.Exif()
        exif[0x0112] = 6
        options["exif"] = exif
    if options.pop("profile", False):
        options["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    stream = io.BytesIO()
    image.save(stream, name, **options)
    file = folder / hashlib.sha256(stream.getvalue()).hexdigest()
    file.write_bytes(stream.getvalue())
    return file


def peak(file: Path, step: str) -> float:
    """MB over the start of a process that does one step."""
    done = subprocess.run([sys.executable, "-c", WORK, str(file), step], capture_output=True, text=True, check=True)
    return int(done.stdout) / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, default=49)
    side = round((parser.parse_args().megapixels * 1e6) ** 0.5)
    print(f"{'':24} {'measure':>16} {'square':>16}   MB (MB per megapixel), file included")
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            file = write(Path(folder), kind, side)
            peaks = [peak(file, step) for step in ("measure", "square")]
            print(f"{kind:24} " + " ".join(f"{mb:8.0f} ({mb / side**2 * 1e6:5.1f})" for mb in peaks), flush=True)


if __name__ == "__main__":
    main()
