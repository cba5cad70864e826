"""Writes pictures one after the other: a GIF with Pillow, an MP4 with ffmpeg."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import MissingExtra, SettingsError, require
from lamarck._files import whole

__all__ = ["Film", "Picture", "Writer", "writer_for"]

Picture = NDArray[np.uint8]
"""``uint8[height, width, 3]``."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """How pictures are to be shown.

    Args:
        count: How many there are.
        rate: Pictures a second.
        hold: Seconds that the last one stays.
        palette: ``uint8[K, 3]``, at most 256: the colours of a file that has only so many.
    """

    count: int
    rate: int
    hold: float
    palette: NDArray[np.uint8]


Writer = Callable[[Path, Iterator[Picture], Film], None]
"""(file, pictures, how they are shown)."""


def writer_for(path: Path) -> Writer:
    """Returns what writes a file of this name.

    Raises:
        SettingsError: If it is neither a GIF nor an MP4.
        MissingExtra: If what writes it is not installed.
    """
    match path.suffix.lower():
        case ".gif":
            require("PIL.Image", "plot", "Writing a GIF")
            return _gif
        case ".mp4":
            _ffmpeg()
            return _mp4
        case other:
            raise SettingsError(f"got {str(path)!r}, which ends in {other or 'nothing'!r}; an animation is written as .gif or .mp4")


def _gif(path: Path, pictures: Iterator[Picture], film: Film) -> None:
    image = require("PIL.Image", "plot", "Writing a GIF")
    palette = image.new("P", (1, 1))
    palette.putpalette(film.palette.tobytes())
    small = (image.fromarray(picture).quantize(palette=palette, dither=image.Dither.NONE) for picture in pictures)
    duration = [round(1000 / film.rate)] * (film.count - 1) + [round(1000 * film.hold)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part, part.open("wb") as file:
        next(small).save(file, format="GIF", save_all=True, append_images=small, duration=duration, loop=0, optimize=False)


def _mp4(path: Path, pictures: Iterator[Picture], film: Film) -> None:
    first = next(pictures)
    height, width, _ = first.shape
    even = "pad=ceil(iw/2)*2:ceil(ih/2)*2"  # the codec wants even sides
    stay = f"tpad=stop_mode=clone:stop_duration={film.hold}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        command = [
            _ffmpeg(), "-y", "-loglevel", "error",
            "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(film.rate), "-i", "-",
            "-vf", f"{even},{stay}", "-c:v", "libx264", "-crf", "20", "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4", str(part),
        ]  # fmt: skip
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as encoder:  # noqa: S603
            assert encoder.stdin is not None
            assert encoder.stderr is not None
            try:
                for picture in itertools.chain([first], pictures):
                    encoder.stdin.write(picture.tobytes())
                encoder.stdin.close()
            except BrokenPipeError:
                pass  # it says why below
            except BaseException:
                encoder.kill()
                raise
            said = encoder.stderr.read().decode(errors="replace").strip()
        if encoder.returncode:
            raise SettingsError(f"ffmpeg could not write {str(path)!r}: {said or f'it ended with status {encoder.returncode}'}")


def _ffmpeg() -> str:
    """The program that is installed, or the one that the package imageio-ffmpeg brings."""
    found = shutil.which("ffmpeg")
    if found:
        return found
    try:
        return str(require("imageio_ffmpeg", "video", "Writing an MP4").get_ffmpeg_exe())
    except MissingExtra:
        raise MissingExtra(
            "Writing an MP4 needs ffmpeg, which was not found: install it, or pip install 'lamarck[video]', or write a .gif"
        ) from None
