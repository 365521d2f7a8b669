"""Wrong pictures trip before anything is compared, and damage in one place shows although the mean hides it."""

import math
import re

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from fastdiff.quality.metrics import TILE, Likeness, likeness
from fastdiff.quality.parity import assert_parity, assert_sound
from fastdiff.quality.tripwires import tripped
from fastdiff.record.budget import Budget
from fastdiff.stages.budgets import LOSSLESS

BUDGET = Budget(ssim=0.95, worst_tile=0.8, measured="on paper")


def textured(height: int = 512, width: int | None = None, pictures: int = 1, seed: int = 0) -> np.ndarray:
    """Coarse noise: structure everywhere, so that damage cannot hide in a plain place."""
    width = width or height
    coarse = np.random.default_rng(seed).uniform(0.3, 1.0, (pictures, -(-height // 4), -(-width // 4), 3))
    return coarse.repeat(4, axis=1).repeat(4, axis=2)[:, :height, :width].astype(np.float32)


def flat(*colour: float) -> np.ndarray:
    return np.broadcast_to(np.array(colour, np.float32), (1, 64, 64, 3)).copy()


# -- tripwires --------------------------------------------------------------------------------------------------------


def test_a_drawn_picture_trips_nothing() -> None:
    assert tripped(textured(64, pictures=2)) is None
    assert_sound(textured(64, pictures=2))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_value_that_is_no_number(value: float) -> None:
    images = textured(64)
    images[0, 3, 4, 1] = value
    assert re.search(r"picture 1 of 1 has 1 value.* not .*number", tripped(images) or "")


def test_black() -> None:
    assert tripped(flat(0, 0, 0)) == "picture 1 of 1 is black."


def test_nearly_black() -> None:
    assert "black" in (tripped(textured(64) * 2 / 255) or "")


@pytest.mark.parametrize(
    "colour", [(0.5, 0.5, 0.5), (1, 1, 1), (1, 0, 0), (0.2, 0.4, 0.6)], ids=["grey", "white", "red", "steel"]
)
def test_one_flat_colour(colour: tuple[float, float, float]) -> None:
    assert tripped(flat(*colour)) == "picture 1 of 1 is one flat colour."


def test_nearly_flat_colour() -> None:
    noise = np.random.default_rng(0).uniform(-0.5 / 255, 0.5 / 255, (1, 64, 64, 3))
    assert "flat" in (tripped(flat(1, 0.5, 0.2) + noise) or "")


@pytest.mark.parametrize("half_precision", [np.float16, np.float32, np.float64])
def test_a_dark_picture_is_not_black(half_precision: type) -> None:
    assert tripped((textured(64) * 0.1).astype(half_precision)) is None


def test_a_plain_sky_with_a_bird_is_a_picture() -> None:
    sky = flat(0.4, 0.6, 1.0)
    sky[0, 20:26, 30:40] = 0.1
    assert tripped(sky) is None


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(("value", "word"), [(math.nan, "not"), (0.0, "black"), (0.7, "flat")])
def test_the_bad_picture_of_a_batch_is_named(place: int, value: float, word: str) -> None:
    images = textured(64, pictures=3)
    images[place] = value
    said = tripped(images) or ""
    assert said.startswith(f"picture {place + 1} of 3 ")
    assert word in said
    assert said.endswith(".")


def test_no_picture_at_all_trips_too() -> None:
    assert "no picture" in (tripped(np.empty((0, 64, 64, 3), np.float32)) or "")


def test_assert_sound_says_what_tripped() -> None:
    with pytest.raises(AssertionError, match=r"picture 1 of 1 is black\."):
        assert_sound(flat(0, 0, 0))


# -- likeness ---------------------------------------------------------------------------------------------------------


def test_identical_pictures() -> None:
    found = likeness(textured(128), textured(128))
    assert found.ssim == pytest.approx(1)
    assert found.worst_tile == pytest.approx(1)
    assert found.psnr_db == math.inf


# 32 is a seam of the tiles, 48 is as far from every tile as a hole can be, 448 is the last corner.
@pytest.mark.parametrize(("top", "left"), [(32, 96), (48, 48), (448, 448), (0, 0), (37, 301)])
def test_the_mean_hides_a_hole_and_the_worst_tile_shows_it(top: int, left: int) -> None:
    images = textured(512)
    images[0, top : top + 64, left : left + 64] = 0
    found = likeness(images, textured(512))
    assert found.ssim > 0.95
    assert found.worst_tile < 0.5


def test_invisible_noise_keeps_both_high() -> None:
    images = textured(256)
    noisy = images + np.random.default_rng(1).normal(0, 0.5 / 255, images.shape).astype(np.float32)
    found = likeness(noisy, images)
    assert 0.99 < found.ssim < 1
    assert 0.99 < found.worst_tile < 1
    assert 50 < found.psnr_db < 60


@pytest.mark.parametrize(("height", "width"), [(100, 150), (65, 64), (192, 70), (127, 129)])
def test_the_last_corner_counts_in_sizes_that_are_no_multiple_of_the_tile(height: int, width: int) -> None:
    images = textured(height, width)
    images[0, -24:, -24:] = 0
    found = likeness(images, textured(height, width))
    tile = surface(images[0], textured(height, width)[0])[-TILE:, -TILE:].mean()
    assert found.worst_tile <= tile + 1e-9
    assert found.worst_tile < 0.9


@pytest.mark.parametrize(("height", "width"), [(32, 48), (16, 200), (63, 63)])
def test_pictures_smaller_than_a_tile(height: int, width: int) -> None:
    images = textured(height, width)
    assert likeness(images, images).worst_tile == pytest.approx(1)
    damaged = images.copy()
    damaged[0, :16, :16] = 0
    assert likeness(damaged, images).worst_tile < 0.99


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_batch_is_as_alike_as_its_least_alike_pair(place: int) -> None:
    images = textured(128, pictures=3)
    images[place] = textured(128, seed=9)[0]
    alone = likeness(images[place : place + 1], textured(128, pictures=3)[place : place + 1])
    assert likeness(images, textured(128, pictures=3)) == alone
    assert alone.ssim < 0.5


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_picture_of_nan_makes_the_batch_nan(place: int) -> None:
    """However the pictures are ordered, or assert_parity would pass the batch."""
    images = textured(128, pictures=3)
    images[place] = math.nan
    found = likeness(images, textured(128, pictures=3))
    assert math.isnan(found.ssim)
    assert math.isnan(found.worst_tile)


@pytest.mark.parametrize("shape", [(1, 64, 128, 3), (2, 64, 64, 3), (1, 64, 64, 1)])
def test_pictures_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="cannot be compared") as error:
        likeness(np.ones(shape, np.float32), textured(64))
    assert str(shape) in str(error.value)
    assert "(1, 64, 64, 3)" in str(error.value)


# -- videos -----------------------------------------------------------------------------------------------------------


def video(frames: int = 6) -> np.ndarray:
    """A texture that moves."""
    whole = textured(96, 96 + 4 * frames)[0]
    return np.stack([whole[:, 4 * place : 4 * place + 96] for place in range(frames)])[None]


def test_the_worst_frame_decides() -> None:
    spoiled = video()
    spoiled[0, 3] = textured(96, seed=9)[0]
    found = likeness(spoiled, video())
    alone = likeness(spoiled[0, 3:4], video()[0, 3:4])
    assert (found.ssim, found.worst_tile) == (alone.ssim, alone.worst_tile)
    assert tripped(video()) is None
    spoiled[0, 3] = 0
    assert tripped(spoiled) == "picture 4 of 6 is black."


def test_a_video_flickers_though_each_frame_is_fine() -> None:
    brighter = np.array([0.04, -0.04] * 3, np.float32)[:, None, None, None]
    found = likeness(video() + brighter, video())
    assert found.ssim > 0.99
    assert found.worst_tile > 0.99
    assert found.flicker == pytest.approx(0.08, rel=1e-4)
    assert found.shortfall(LOSSLESS) == (
        f"{found}: frames change in another way than the reference's, and the budget allows a flicker of 0.05 at most."
    )
    for frame, other in zip((video() + brighter)[0], video()[0], strict=True):
        assert likeness(frame[None], other[None]).shortfall(LOSSLESS) is None
    steady = likeness(video() + 0.04, video())
    assert steady.flicker == pytest.approx(0, abs=1e-6)
    assert steady.shortfall(LOSSLESS) is None, "a brighter video is as steady as the other"


def test_a_place_that_flickers_is_not_lost_in_the_picture() -> None:
    spoiled = np.tile(textured(512), (4, 1, 1, 1))[None]
    steady = spoiled.copy()
    spoiled[0, ::2, 64:128, 64:128] += 0.1
    assert likeness(spoiled, steady).flicker == pytest.approx(0.1, rel=1e-4)


def test_pictures_do_not_flicker() -> None:
    assert likeness(textured(64, pictures=2), textured(64, pictures=2)).flicker is None


@pytest.mark.parametrize("video_of", [0, 1])
def test_two_videos_do_not_flicker_between_them(video_of: int) -> None:
    both = np.concatenate([video(), video()])
    spoiled = both.copy()
    spoiled[video_of] = spoiled[video_of] * 0.9
    assert likeness(spoiled, both).flicker < 0.05
    spoiled[video_of, 2] += 0.1
    assert likeness(spoiled, both).flicker == pytest.approx(0.1, rel=0.2)


# -- against scikit-image, called by hand -----------------------------------------------------------------------------


def surface(image: np.ndarray, reference: np.ndarray) -> np.ndarray:
    return by_hand(image, reference)[1].mean(axis=-1)


def by_hand(image: np.ndarray, reference: np.ndarray) -> tuple[float, np.ndarray]:
    """The convention of the paper: Gaussian window of 1.5 pixels, population covariance, range 0 to 1, by channel."""
    return structural_similarity(
        image.astype(np.float64),
        reference.astype(np.float64),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        channel_axis=-1,
        full=True,
    )


def test_metrics_agree_with_scikit_image() -> None:
    reference = textured(128)
    image = np.clip(reference + np.random.default_rng(2).normal(0, 0.1, reference.shape), 0, 1).astype(np.float32)
    found = likeness(image, reference)
    mean, map_ = by_hand(image[0], reference[0])
    tiles = [map_[top : top + 64, left : left + 64].mean() for top in (0, 32, 64) for left in (0, 32, 64)]
    assert found.ssim == pytest.approx(mean)
    assert found.worst_tile == pytest.approx(min(tiles))
    double = (reference[0].astype(np.float64), image[0].astype(np.float64))
    assert found.psnr_db == pytest.approx(peak_signal_noise_ratio(*double, data_range=1.0), rel=1e-5)


# -- the budget -------------------------------------------------------------------------------------------------------


def test_at_the_budget_is_within_it() -> None:
    assert_parity(Likeness(0.95, 0.8, 30), BUDGET)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Likeness(0.94, 0.9, 30), ("SSIM 0.9400", "at least 0.95", "on paper")),
        (Likeness(0.99, 0.79, 30), ("worst tile 0.7900", "at least 0.8", "on paper")),
        (Likeness(math.nan, 0.9, 30), ("SSIM nan", "at least 0.95")),
        (Likeness(0.99, math.nan, 30), ("worst tile nan", "at least 0.8")),
        (Likeness(0.99, 0.9, 30, flicker=0.06), ("flicker 0.0600", "allows a flicker of 0.05 at most")),
        (Likeness(0.99, 0.9, 30, flicker=math.nan), ("flicker nan", "at most")),
    ],
    ids=["ssim", "tile", "ssim-nan", "tile-nan", "flicker", "flicker-nan"],
)
def test_below_the_budget_fails_and_says_by_how_much(found: Likeness, words: tuple[str, ...]) -> None:
    with pytest.raises(AssertionError) as error:
        assert_parity(found, BUDGET)
    said = str(error.value)
    assert said.endswith(".")
    for word in words:
        assert word in said


def test_a_hole_passes_by_its_mean_and_fails_by_its_tile() -> None:
    images = textured(512)
    images[0, 100:164, 100:164] = 0
    with pytest.raises(AssertionError, match="worst tile"):
        assert_parity(likeness(images, textured(512)), BUDGET)
