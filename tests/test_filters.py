"""Which layers are quantized: by shapes and names in a file, by a function, as published, and as kernels can."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from here import DTYPE

from fastdiff.host.processor import features
from fastdiff.instruments import fingerprint
from fastdiff.models import CATALOGUE, Model
from fastdiff.models.architectures import ARCHITECTURES
from fastdiff.models.dummy import skeleton
from fastdiff.models.filters import SDXL, published
from fastdiff.models.libraries import torch
from fastdiff.optimize import build, quantization
from fastdiff.optimize.fusion import fuse_qkv
from fastdiff.record.errors import UserError
from fastdiff.record.reading import convert
from fastdiff.report.layers import left_out
from fastdiff.stages.filters import Filter
from fastdiff.stages.published import LADDER
from fastdiff.stages.recipe import Recipe
from fastdiff.stages.toml import configured

if TYPE_CHECKING:
    from collections.abc import Iterator

WEIGHT_ONLY = Recipe(dtype=DTYPE, attention="sdpa", quantize="int8-weight-only")


# -- the data ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filter_", "selected"),
    [
        (Filter(), {"a.to_q", "a.to_out.0", "b.ff"}),
        (Filter(inputs_above=0), {"a.to_q", "a.to_out.0", "b.ff", "narrow"}),
        (Filter(inputs_above=64), {"b.ff"}),
        (Filter(shapes=((64, 64),)), {"a.to_q", "a.to_out.0"}),
        (Filter(without_shapes=((64, 64),)), {"b.ff"}),
        (Filter(names=("a.*",)), {"a.to_q", "a.to_out.0"}),
        (Filter(names=("*.to_q", "b.*"), without_names=("*ff",)), {"a.to_q"}),
        (Filter(names=("a.*",), shapes=((128, 256),)), set()),
    ],
)
def test_a_filter_selects_what_all_of_it_allows(filter_: Filter, selected: set[str]) -> None:
    layers = {"a.to_q": (64, 64), "a.to_out.0": (64, 64), "b.ff": (128, 256), "narrow": (16, 64)}
    assert {name for name, shape in layers.items() if filter_.selects(name, *shape)} == selected


TABLE = {
    "inputs-above": 32,
    "shapes": [[64, 64], [128, 256]],
    "without-shapes": [[64, 128]],
    "names": ["*.attn*"],
    "without-names": ["*.to_out.*"],
}


def test_a_filter_is_a_table_or_the_path_of_a_function() -> None:
    def of(value: object) -> Filter | None:
        return configured(LADDER, {"mine": {"filter": value}})["mine"].recipe.filter

    assert of(TABLE) == Filter(32, ((64, 64), (128, 256)), ((64, 128),), ("*.attn*",), ("*.to_out.*",))
    assert of("mine.layers:worth") == of({"function": "mine.layers:worth"}) == Filter(function="mine.layers:worth")


def test_a_filter_is_kept_as_what_it_changes_and_comes_back_from_a_message() -> None:
    recipe = configured(LADDER, {"mine": {"filter": TABLE}})["mine"].recipe
    assert recipe.as_kept()["filter"] == {
        "inputs_above": 32,
        "shapes": [[64, 64], [128, 256]],
        "without_shapes": [[64, 128]],
        "names": ["*.attn*"],
        "without_names": ["*.to_out.*"],
    }
    assert convert(asdict(recipe), Recipe, "recipe") == recipe
    assert "filter" not in LADDER["int8"].recipe.as_kept()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (3, "filter is 3; give a table"),
        ({"shape": [[1, 2]]}, "did you mean 'shapes'"),
        ({"shapes": "64x64"}, "shapes is '64x64'; give a list"),
        ({"shapes": [64, 64]}, r"shapes holds 64; give pairs such as \[640, 1280\]"),
        ({"without-shapes": [[64, 64, 64]]}, r"without_shapes holds \(64, 64, 64\)"),
        ({"names": "a.*"}, "names is 'a.*'; give a list"),
        ({"without-names": [3]}, "without_names holds 3; give patterns in quotes"),
        ({"inputs-above": -1}, "inputs_above is -1; give a whole number"),
        ({"inputs-above": True}, "inputs_above is True; give a whole number"),
        ("worth", "function is 'worth'; write \"package.module:function\""),
        ({"function": 3}, "function is 3"),
    ],
)
def test_a_wrong_filter_is_one_sentence(value: object, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        configured(LADDER, {"mine": {"filter": value}})
    assert str(error.value).startswith("stage 'mine': ")


def test_a_filter_of_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="nothing is quantized; set quantize, or leave the filter out"):
        Recipe(filter=Filter())
    with pytest.raises(UserError, match=r"filter is 'mine:worth'; give a Filter\(\)"):
        replace(WEIGHT_ONLY, filter="mine:worth")


# -- as published -----------------------------------------------------------------------------------------------------

COUNTED = [
    ("sdxl", 895, 598),
    ("ssd-1b", 460, 283),
    ("sd15", 228, 228),
    ("pixart-alpha", 358, 358),
    ("flux-schnell", 590, 590),
    ("flux-dev", 592, 592),
]
"""Linear layers of the stage `int8`, and how many of them the published filter selects: its fact `quantized_layers`."""


def named(name: str) -> Model:
    return next(model for model in CATALOGUE if model.name == name)


def test_the_published_pairs_are_for_models_of_sdxl_s_pipeline_alone() -> None:
    assert len(SDXL.without_shapes) == 19
    with_pairs = {model.name for model in CATALOGUE if published(model) == SDXL}
    assert with_pairs == {"shapes", "sdxl", "ssd-1b"}
    assert all(published(model) == Filter() for model in CATALOGUE if model.name not in with_pairs)


@pytest.mark.parametrize(("name", "layers", "selected"), COUNTED)
def test_layers_of_full_size_models_are_counted_without_memory(name: str, layers: int, selected: int) -> None:
    """Docs/guides/recipes.md has these numbers, too."""
    model = named(name)
    denoiser = "unet" if "unet" in ARCHITECTURES[name].parts else "transformer"
    linear = dict(_linear(name, denoiser))
    filter_ = published(model)
    chosen = sum(quantization.selected(filter_, module, where) for where, module in linear.items())
    assert (len(linear), chosen) == (layers, selected)
    page = (Path(__file__).parents[1] / "docs" / "guides" / "recipes.md").read_text()
    assert f"| `{name}` | {layers:,} | {selected:,} |" in page


def _linear(name: str, denoiser: str) -> Iterator[tuple[str, Any]]:
    """Of denoiser and autoencoder; among them those that fused ones replaced, which diffusers keeps."""
    parts = {which: skeleton(ARCHITECTURES[name].parts[which]).to("meta") for which in (denoiser, "vae")}
    fuse_qkv(list(parts.values()))
    quantization.convolutions_to_linear(parts.values())
    for which, part in parts.items():
        for where, module in part.named_modules():
            if isinstance(module, torch.nn.Linear):
                yield f"{which}.{where}", module


# -- in a pipeline ----------------------------------------------------------------------------------------------------


def shapes_of(model: Model, recipe: Recipe) -> tuple[set[str], fingerprint.Structure]:
    with build(model, recipe, "cpu") as built:
        names = {
            name for part in built.parts for name, module in part.named_modules() if quantization.is_quantized(module)
        }
        return names, fingerprint.structure(built)


def test_only_what_the_recipe_s_filter_selects_is_quantized(tiny: Model) -> None:
    everything, _ = shapes_of(tiny, WEIGHT_ONLY)
    chosen, found = shapes_of(tiny, replace(WEIGHT_ONLY, filter=Filter(names=("*.ff.net.*",))))
    assert chosen == {name for name in everything if ".ff.net." in name}
    assert found.quantized_layers == len(chosen) > 0
    assert found.unquantized == {}


def test_a_function_of_the_project_selects(tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_layers.py").write_text(
        "def worth(layer, name):\n    return layer.bias is None and 'attn1' in name\n"
    )
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    chosen, found = shapes_of(tiny, replace(WEIGHT_ONLY, filter=Filter(function="my_layers:worth")))
    assert sys.path == before
    assert {name.rpartition(".")[2] for name in chosen} == {"to_q", "to_k", "to_v"}
    assert all("attn1" in name for name in chosen)
    assert found.unquantized == {}


@pytest.mark.parametrize("path", ["no_such_module:worth", "json:no_such_function"])
def test_a_function_that_is_not_there_is_one_sentence(tiny: Model, path: str) -> None:
    with pytest.raises(UserError, match=f"filter: {path} cannot be imported .*; give package.module:function"):
        build(tiny, replace(WEIGHT_ONLY, filter=Filter(function=path)), "cpu")


# -- what kernels can -------------------------------------------------------------------------------------------------


def twin(name: str) -> Model:
    return named(name).with_weights("twin")


def test_layers_that_no_kernel_takes_stay_as_they_are_and_are_named() -> None:
    with build(twin("sdxl"), WEIGHT_ONLY, "cpu") as built:
        found = fingerprint.structure(built)
        odd = {
            f"{module.in_features} x {module.out_features}": quantization.is_quantized(module)
            for part in built.parts
            for module in part.modules()
            if isinstance(module, torch.nn.Linear) and module.in_features > 16 and module.in_features % 16
        }
    assert odd
    assert not any(odd.values())
    assert set(found.left_out) == set(odd)
    assert found.unquantized == {}
    assert found.quantized_layers > 0
    facts = fingerprint.Fingerprint(found).flat()
    count = sum(found.left_out.values())
    assert left_out(facts).startswith(f"{count} layers not quantized, because no kernel supports ")
    assert next(iter(odd)) in left_out(facts)


def test_where_kernels_take_everything_nothing_is_said(tiny: Model) -> None:
    _, found = shapes_of(tiny, WEIGHT_ONLY)
    assert found.left_out == {}
    assert left_out(fingerprint.Fingerprint(found).flat()) == ""


COMPILED = """
from fastdiff.models.libraries import torch
from fastdiff.optimize import quantization
from fastdiff.stages.filters import Filter

with torch.no_grad():
    layers = torch.nn.Sequential(torch.nn.Linear(64, WIDTH), torch.nn.Linear(WIDTH, 64)).to(torch.bfloat16)
    quantization.quantize([layers], "int8-weight-only", Filter())
    print("quantized", sum(map(quantization.is_quantized, layers)), flush=True)
    print("drew", tuple(torch.compile(layers)(torch.randn(8, 64, dtype=torch.bfloat16)).shape))
"""


def compiled(width: int, before: str = "") -> subprocess.CompletedProcess[str]:
    """In a process of its own, which a wrong width ends."""
    code = COMPILED.replace("WIDTH", str(width)).replace("with torch", f"{before}\nwith torch")
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.compile
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("width", "quantized"), [(24, 1), (40, 1), (64, 2)])
def test_compiled_weights_in_int8_do_not_end_the_process(width: int, quantized: int) -> None:
    done = compiled(width)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == [f"quantized {quantized}", "drew (8, 64)"]


@pytest.mark.compile
@pytest.mark.timeout(600)
@pytest.mark.skipif("avx512f" not in features(), reason="the kernel for AVX2 takes every width")
def test_the_kernel_still_ends_the_process_where_such_a_layer_is_given_to_it() -> None:
    """If this fails, torch was mended: the layers need not be left out any more."""
    done = compiled(24, before='quantization.MULTIPLES["int8-weight-only"] = (1, 1)')
    assert done.stdout.startswith("quantized 2")
    assert done.returncode == -signal.SIGSEGV
