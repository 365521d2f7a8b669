"""What is read from a picture is what was drawn, and the score counts it right; no model is loaded here."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from tools.shapes import score
from tools.shapes.pictures import COLOURS, SHAPES, Placement, Scene, draw, every_scene, place
from tools.shapes.score import Drawing, RoundTrip
from tools.shapes.sight import Sighting, see

GOOD_ROUND_TRIP = RoundTrip(mean_db=32.0, worst_db=28.0, pictures=64)
SCENE = next(scene for scene in every_scene() if not scene.held_out)
HELD_OUT = next(scene for scene in every_scene() if scene.held_out)


def some_scenes(count: int, random: np.random.Generator) -> list[Scene]:
    scenes = list(every_scene())
    return [scenes[i] for i in random.permutation(len(scenes))[:count]]


def truth(scene: Scene) -> Sighting:
    return Sighting(scene.size, scene.colour, scene.shape, scene.background)


def spoilt(picture: np.ndarray, blur: float, noise: float, random: np.random.Generator) -> np.ndarray:
    soft = ndimage.gaussian_filter(picture.astype(np.float32), (blur, blur, 0))
    return np.clip(soft + random.normal(0, noise, picture.shape), 0, 255).astype(np.uint8)


def drawing(scene: Scene, **seen: str | None) -> Drawing:
    """A drawing whose sighting is right but for what is given in `seen`."""
    return Drawing(scene, Sighting(**{**vars(scene), **seen}), np.zeros((8, 8, 3), np.uint8))


def test_clean_pictures_are_read_without_a_mistake():
    random = np.random.default_rng(1)
    for scene in some_scenes(250, random):
        assert see(draw(scene, place(scene, random), 256)) == truth(scene), scene.caption


def test_noise_and_blur_hardly_matter():
    random = np.random.default_rng(2)
    scenes = some_scenes(250, random)
    seen = [see(spoilt(draw(scene, place(scene, random), 128), 0.8, 8, random)) for scene in scenes]
    assert sum(map(Sighting.__eq__, seen, map(truth, scenes))) >= 0.99 * len(scenes)


def test_colours_that_are_a_little_off_keep_their_names():
    random = np.random.default_rng(3)
    for scene in some_scenes(60, random):
        shift = random.uniform(-20, 20, 3)
        off = np.clip(draw(scene, place(scene, random), 128) + shift, 0, 255).astype(np.uint8)
        assert see(off) == truth(scene), scene.caption


@pytest.mark.parametrize("name", COLOURS)
def test_a_blank_picture_shows_a_background_and_nothing_else(name):
    assert see(np.full((128, 128, 3), COLOURS[name], np.uint8)) == Sighting(background=name)


def test_noise_shows_nothing():
    random = np.random.default_rng(4)
    assert see(random.integers(0, 256, (128, 128, 3), dtype=np.uint8)) == Sighting()


def test_another_colour_has_no_name():
    grey = np.full((128, 128, 3), 128, np.uint8)
    assert see(grey) == Sighting()


def test_a_second_shape_is_not_overlooked():
    scene = Scene("small", "red", "square", "white")
    one, other = (draw(scene, Placement(at, at, 0.34), 256) for at in (0.25, 0.75))
    both = np.minimum(one, other)
    assert see(one) == truth(scene)
    assert see(both).size != "small"


def test_half_a_shape_is_not_that_shape():
    scene = Scene("large", "blue", "ring", "yellow")
    picture = draw(scene, Placement(0.5, 0.5, 0.65), 256)
    picture[128:] = COLOURS["yellow"]
    assert see(picture).shape != "ring"


def test_the_table_counts_groups_and_marks_what_missed():
    drawings = [
        *[drawing(SCENE)] * 16,
        drawing(SCENE, shape=None),
        drawing(SCENE, shape=None, size=None),
        drawing(SCENE, colour=None),
        drawing(HELD_OUT, colour="none of them"),
    ]
    heading, trained, held_out, everything, targets = score.table(drawings)
    assert heading == ["", "captions", "shape colour", "background colour", "size", "shape", "all four"]
    assert trained[:3] == ["trained", "19", "94.7% (18/19)"]
    assert held_out == ["held out", "1", "0.0% (0/1)", *["100.0% (1/1)"] * 3, "0.0% (0/1)"]
    assert everything == [
        *["all", "20", "! 90.0% (18/20)", "100.0% (20/20)"],
        *["95.0% (19/20)", "90.0% (18/20)", "80.0% (16/20)"],
    ]
    assert targets == ["target", "", "95% or more", "95% or more", "90% or more", "85% or more", ""]
    assert score.missed_targets(drawings, GOOD_ROUND_TRIP) == ["shape colour (target 95%)"]


def test_a_share_that_equals_its_target_has_reached_it():
    drawings = [*[drawing(SCENE)] * 57, *[drawing(SCENE, background=None)] * 3]
    assert score.missed_targets(drawings, GOOD_ROUND_TRIP) == []


@pytest.mark.parametrize("decibels", [29.9, float("nan")])
def test_a_poor_round_trip_is_a_missed_target(decibels):
    round_trip = RoundTrip(mean_db=decibels, worst_db=decibels, pictures=64)
    assert score.missed_targets([drawing(SCENE)], round_trip) == ["round trip (target 30 dB)"]


def test_nothing_drawn_reaches_no_target():
    assert len(score.missed_targets([], GOOD_ROUND_TRIP)) == 4
    assert score.table([])[3] == ["all", "0", *["-"] * 5]


def test_tables_align_in_a_terminal_and_in_markdown():
    rows = [["", "a"], ["long name", "1"], ["b", "100"]]
    assert score.aligned(rows).splitlines() == ["             a", "long name    1", "b          100"]
    assert score.markdown(rows).splitlines() == ["|  | a |", "|---|---:|", "| long name | 1 |", "| b | 100 |"]


def test_chosen_scenes_are_balanced_and_repeatable():
    scenes = score.choose_scenes(240, seed=0)
    assert scenes == score.choose_scenes(240, seed=0) != score.choose_scenes(240, seed=1)
    assert len(set(scenes)) == 240
    assert {scene for scene in scenes if scene.held_out} == {scene for scene in every_scene() if scene.held_out}
    for field, words in (("size", 2), ("colour", 8), ("shape", len(SHAPES)), ("background", 8)):
        counts = Counter(getattr(scene, field) for scene in scenes if not scene.held_out)
        assert len(counts) == words
        assert max(counts.values()) - min(counts.values()) <= 4


@pytest.mark.parametrize(("captions", "apart"), [(3, 1), (30, 10), (120, 40), (448, 40)])
def test_at_most_a_third_is_held_out(captions, apart):
    scenes = score.choose_scenes(captions, seed=0)
    assert (len(scenes), sum(scene.held_out for scene in scenes)) == (captions, apart)


def test_a_label_says_what_was_seen_instead():
    assert score.mistake_label(drawing(SCENE, colour="green", shape=None)) == "wrong: green, no shape"
    assert score.mistake_label(drawing(SCENE, background="green")) == "wrong: on green"
    assert score.mistake_label(drawing(HELD_OUT, size="huge")) == "held out, wrong: huge"
    blind = Drawing(SCENE, Sighting(), np.zeros((8, 8, 3), np.uint8))
    assert score.mistake_label(blind) == "wrong: nothing to see"


class Painter:
    """Stands where the pipeline stands, and draws every caption but the ones with a colour that it lacks."""

    def __init__(self, lacks: str = "") -> None:
        self.lacks, self.seeds, self.batches = lacks, [], []
        self.vae = SimpleNamespace(device="cpu", encode=self.encode, decode=self.decode)

    def __call__(self, prompts, *, generator, height, **_):
        scenes = {scene.caption: scene for scene in every_scene()}
        self.batches.append(len(prompts))
        self.seeds += [noise.initial_seed() for noise in generator]
        return SimpleNamespace(images=[self.paint(scenes[prompt], height) for prompt in prompts])

    def paint(self, scene: Scene, pixels: int) -> Image.Image:
        if scene.colour == self.lacks:
            return Image.new("RGB", (pixels, pixels), COLOURS[scene.background])
        return Image.fromarray(draw(scene, place(scene, np.random.default_rng(0)), pixels))

    def encode(self, pixels):
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: pixels))

    def decode(self, latents, return_dict):
        return (latents + 5 / 127.5,)


def test_seeds_do_not_depend_on_the_batch():
    scenes = score.choose_scenes(10, seed=0)
    painter = Painter()
    drawings = list(score.draw_all(painter, scenes, score.Exam(size=128, seed=7, batch=4)))
    assert painter.seeds == list(range(7, 17))
    assert painter.batches == [4, 4, 2]
    assert [one.scene for one in drawings] == scenes
    assert not any(one.mistakes for one in drawings)


def test_round_trip_is_measured_in_decibels():
    """Every value comes back five steps brighter; no colour of the palette is within five of white's end."""
    round_trip = score.measure_round_trip(Painter().vae, seed=0)
    assert round_trip.mean_db == pytest.approx(20 * np.log10(255 / 5), abs=0.01)
    assert round_trip.worst_db == pytest.approx(round_trip.mean_db, abs=0.01)


@pytest.fixture
def command(monkeypatch, tmp_path):
    """The command on a folder that looks like a model; gives what it was told to write."""
    (tmp_path / "model_index.json").touch()
    sheet, words = tmp_path / "sheet.png", tmp_path / "score.md"

    def call(painter: Painter):
        monkeypatch.setattr(score, "load", lambda folder, device: painter)
        folder = ["--folder", str(tmp_path), "--captions", "40", "--size", "128"]
        score.main([*folder, "--sheet", str(sheet), "--markdown", str(words)])

    return SimpleNamespace(call=call, sheet=sheet, words=words)


def test_a_good_model_passes(command, capsys):
    command.call(Painter())
    printed = capsys.readouterr()
    assert "100.0% (40/40)" in printed.out
    assert "34.2 dB on average" in printed.out
    assert "drawn 40 of 40, 40 right" in printed.err
    assert "| all | 40 |" in command.words.read_text()
    with Image.open(command.sheet) as sheet:
        assert sheet.width > 8 * 128


def test_a_model_that_lacks_a_colour_fails_in_one_sentence(command, capsys):
    with pytest.raises(SystemExit, match=r"^The model misses its target for shape colour \(target 95%\), .*\.$"):
        command.call(Painter(lacks="red"))
    assert "! " in capsys.readouterr().out
    assert command.sheet.exists(), "the sheet is wanted most when something is wrong"


def test_no_model_is_answered_with_the_command_that_makes_one(tmp_path, capsys):
    with pytest.raises(SystemExit):
        score.main(["--folder", str(tmp_path)])
    assert "tools.shapes.train" in capsys.readouterr().err
