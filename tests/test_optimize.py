"""Building: every recipe draws, what was borrowed is given back, what leaked is named, memory is returned."""

from __future__ import annotations

import gc
import os
import platform
import shutil
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from here import DTYPE, HERE, NATIVE, SLOW
from packaging.version import Version
from torch._dynamo import config as dynamo
from torch._inductor import config as inductor

from fastdiff.host import allocator
from fastdiff.instruments import fingerprint
from fastdiff.models.libraries import diffusers, torch
from fastdiff.optimize import build, layout, noise, precision, switches
from fastdiff.quality.metrics import likeness
from fastdiff.record.errors import UserError
from fastdiff.stages.published import LADDER
from fastdiff.stages.recipe import PUBLISHED_FLAGS, Compile, Recipe
from fastdiff.trial.live import LiveStage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastdiff.models import Model
    from fastdiff.optimize import Built

EAGER = {
    "fp32": LADDER["fp32"].recipe,
    "bf16": LADDER["bf16"].recipe,
    "sdpa": HERE["sdpa"].recipe,
    "fused": Recipe(dtype=DTYPE, attention="sdpa", fuse_qkv=True),
}
EACH = [pytest.param(name, marks=SLOW if name == "bf16" else []) for name in EAGER]

GROWTH_OF_TEN_BUILDS_MIB = 8
"""The tiny model has 8 MiB of weights in float32, so ten leaked ones would be 80."""


def draw(built: Built, seed: int = 0) -> np.ndarray:
    asked = built.model.request
    return built.pipeline(
        prompt=asked.prompt,
        height=asked.size,
        width=asked.size,
        num_inference_steps=asked.steps,
        guidance_scale=asked.guidance,
        generator=torch.Generator("cpu").manual_seed(seed),
        output_type="np",
    ).images


@pytest.fixture
def untouched() -> Iterator[None]:
    """The test leaves every global switch as it was."""
    before = switches.read()
    yield
    left = switches.leaks(before, switches.read())
    switches.restore(before)
    assert left == []


# -- drawing ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(tiny: Model) -> np.ndarray:
    with build(tiny, EAGER["fp32"], "cpu") as built:
        return draw(built)


@pytest.mark.parametrize("name", EACH)
def test_every_eager_recipe_draws_the_same_picture(tiny: Model, plain: np.ndarray, name: str) -> None:
    with build(tiny, EAGER[name], "cpu") as built:
        first, again, other = draw(built), draw(built), draw(built, seed=1)
    assert first.shape == (1, 64, 64, 3)
    assert np.isfinite(first).all()
    assert first.std() > 0.02
    assert np.array_equal(first, again), "one seed, two pictures"
    assert np.abs(first - other).max() > 0.1, "two seeds, one picture"
    assert likeness(first, plain).ssim > 0.99


def test_load_time_is_measured(tiny: Model) -> None:
    with build(tiny, EAGER["fp32"], "cpu") as built:
        assert 0 < built.load_s < 600


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (Recipe(offload="model"), "model offload"),
        (Recipe(offload="sequential"), "sequential offload"),
        (Recipe(dtype="float16"), "float16"),
    ],
)
def test_the_cpu_refuses_what_it_cannot_do(tiny: Model, untouched: None, recipe: Recipe, words: str) -> None:
    with pytest.raises(UserError, match=words) as refusal:
        build(tiny, recipe, "cpu")
    sentence = str(refusal.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")


def test_only_one_pipeline_is_alive(tiny: Model) -> None:
    built = build(tiny, EAGER["fp32"], "cpu")
    with pytest.raises(RuntimeError, match=r"'tiny' is still alive.*close it first"):
        build(tiny, EAGER["fp32"], "cpu")
    built.close()
    with build(tiny, EAGER["fp32"], "cpu") as after:
        assert after.pipeline is not None


def test_closing_twice_is_harmless(tiny: Model, untouched: None) -> None:
    built = build(tiny, EAGER["fp32"], "cpu")
    inductor.max_autotune = True
    leaks = built.close()
    assert len(leaks) == 1
    # What changes between the two calls is no leak, and is not put back.
    inductor.epilogue_fusion = False
    assert built.close() == leaks
    assert not inductor.epilogue_fusion, "the second call put something back"
    inductor.epilogue_fusion = True


# -- borrowing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tf32", [True, False])
def test_precision_is_borrowed(tiny: Model, untouched: None, tf32: bool) -> None:
    """A CPU computes float32 strictly, whatever the recipe allows a GPU."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.allow_tf32 = True
    with build(tiny, Recipe(tf32=tf32), "cpu") as built:
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.backends.cudnn.allow_tf32
    assert built.leaks == []
    assert torch.get_float32_matmul_precision() == "medium"
    assert torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


@pytest.mark.parametrize(("tf32", "wanted"), [(True, "high"), (False, "highest")])
def test_a_gpu_rounds_to_tf32_where_the_recipe_allows_it(tf32: bool, wanted: str) -> None:
    asked = precision.switches(tf32, "cuda:1")
    assert asked == {"float32_matmul_precision": wanted, "cudnn.allow_tf32": tf32}


@pytest.mark.parametrize("name", ["compile", "int8"])
def test_inductor_flags_are_borrowed(tiny: Model, untouched: None, name: str) -> None:
    recipe = LADDER[name].recipe
    assert recipe.compile is not None
    wanted = dict(recipe.compile.flags)
    assert set(wanted) >= {flag for flag, _ in PUBLISHED_FLAGS}
    before = {flag: getattr(inductor, flag) for flag in wanted}
    assert all(before[flag] != wanted[flag] for flag in wanted), "a flag that is set already proves nothing"
    with build(tiny, recipe, "cpu") as built:
        assert {flag: getattr(inductor, flag) for flag in wanted} == wanted
    assert built.leaks == []
    assert {flag: getattr(inductor, flag) for flag in wanted} == before


def without_index(model: Model, folder: Path) -> tuple[Model, Recipe]:
    return replace(model, source=str(folder)), Recipe()


def with_broken_weights(model: Model, folder: Path) -> tuple[Model, Recipe]:
    copy = shutil.copytree(model.source, folder / "broken")
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    return replace(model, source=str(copy)), Recipe()


def with_missing_weights(model: Model, folder: Path) -> tuple[Model, Recipe]:
    copy = shutil.copytree(model.source, folder / "missing")
    (copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    return replace(model, source=str(copy)), Recipe()


def with_unknown_tiny_autoencoder(model: Model, folder: Path) -> tuple[Model, Recipe]:
    return replace(model, tiny_autoencoder=str(folder / "nowhere")), Recipe(autoencoder="tiny")


@pytest.mark.parametrize(
    "spoil",
    [
        without_index,
        with_broken_weights,
        with_missing_weights,
        with_unknown_tiny_autoencoder,
    ],
)
def test_weights_that_are_not_to_be_had(
    tiny: Model, tmp_path: Path, untouched: None, spoil: Callable[[Model, Path], tuple[Model, Recipe]]
) -> None:
    model, recipe = spoil(tiny, tmp_path)
    with pytest.raises(UserError) as error:
        build(model, recipe, "cpu")
    assert "\n" not in str(error.value)
    with build(tiny, EAGER["fp32"], "cpu") as built:
        assert built.pipeline is not None, "a build that failed must not stand in the way of the next"


def test_a_model_without_a_tiny_autoencoder_is_no_fault_of_its_weights(tiny: Model, untouched: None) -> None:
    with pytest.raises(UserError, match=r"'tiny' has no tiny autoencoder; set autoencoder = \"own\"\.$"):
        build(tiny, Recipe(autoencoder="tiny"), "cpu")


def test_a_flag_that_this_torch_does_not_have(tiny: Model, untouched: None) -> None:
    flags = (("epilogue_fusion", False), ("no_such_flag", True))
    with pytest.raises(switches.UserError, match=r"no switch called 'inductor\.no_such_flag'"):
        build(tiny, replace(LADDER["compile"].recipe, compile=Compile(flags=flags)), "cpu")
    assert inductor.epilogue_fusion
    with build(tiny, EAGER["fp32"], "cpu") as built:
        assert built.pipeline is not None


# -- the guard --------------------------------------------------------------------------------------------------------


def change_inductor() -> None:
    inductor.max_autotune = True


def change_dynamo() -> None:
    dynamo.suppress_errors = True


def change_sdpa() -> None:
    torch.backends.cuda.enable_flash_sdp(False)


def change_threads() -> None:
    torch.set_num_threads(torch.get_num_threads() + 1)


def change_environment() -> None:
    os.environ["TORCH_COMPILE_DISABLE"] = "1"


@pytest.mark.parametrize(
    ("change", "leak"),
    [
        (change_inductor, "inductor.max_autotune was False and is True"),
        (change_dynamo, "dynamo.suppress_errors was False and is True"),
        (change_sdpa, "sdpa.flash was True and is False"),
        (change_threads, "num_threads was {} and is {}"),
        (change_environment, "environment.TORCH_COMPILE_DISABLE was None and is '1'"),
    ],
)
def test_the_guard_names_what_leaked(
    tiny: Model, untouched: None, monkeypatch: pytest.MonkeyPatch, change: Callable[[], None], leak: str
) -> None:
    monkeypatch.delenv("TORCH_COMPILE_DISABLE", raising=False)
    threads = torch.get_num_threads()
    built = build(tiny, EAGER["fp32"], "cpu")
    change()
    assert built.close() == [leak.format(threads, threads + 1)]
    assert built.leaks == built.close()


def test_the_guard_names_every_leak(tiny: Model, untouched: None) -> None:
    built = build(tiny, EAGER["fp32"], "cpu")
    change_inductor()
    change_sdpa()
    assert [leak.split()[0] for leak in built.close()] == ["inductor.max_autotune", "sdpa.flash"]


def test_where_inductor_puts_its_cache_is_no_leak(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no folder named, the first compilation names one in the environment by itself."""
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    with build(tiny, EAGER["fp32"], "cpu") as built:
        cache_dir()  # as every compilation calls it
    assert built.leaks == []


# -- memory -----------------------------------------------------------------------------------------------------------


def ghosts(built: Built) -> list[weakref.ref[Any]]:
    pipeline = built.pipeline
    return [weakref.ref(part) for part in (pipeline, pipeline.unet, pipeline.vae, pipeline.unet.conv_in.weight)]


@pytest.mark.parametrize("name", EACH)
def test_an_eager_pipeline_dies_when_it_is_closed(tiny: Model, name: str) -> None:
    built = build(tiny, EAGER[name], "cpu")
    draw(built)
    left = ghosts(built)
    assert all(ghost() is not None for ghost in left)
    built.close()
    assert [ghost() for ghost in left] == [None] * len(left)


@pytest.mark.compile
@pytest.mark.timeout(1800)
def test_a_compiled_pipeline_is_proven_and_dies_when_it_is_closed(tiny: Model, untouched: None) -> None:
    """The one test here that waits for a real compiler: what must hold afterwards is told in one place.

    The highest stage holds what the others compile.
    """
    live = LiveStage(tiny, HERE[NATIVE[-1]], "cpu", tiny.request, rounds=1)
    left = ghosts(live.built)
    live.first_call()
    assert np.isfinite(live.images).all()
    assert live.compilation.graphs == 2
    assert live.compilation.cache != "none"
    assert live.unapplied == []
    assert live.close() == []
    assert [ghost() for ghost in left] == [None] * len(left)


def test_what_compilation_was_about_to_hold_dies_too(tiny: Model) -> None:
    """Wrapped for compilation and never called: nothing compiles, and still nothing may stay."""
    built = build(tiny, LADDER["int8"].recipe, "cpu")
    left = ghosts(built)
    built.close()
    assert [ghost() for ghost in left] == [None] * len(left)


def test_every_dtype_starts_from_the_same_noise(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is needed before torch 2.12, where one seed gave other numbers in other dtypes."""
    monkeypatch.setattr(noise, "dtypes_draw_alike", lambda: False)

    def latents(dtype: torch.dtype) -> torch.Tensor:
        with build(tiny, LADDER["fp32"].recipe, "cpu") as built:
            seed, asked = torch.Generator().manual_seed(3), []
            original = torch.randn
            monkeypatch.setattr(torch, "randn", lambda *a, **k: (asked.append(k["dtype"]), original(*a, **k))[1])
            drawn = built.pipeline.prepare_latents(1, 4, 64, 64, dtype, torch.device("cpu"), seed)
            monkeypatch.setattr(torch, "randn", original)
            assert asked == [torch.float32]
        assert drawn.dtype == dtype
        return drawn

    whole, half = latents(torch.float32), latents(torch.bfloat16)
    assert (whole.bfloat16() == half).all()


def test_a_picture_is_encoded_in_the_dtype_of_the_stage(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """While its pipeline draws in float32: the noise that is added to it, and that of the encoder."""
    asked: list[torch.dtype] = []
    original = torch.randn
    half = replace(LADDER["fp32"].recipe, dtype="bfloat16")
    with build(tiny, half, "cpu") as built:
        pipeline = diffusers.StableDiffusionXLImg2ImgPipeline(**built.pipeline.components)
        pipeline.scheduler.set_timesteps(2)
        monkeypatch.setattr(noise, "dtypes_draw_alike", lambda: False)
        noise.draw_in_float32(pipeline)
        monkeypatch.setattr(torch, "randn", lambda *a, **k: (asked.append(k["dtype"]), original(*a, **k))[1])
        picture, start = torch.zeros(1, 3, 64, 64), pipeline.scheduler.timesteps[:1]
        latents = pipeline.prepare_latents(picture, start, 1, 1, torch.bfloat16, "cpu", torch.Generator())
        nested = noise._in_float32(noise._in_float32(built.pipeline.prepare_latents))  # one such method calls another
        drawn = nested(1, 4, 64, 64, torch.bfloat16, torch.device("cpu"), torch.Generator())
    assert latents.dtype == drawn.dtype == torch.bfloat16
    assert asked == [torch.float32] * 3
    assert diffusers.utils.torch_utils.randn_tensor is sys.modules[noise.ENCODER].randn_tensor, "put back"


def test_this_torch_is_asked_whether_its_dtypes_draw_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    noise.dtypes_draw_alike.cache_clear()
    assert noise.dtypes_draw_alike() is (Version(torch.__version__) >= Version("2.12"))
    original = torch.randn

    def unrelated(*size: int, generator: torch.Generator, dtype: torch.dtype) -> torch.Tensor:
        """Each dtype takes other bits of the same random words."""
        return original(*size, generator=generator.manual_seed(dtype.itemsize), dtype=dtype)

    noise.dtypes_draw_alike.cache_clear()
    monkeypatch.setattr(torch, "randn", unrelated)
    assert not noise.dtypes_draw_alike()
    noise.dtypes_draw_alike.cache_clear()


@pytest.mark.nightly
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_ten_builds_do_not_grow(tiny: Model) -> None:
    def resident_mib() -> float:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def once() -> None:
        with build(tiny, EAGER["fp32"], "cpu") as built:
            draw(built)

    for _ in range(2):  # thread pools, primitive caches and imports come once
        once()
    before = resident_mib()
    for _ in range(10):
        once()
    assert resident_mib() - before < GROWTH_OF_TEN_BUILDS_MIB


def glibc_with_small_pages() -> bool:
    """Huge ones would be a few hundred faults."""
    huge = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    small = not (huge.exists() and "[always]" in huge.read_text())
    return sys.platform == "linux" and platform.libc_ver()[0] == "glibc" and small


@pytest.fixture
def ordinary(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*allocator.VARIABLES, "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)


PAGE_FAULTS = """
import resource
from fastdiff.host import allocator

def page_faults(mebibytes):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * (mebibytes * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def fewest(mebibytes):
    return min(page_faults(mebibytes) for _ in range(5))

with allocator.freed_memory_kept("cpu"):
    print(fewest(40))
print(fewest(400))
"""
"""Of making and freeing a block: 256 for each MiB that was given back; the fewest, since a heap settles first."""


@pytest.mark.skipif(not glibc_with_small_pages(), reason="other allocators have other settings")
@pytest.mark.usefixtures("ordinary")
def test_freed_memory_is_kept_while_a_stage_lives() -> None:
    """In a process of its own: one that has run other tests may have holes in its heap that never go back."""
    told = subprocess.check_output([sys.executable, "-c", PAGE_FAULTS], text=True, timeout=60)
    kept, given_back = map(int, told.split())
    assert kept < 1000
    assert given_back > 10_000, "more than the heap still has from before, so what was set afterwards counts"


@pytest.mark.usefixtures("ordinary")
def test_a_stage_borrows_the_allocator(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[int, int]] = []
    monkeypatch.setattr(allocator, "_set", seen.append)
    with build(tiny, EAGER["fp32"], "cpu"):
        assert seen == [allocator.KEEP]
    assert seen == [allocator.KEEP, allocator.AFTERWARDS]


@pytest.mark.usefixtures("ordinary")
@pytest.mark.parametrize(
    ("device", "name", "value", "ours"),
    [
        ("cpu", "UNRELATED", "1", True),
        ("cuda", "UNRELATED", "1", False),
        ("cpu", "MALLOC_TRIM_THRESHOLD_", "131072", False),
        ("cpu", "GLIBC_TUNABLES", "glibc.malloc.check=1:glibc.malloc.mmap_max=1", False),
        ("cpu", "GLIBC_TUNABLES", "glibc.malloc.tcache_count=0", True),
    ],
)
def test_a_decision_about_freed_memory_stays(
    device: str, name: str, value: str, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[int, int]] = []
    monkeypatch.setattr(allocator, "_set", seen.append)
    monkeypatch.setenv(name, value)
    with allocator.freed_memory_kept(device):
        pass
    assert bool(seen) == ours
    if device == "cpu" and glibc_with_small_pages():
        assert (allocator.policy() == "keeps freed memory") == ours


# -- the order of application -----------------------------------------------------------------------------------------


def test_the_ideas_of_int8_hold_together(tiny: Model) -> None:
    """Each is there after all the others were applied; nothing is called, so nothing compiles."""
    with build(tiny, LADDER["int8"].recipe, "cpu") as built:
        unet, vae = built.parts
        found = fingerprint.structure(built)
        modules = [module for part in built.parts for module in part.modules()]
        fused = [module for module in modules if getattr(module, "fused_projections", False)]
        former_convolutions = [module for module in modules if type(module).__name__ == "PermuteSandwich"]
        assert {dtype for dtypes in found.dtypes.values() for dtype in dtypes} == {"bfloat16"}
        assert set(found.processors) == {"FusedAttnProcessor2_0"}
        assert len(fused) == found.attention_modules > 0
        assert found.channels_last_convolutions == found.convolutions > 0
        assert unet._compiled_call_impl is not None
        assert hasattr(vae.decode, "_torchdynamo_orig_callable")

        # Fused before quantized: the one product is in int8, not only the three that it replaced.
        products = [m.to_kv if m.is_cross_attention else m.to_qkv for m in unet.modules() if hasattr(m, "to_q")]
        assert products
        assert all(quantized(product) for product in products)
        # Convolutions became linear before quantizing, so they are in int8 as well.
        assert former_convolutions
        assert all(quantized(module.mod) for module in former_convolutions)
        # What the published filters leave out is left out: a 1x1 convolution and products of 16 inputs.
        assert isinstance(vae.post_quant_conv, torch.nn.Conv2d)
        assert not quantized(vae.decoder.mid_block.attentions[0].to_qkv)


def quantized(linear: Any) -> bool:
    return type(linear.weight).__module__.startswith("torchao.")


def test_a_device_that_is_not_there_is_one_sentence(tiny: Model) -> None:
    with pytest.raises(UserError, match=r"sees \d+ CUDA devices, and cuda:77 was requested; .*--fastdiff-device cpu"):
        build(tiny, EAGER["fp32"], "cuda:77")


def test_attention_is_written_out_where_a_denoiser_has_no_method_for_it() -> None:
    from fastdiff.models.libraries import diffusers
    from fastdiff.optimize import attention

    unet = diffusers.UNet2DModel(
        block_out_channels=(8, 16),
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )
    assert not hasattr(unet, "set_attn_processor")
    attention.write_out([unet])
    used = {type(module.processor).__name__ for module in unet.modules() if hasattr(module, "processor")}
    assert used == {"AttnProcessor"}


def test_every_kernel_has_the_strides_that_its_part_would_get_by_itself() -> None:
    """Of 1x1 kernels the values lie alike in both layouts, and libraries go by the strides."""
    wide, narrow = (torch.nn.Conv2d(8, 4, size) for size in (3, 1))
    published = torch.nn.Sequential(torch.nn.Conv2d(8, 4, 3), torch.nn.Conv2d(8, 4, 1)).to(
        memory_format=torch.channels_last  # type: ignore[call-overload]
    )
    layout.channels_last([torch.nn.Sequential(wide, narrow, torch.nn.Conv3d(4, 4, 1))])
    assert [one.weight.stride() for one in (wide, narrow)] == [one.weight.stride() for one in published]
