"""What the tests share: a tiny model of the embedded one's architecture, and one compile cache for all of them."""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from here import HERE

from fastdiff.models import Model, Request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastdiff.trial.live import LiveStage

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported: workers with a thread for every core would mostly wait for each other.
    workers = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    each = str(max(1, (os.cpu_count() or 1) // workers))
    os.environ.setdefault("OMP_NUM_THREADS", each)
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", each)

TEXT_WIDTH = 32
TIME_EMBEDDING = 8

SLOWEST = (
    "test_twins.py",
    "test_plugin.py",
    "test_twins_techniques.py",
    "test_shapes_model.py",
    "test_wheel.py",
)
"""Files that begin first, because a worker that ends late cannot share its rest."""


def pytest_configure(config: pytest.Config) -> None:
    # A session inside this process warns in the outer one, too.
    config.addinivalue_line("filterwarnings", "ignore:Can.t compare. No benchmark files")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))  # stable: inside a file nothing moves


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model with random weights in a folder, as small as it can be with every code path of the embedded one."""
    folder = tmp_path_factory.mktemp("tiny")
    _write_tiny(folder)
    # What the imports made is never garbage. To look at it in every collection, of which each stage needs two, takes
    # two thirds of a second.
    gc.collect()
    gc.freeze()
    request = Request("a large red circle on a blue background", steps=2, size=64, guidance=4.0)
    return Model("tiny", "StableDiffusionXLPipeline", str(folder), request)


@pytest.fixture
def live(tiny: Model) -> Iterator[LiveStage]:
    """An eager stage that was called once, for what looks at a call."""
    from fastdiff.trial.live import LiveStage

    stage = LiveStage(tiny, HERE["sdpa"], "cpu", tiny.request, rounds=1)
    stage.first_call()
    yield stage
    stage.close()


@pytest.fixture(scope="session", autouse=True)
def compile_cache(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Compiled code is kept in pytest's cache, so that the second session does not wait for the compiler."""
    folder = request.config.cache.mkdir("fastdiff-compile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def sessions_of_their_own() -> Iterator[None]:
    """A session that a test starts is no worker; pytest-benchmark would not measure in one."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PYTEST_XDIST_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """A shell lets its background jobs ignore Ctrl-C, and their children too; the tests of it need it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def nothing_left_alive() -> Iterator[None]:
    """Closes the pipeline that a failing test left behind, so that it does not take the next test with it."""
    yield
    optimize = sys.modules.get("fastdiff.optimize")
    for built in list(optimize._alive) if optimize else ():
        built.close()


@pytest.fixture(autouse=True)
def nothing_in_use() -> Iterator[None]:
    """What a test used of the cache of environments is free after it, as after a process."""
    yield
    if home := sys.modules.get("fastdiff.sides.home"):
        home.let_go()


def _write_tiny(folder: Path) -> None:
    from fastdiff.models.libraries import diffusers, torch  # first, because it drops the noise of the others
    from tools.shapes import architecture

    with torch.random.fork_rng(devices=[]), _no_bars():
        torch.manual_seed(0)
        text_encoder, text_encoder_2 = _text_encoders(architecture)
        tokenizer = architecture.save_tokenizer(folder / "tokenizer")
        pipeline = diffusers.StableDiffusionXLPipeline(
            vae=_vae(diffusers),
            text_encoder=text_encoder,
            text_encoder_2=text_encoder_2,
            tokenizer=tokenizer,
            tokenizer_2=tokenizer,
            unet=_unet(diffusers),
            scheduler=architecture.scheduler(),
            add_watermarker=False,
        )
        pipeline.save_pretrained(folder)


def _unet(diffusers: Any) -> Any:
    """Equal widths share compiled kernels; 64 + 64 from a skip is the 128 that the convolution filter asks for."""
    return diffusers.UNet2DConditionModel(
        sample_size=32,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),  # no attention in the first level, as in SDXL
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(64, 64),
        layers_per_block=1,
        transformer_layers_per_block=(1, 2),
        reverse_transformer_layers_per_block=[[1, 1], [1, 1]],
        attention_head_dim=(4, 4),  # heads, as in the embedded model
        norm_num_groups=16,
        cross_attention_dim=2 * TEXT_WIDTH,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_EMBEDDING,
        projection_class_embeddings_input_dim=6 * TIME_EMBEDDING + TEXT_WIDTH,
    )


def _vae(diffusers: Any) -> Any:
    return diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(16, 16),
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
        sample_size=64,
        force_upcast=False,
    )


def _text_encoders(architecture: Any) -> tuple[Any, Any]:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    vocabulary, _ = architecture.vocabulary()
    config = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=architecture.TOKENS,
        hidden_act="gelu",
        bos_token_id=vocabulary[architecture.START],
        eos_token_id=vocabulary[architecture.END],
        pad_token_id=vocabulary[architecture.END],
    )
    return CLIPTextModel(config), CLIPTextModelWithProjection(config)


@contextmanager
def _no_bars() -> Iterator[None]:
    """Without the bars that transformers shows while it writes."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
