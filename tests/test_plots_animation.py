"""Animations: what is on which picture, that files are whole or not there, and what is said when something is missing."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from drawn import made
from lamarck import plots
from lamarck._errors import MissingExtra, ReportError, SettingsError
from lamarck.history import History
from lamarck.plots import _film, data
from lamarck.plots._style import DARK, LIGHT


@pytest.fixture(scope="module")
def run():
    return made(8, 5)


def pictures(path):
    with Image.open(path) as film:
        shown = []
        for place in range(film.n_frames):
            film.seek(place)
            shown.append((np.asarray(film.convert("RGB"), dtype=np.int16), film.info["duration"]))
        return shown


def ink(picture, colour):
    """Number of pixels of about a colour."""
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(picture - rgb).max(axis=2) < 12).sum())


@pytest.mark.parametrize("view", ["schedule", "paths"])
def test_a_gif_has_the_pictures_that_were_asked_for_and_they_fill(run, tmp_path, view):
    told = []
    path = plots.animate(run, tmp_path / "new" / "run.gif", view=view, frames=11, rate=10, on_frame=lambda *it: told.append(it))
    assert path == tmp_path / "new" / "run.gif"
    shown = pictures(path)
    assert len(shown) == 11
    assert [duration for _, duration in shown] == [100] * 10 + [2500]
    assert told == [(i + 1, 11) for i in range(11)]
    blue = [ink(picture, LIGHT.families[0]) for picture, _ in shown]
    assert blue[0] < blue[5] < blue[-1]
    assert [file.name for file in path.parent.iterdir()] == ["run.gif"]


def test_the_last_picture_shows_what_the_figure_shows(run, tmp_path):
    """Every row of the value panel that a strand reaches in the figure has ink in the animation: same axes, same colours."""
    (last, _), (first, _) = pictures(plots.animate(run, tmp_path / "run.gif", frames=20))[-1], pictures(tmp_path / "run.gif")[0]
    new = np.abs(last - first).max(axis=2) > 40
    share = new[:, : new.shape[1] // 3].mean()
    assert 0.01 < share < 0.5


def test_a_jump_is_seen_when_somebody_copies_and_not_before(tmp_path):
    run = made(8, 3)
    first = min(copy.generation for copy in run.copies)
    (shown, _), *rest = pictures(plots.animate(run, tmp_path / "run.gif", view="paths", x="lr", y="value", frames=30))
    ring = [ink(picture, LIGHT.ink) for picture, _ in [(shown, 0), *rest]]
    start = 30 * first // 3  # a generation is a third of the run
    assert max(ring[: start - 1]) < ring[start]
    assert ring[start + 7] < ring[start]  # and it goes again


def test_paper_is_white(run, tmp_path):
    last, _ = pictures(plots.animate(run, tmp_path / "run.gif", frames=2))[-1]
    assert (last == 255).all(axis=2).mean() > 0.6


def test_dark_is_dark(run, tmp_path):
    for picture, _ in pictures(plots.animate(run, tmp_path / "run.gif", frames=2, style="dark")):
        assert ink(picture, DARK.paper) > 0.6 * picture.shape[0] * picture.shape[1]


def test_colours_of_rare_families_survive_in_a_gif(tmp_path):
    run = made(16, 2)  # too short for one family to have everything
    strands = data.strands(run)
    alive = {int(family) for family in strands.family[strands.living] if family < 6}
    assert len(alive) > 3
    last, _ = pictures(plots.animate(run, tmp_path / "run.gif", frames=3))[-1]
    for family in alive:
        assert ink(last, LIGHT.families[family]) > 10


@pytest.mark.parametrize("system", [True, False], ids=["ffmpeg that is installed", "ffmpeg of the package"])
def test_an_mp4_is_one_that_can_be_played(run, tmp_path, monkeypatch, system):
    import imageio_ffmpeg

    program = imageio_ffmpeg.get_ffmpeg_exe()
    monkeypatch.setattr(shutil, "which", lambda name: program if system else None)
    path = plots.animate(run, tmp_path / "run.mp4", frames=7, rate=10)
    said = subprocess.run([program, "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=True)
    assert b"Video: h264" in said.stderr
    assert b"10 fps" in said.stderr
    assert b" 880x672" in said.stderr
    size = 880 * 672 * 3
    assert len(said.stdout) == (7 + 25) * size  # the last one stays for two and a half seconds
    last = np.frombuffer(said.stdout[-size:], dtype=np.uint8).reshape(672, 880, 3).astype(np.int16)
    assert ink(last, "#FFFFFF") > 0.5 * 880 * 672
    assert [file.name for file in tmp_path.iterdir()] == ["run.mp4"]


def test_what_is_said_without_ffmpeg(run, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(
        MissingExtra, match=r"needs ffmpeg, which was not found: install it, or pip install 'lamarck\[video\]', or write a .gif"
    ):
        plots.animate(run, tmp_path / "run.mp4")


def test_what_ffmpeg_says_is_passed_on(run, tmp_path, monkeypatch):
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho no such codec >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(_film, "_ffmpeg", lambda: str(program))
    with pytest.raises(SettingsError, match=r"ffmpeg could not write .*run.mp4.*: no such codec"):
        plots.animate(run, tmp_path / "run.mp4", frames=5)
    assert not (tmp_path / "run.mp4").exists()


@pytest.mark.parametrize("name", ["run.gif", "run.mp4"])
def test_an_interrupted_animation_leaves_what_was_there(run, tmp_path, name):
    (tmp_path / name).write_bytes(b"the one before")

    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plots.animate(run, tmp_path / name, frames=9, on_frame=stop)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"the one before"


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("run.avi", {}, "ends in '.avi'; an animation is written as .gif or .mp4"),
        ("run", {}, "ends in 'nothing'"),
        ("run.gif", {"frames": 1}, "frames: got 1; an animation has at least 2"),
        ("run.gif", {"rate": 60}, "rate: got 60; it must be from 1 to 50"),
        ("run.gif", {"view": "tree"}, "view: got 'tree'; it must be 'schedule' or 'paths'"),
        ("run.gif", {"view": "paths", "x": "theta"}, "got 'theta'; a path can be drawn through"),
    ],
)
def test_what_cannot_be_is_refused(run, tmp_path, name, settings, said):
    with pytest.raises(SettingsError, match=said):
        plots.animate(run, tmp_path / name, **settings)
    assert not list(tmp_path.iterdir())


def test_a_run_without_a_report_has_nothing_to_animate(run, tmp_path):
    with pytest.raises(ReportError, match="nothing has been reported yet"):
        plots.animate(History(started=run.started, records=()), tmp_path / "run.gif")


def test_values_that_are_not_finite_can_be_animated(tmp_path):
    assert len(pictures(plots.animate(made(6, 4, bad=0.3), tmp_path / "run.gif", frames=4))) == 4
    assert len(pictures(plots.animate(made(2, 2, bad=1.0), tmp_path / "bad.gif", frames=4))) == 4
