"""The published ladder is what it says, impossible recipes are refused in one sentence, and users can extend it."""

import re
import tomllib
from dataclasses import FrozenInstanceError, asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdiff.models import Model, Request
from fastdiff.models.toml import PLACED
from fastdiff.record.budget import Budget
from fastdiff.record.errors import UserError
from fastdiff.stages.budgets import LOSSLESS, QUANTIZED
from fastdiff.stages.ladder import Ladder, Stage, ladder, stage, without_instructions
from fastdiff.stages.published import LADDER
from fastdiff.stages.recipe import PUBLISHED_FLAGS, Compile, Recipe
from fastdiff.stages.techniques import TECHNIQUES
from fastdiff.stages.toml import configured

NAMES = ("fp32", "bf16", "sdpa", "compile", "fused-qkv", "int8")
COMPILED = LADDER["compile"].recipe

ADDED = {
    "bf16": {"dtype"},
    "sdpa": {"attention"},
    "compile": {"compile", "channels_last"},
    "fused-qkv": {"fuse_qkv"},
    "int8": {"quantize", "compile"},
}
"""Which fields of the recipe a published stage changes, against the one that it follows."""


def one_sentence(error: pytest.ExceptionInfo[UserError], *words: str) -> str:
    """The message, after a look at what every refusal has: one line, a full stop, and the words that matter."""
    said = str(error.value)
    assert "\n" not in said
    assert said.endswith(".")
    for word in words:
        assert word in said
    return said


def mends(said: str) -> bool:
    """Whether it ends with what to do: advice after a semicolon, or the names that there are."""
    return bool(re.search(r"; \w.*\.$|There are: .*\.$", said))


def tables(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


# -- the published ladder ---------------------------------------------------------------------------------------------


def test_published_order() -> None:
    assert LADDER.names == NAMES
    assert tuple(stage.name for stage in LADDER) == NAMES
    assert LADDER.reference.name == "fp32"


def test_each_stage_follows_its_neighbour() -> None:
    assert [stage.follows for stage in LADDER] == [None, *NAMES[:-1]]


@pytest.mark.parametrize("name", ADDED)
def test_each_stage_adds_one_idea(name: str) -> None:
    new, before = LADDER[name], LADDER[LADDER[name].follows or ""]
    changed = {f.name for f in fields(Recipe) if getattr(new.recipe, f.name) != getattr(before.recipe, f.name)}
    assert changed == ADDED[name]


def test_each_stage_says_what_it_adds() -> None:
    said = [stage.adds for stage in LADDER]
    assert len(set(said)) == len(said)
    assert all(text.strip() and "\n" not in text for text in said)


def test_reference_is_the_published_baseline_and_says_so() -> None:
    assert LADDER["fp32"].recipe == Recipe(dtype="float32", tf32=True, attention="vanilla")
    assert "TF32" in LADDER["fp32"].adds
    assert "attention" in LADDER["fp32"].adds


def test_published_values() -> None:
    assert LADDER["bf16"].recipe.dtype == "bfloat16"
    assert LADDER["sdpa"].recipe.attention == "sdpa"
    assert COMPILED.channels_last is True
    assert COMPILED.compile == Compile(mode="max-autotune", fullgraph=True, denoiser=True, decoder=True)
    assert LADDER["fused-qkv"].recipe.fuse_qkv is True
    assert LADDER["int8"].recipe.quantize == "int8-dynamic"


def test_published_inductor_flags() -> None:
    assert dict(PUBLISHED_FLAGS) == {
        "conv_1x1_as_mm": True,
        "coordinate_descent_tuning": True,
        "epilogue_fusion": False,
        "coordinate_descent_check_all_directions": True,
    }
    quantized, plain = LADDER["int8"].recipe.compile, LADDER["fused-qkv"].recipe.compile
    assert quantized is not None
    assert plain is not None
    assert dict(quantized.flags) == {**dict(plain.flags), "force_fuse_int_mm_with_mul": True}
    assert {**asdict(quantized), "flags": ()} == {**asdict(plain), "flags": ()}


def test_only_the_lossy_stage_has_a_wider_budget() -> None:
    assert [stage.budget for stage in LADDER] == [*[LOSSLESS] * 5, QUANTIZED]
    assert QUANTIZED.ssim < LOSSLESS.ssim <= 1
    assert QUANTIZED.worst_tile < LOSSLESS.worst_tile <= 1


# -- frozen data ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (Recipe(), "dtype"),
        (Compile(), "mode"),
        (LADDER["fp32"], "recipe"),
        (LADDER, "stages"),
        (LOSSLESS, "ssim"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_data_is_frozen_and_compared_by_value(data: Any, field: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(data, field, "other")
    twin = type(data)(**{f.name: getattr(data, f.name) for f in fields(data)})
    assert twin == data
    assert hash(twin) == hash(data)


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        (Recipe, {"dtype": "float23"}, ("dtype", "did you mean 'float32'")),
        (Recipe, {"attention": "spda"}, ("attention", "did you mean 'sdpa'")),
        (Recipe, {"quantize": "int8"}, ("quantize", "did you mean 'int8-dynamic'")),
        (Recipe, {"autoencoder": "tinny"}, ("autoencoder", "did you mean 'tiny'")),
        (Recipe, {"offload": "modell"}, ("offload", "did you mean 'model'")),
        (Recipe, {"dtype": None}, ("dtype", "'None'", "float32, bfloat16, float16")),
        (Recipe, {"compile": True}, ("compile", "True")),
        (Recipe, {"compile": "max"}, ("compile", "max")),
        (Recipe, {"fuse_qkv": True}, ("fuse_qkv", "vanilla", 'attention = "sdpa"')),
        (
            Recipe,
            {"fuse_qkv": True, "attention": "sdpa", "autoencoder": "tiny"},
            ("fuse_qkv", "tiny", 'autoencoder = "own"'),
        ),
        (Recipe, {"quantize": "int8-dynamic"}, ("int8-dynamic", "slower", "add compile")),
        (Recipe, {"offload": "model", "compile": Compile()}, ("offload", "graph", "drop compile or offload")),
        (Recipe, {"offload": "sequential", "compile": Compile()}, ("offload", "drop compile or offload")),
        (Compile, {"mode": "max-autotun"}, ("compile mode", "did you mean 'max-autotune'")),
        (Compile, {"denoiser": False, "decoder": False}, ("neither", "denoiser", "decoder", "leave `compile` out")),
    ],
)
def test_impossible_recipes_are_refused_when_they_are_made(
    kind: type[Recipe] | type[Compile], changes: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(UserError) as error:
        kind(**changes)
    assert mends(one_sentence(error, *words))


def test_possible_neighbours_of_the_refused_ones() -> None:
    Recipe(fuse_qkv=True, attention="sdpa")
    Recipe(attention="sdpa", autoencoder="tiny")
    Recipe(quantize="int8-dynamic", compile=Compile())
    Recipe(offload="model")
    Compile(denoiser=False)
    Compile(decoder=False)


def test_a_ladder_needs_a_stage() -> None:
    with pytest.raises(UserError) as error:
        ladder()
    one_sentence(error, "needs at least one stage")


def test_two_stages_of_one_name_are_refused() -> None:
    with pytest.raises(UserError) as error:
        Ladder((LADDER["fp32"], LADDER["fp32"]))
    assert mends(one_sentence(error, "'fp32'", "rename"))


@pytest.mark.parametrize(
    "stages",
    [(LADDER["bf16"],), (LADDER["fp32"], LADDER["sdpa"], LADDER["bf16"]), (Stage("a", Recipe(), "x", "a"),)],
    ids=["never", "later", "itself"],
)
def test_a_stage_follows_an_earlier_one(stages: tuple[Stage, ...]) -> None:
    with pytest.raises(UserError) as error:
        Ladder(stages)
    assert mends(one_sentence(error, "follows", "before"))


# -- devices ----------------------------------------------------------------------------------------------------------


def test_a_cpu_compiles_in_default_mode_and_keeps_the_rest() -> None:
    resolved = LADDER["int8"].recipe.on("cpu")
    assert resolved.compile is not None
    assert resolved.compile.mode == "default"
    original = asdict(LADDER["int8"].recipe)
    assert asdict(resolved) == {**original, "compile": {**original["compile"], "mode": "default"}}


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
@pytest.mark.parametrize("name", NAMES)
def test_a_gpu_cooks_as_written(name: str, device: str) -> None:
    assert LADDER[name].recipe.on(device) == LADDER[name].recipe


@pytest.mark.parametrize("name", ["fp32", "bf16", "sdpa"])
def test_a_cpu_changes_nothing_where_nothing_is_compiled(name: str) -> None:
    assert LADDER[name].recipe.on("cpu") == LADDER[name].recipe


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (Recipe(offload="model"), ("offload", "CPU")),
        (Recipe(offload="sequential"), ("offload", "CPU")),
        (Recipe(dtype="float16"), ("float16", "use bfloat16")),
    ],
    ids=["model", "sequential", "float16"],
)
def test_a_cpu_refuses_what_it_cannot_do(recipe: Recipe, words: tuple[str, ...]) -> None:
    assert recipe.on("cuda") == recipe
    with pytest.raises(UserError) as error:
        recipe.on("cpu")
    assert mends(one_sentence(error, *words))


# -- on a CPU without the instructions --------------------------------------------------------------------------------


def test_where_nothing_is_emulated_the_ladder_stays_as_it_is() -> None:
    assert LADDER.native(()) == LADDER
    assert TECHNIQUES.native(()) == TECHNIQUES


def test_stages_stay_in_float32_where_bfloat16_is_emulated() -> None:
    here = LADDER.native(("bfloat16",))
    assert here.names == NAMES
    assert here["bf16"] == LADDER["bf16"], "which is refused when it is its turn"
    assert here["sdpa"].follows == "fp32", "what follows the stage that is left out follows what that follows"
    for name in ("sdpa", "compile", "fused-qkv", "int8"):
        assert here[name] == replace(
            LADDER[name], follows=here[name].follows, recipe=replace(LADDER[name].recipe, dtype="float32")
        )
    assert [here[name].follows for name in NAMES[3:]] == list(NAMES[2:-1])
    assert here.refused(("bfloat16",)) == ("bf16",)
    assert here.refused(("bfloat16", "int8")) == ("bf16", "int8")


def test_techniques_in_half_precision_do_the_same() -> None:
    here = TECHNIQUES.native(("bfloat16", "int8"))
    assert here["half"].recipe == TECHNIQUES["half"].recipe
    assert here["default"].follows == "unoptimized"
    assert {stage.recipe.dtype for stage in here if stage.name != "half"} == {"float32"}
    assert here.reference.name == TECHNIQUES.reference.name
    assert here.refused(("bfloat16", "int8")) == ("half",)


def test_a_stage_about_more_than_its_dtype_keeps_the_rest() -> None:
    own = LADDER.extend("both", "two ideas", follows="fp32", dtype="bfloat16", channels_last=True)
    own = own.extend("one", "another", follows="both", dtype="bfloat16")
    own = own.extend("upcast", "the autoencoder in float32", follows="sdpa", upcast_vae=True)
    here = own.native(("bfloat16",))
    assert here["both"].recipe == Recipe(channels_last=True)
    assert here["one"] == replace(own["one"], recipe=here["both"].recipe), "it added nothing before, either"
    assert here["upcast"].recipe == own["upcast"].recipe, "in float32 it makes no sense"


@pytest.mark.parametrize(
    ("recipe", "emulated", "words"),
    [
        (LADDER["bf16"].recipe, ("bfloat16",), ("no instructions for bfloat16", "--fastdiff-emulate")),
        (TECHNIQUES["half"].recipe, ("bfloat16", "int8"), ("no instructions for bfloat16", "leave the stage out")),
        (LADDER["int8"].recipe, ("int8",), ("no instructions for int8", "float32")),
    ],
    ids=["bfloat16", "half", "int8"],
)
def test_a_cpu_refuses_what_it_only_emulates(recipe: Recipe, emulated: tuple[str, ...], words: tuple[str, ...]) -> None:
    assert recipe.on("cpu")
    assert recipe.on("cuda", emulated=()), "of a GPU nothing is emulated"
    with pytest.raises(UserError) as error:
        recipe.on("cpu", emulated=emulated)
    assert mends(one_sentence(error, *words))


def test_weights_alone_in_int8_need_no_products_in_int8() -> None:
    recipe = Recipe(attention="sdpa", quantize="int8-weight-only")
    assert recipe.on("cpu", emulated=("bfloat16", "int8")) == recipe


def test_missing_instructions_of_a_cpu_are_one_sentence() -> None:
    def told(*emulated: str, of: Ladder = LADDER) -> str:
        return without_instructions(emulated, of.native(emulated).refused(emulated))

    assert told() == ""
    as_written = " (--fastdiff-emulate measures as written)"
    assert told("bfloat16", "int8") == (
        "this CPU has no instructions for bfloat16 and int8: stages stay in float32, and bf16 and int8 are skipped"
        + as_written
    )
    assert told("int8") == "this CPU has no instructions for int8: int8 is skipped" + as_written
    plain = Ladder((LADDER["fp32"],))
    assert (
        told("bfloat16", of=plain) == "this CPU has no instructions for bfloat16: stages stay in float32" + as_written
    )
    assert told("int8", of=plain) == "this CPU has no instructions for int8: nothing here needs it" + as_written


def test_what_is_compared_with_a_stage_that_is_skipped_is_compared_with_what_that_follows() -> None:
    own = Ladder(LADDER.stages, compared_with="bf16")
    assert own.native(("bfloat16",)).reference.name == "fp32"
    assert own.native(("int8",)).reference.name == "bf16"


def test_what_is_impossible_anyway_is_refused_for_that() -> None:
    recipe = Recipe(dtype="bfloat16", attention="sdpa", quantize="int4-weight-only")
    with pytest.raises(UserError, match="has kernels for CUDA devices only"):
        recipe.on("cpu", emulated=("bfloat16", "int8"))


# -- ladders of the user's own ----------------------------------------------------------------------------------------


def test_unknown_stage_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError) as error:
        LADDER["fused_qkv"]
    one_sentence(error, "'fused_qkv'", "did you mean 'fused-qkv'?", *NAMES)


def test_a_name_near_to_none_is_answered_with_all() -> None:
    with pytest.raises(UserError) as error:
        LADDER["zzzz"]
    assert "did you mean" not in one_sentence(error, "'zzzz'", ", ".join(NAMES))


def test_a_ladder_is_shown_as_differences() -> None:
    own = ladder(stage("plain", "nothing"), stage("half", "half the bits", dtype="float16"), stage("same", "nothing"))
    assert own.names == ("plain", "half", "same")
    assert own["same"] == Stage("same", Recipe(dtype="float16"), "nothing", "half")


def test_add_puts_a_new_stage_last() -> None:
    new = Stage("mine", Recipe(), "nothing", "fp32")
    grown = LADDER.add(new)
    assert grown.names == (*NAMES, "mine")
    assert grown["mine"] is new
    assert "mine" not in LADDER.names


def test_add_replaces_in_place() -> None:
    new = Stage("sdpa", Recipe(dtype="float16", attention="sdpa"), "another", "bf16")
    changed = LADDER.add(new)
    assert changed.names == NAMES
    assert changed["sdpa"] is new
    assert [s for s in changed if s.name != "sdpa"] == [s for s in LADDER if s.name != "sdpa"]


def test_extend_follows_the_last_stage() -> None:
    new = LADDER.extend("plainer", "no flags", compile=Compile(flags=()))["plainer"]
    assert new.follows == "int8"
    assert new.recipe.compile == Compile(flags=())
    assert new.recipe.quantize == "int8-dynamic"
    assert new.budget == QUANTIZED


def test_extend_follows_the_named_stage() -> None:
    new = LADDER.extend("tiny", "a tiny autoencoder", follows="sdpa", autoencoder="tiny")["tiny"]
    assert new.follows == "sdpa"
    assert new.recipe == Recipe(dtype="bfloat16", attention="sdpa", autoencoder="tiny")
    assert new.budget == LOSSLESS


def test_extend_takes_a_budget() -> None:
    budget = Budget(0.5, 0.4, "here")
    assert LADDER.extend("rough", "less", budget=budget)["rough"].budget == budget


def test_extend_with_a_known_name_keeps_its_place_and_its_predecessor() -> None:
    changed = LADDER.extend("bf16", "half precision of the other kind", dtype="float16")
    assert changed.names == NAMES
    assert changed["bf16"].follows == "fp32"
    assert changed["bf16"].recipe == Recipe(dtype="float16")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dtyp": "float16"}, ("stage 'mine'", "'dtyp'", "did you mean 'dtype'")),
        ({"attention": "vanilla"}, ("stage 'mine'", "fuse_qkv", "sdpa")),
        ({"follows": "sdap"}, ("'sdap'", "did you mean 'sdpa'")),
    ],
    ids=["field", "combination", "follows"],
)
def test_extend_names_what_is_wrong(changes: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as error:
        LADDER.extend("mine", "nothing", **changes)
    assert mends(one_sentence(error, *words))


POOL = (*NAMES, "a", "b", "c", "nowhere")
CHANGES: tuple[dict[str, Any], ...] = (
    {},
    {"dtype": "float32"},
    {"attention": "vanilla", "fuse_qkv": False},
    {"attention": "vanilla"},
    {"offload": "model"},
    {"compile": None, "quantize": "none"},
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(POOL), st.none() | st.sampled_from(POOL), st.sampled_from(CHANGES)), max_size=8),
)
def test_any_sequence_of_extends_leaves_a_ladder(steps: list[tuple[str, str | None, dict[str, Any]]]) -> None:
    grown = LADDER
    for name, follows, changes in steps:
        before = grown.names
        try:
            grown = grown.extend(name, "anything", follows=follows, **changes)
        except UserError as error:
            assert str(error).endswith(".")  # noqa: PT017  (a refusal is as good as a new stage)
        assert grown.names[: len(before)] == before
    assert len(set(grown.names)) == len(grown.names)
    for place, each in enumerate(grown):
        assert each.follows is None or each.follows in grown.names[:place]
        assert grown[each.name] is each


# -- [tool.fastdiff.stages] -------------------------------------------------------------------------------------------


def test_a_table_adds_a_stage_that_follows_the_last() -> None:
    new = configured(LADDER, tables('[mine]\nadds = "no TF32"\ntf32 = false'))
    assert new.names == (*NAMES, "mine")
    assert (new["mine"].adds, new["mine"].follows, new["mine"].recipe.tf32) == ("no TF32", "int8", False)


def test_a_table_without_adds_still_says_something() -> None:
    assert "mine" in configured(LADDER, {"mine": {}})["mine"].adds


def test_a_table_follows_a_named_stage_or_an_earlier_table() -> None:
    grown = configured(LADDER, tables('[one]\nfollows = "sdpa"\nchannels-last = true\n[two]\nfollows = "one"'))
    assert grown["one"].recipe == Recipe(dtype="bfloat16", attention="sdpa", channels_last=True)
    assert grown["two"].recipe == grown["one"].recipe


@pytest.mark.parametrize("key", ["channels-last", "channels_last"])
def test_dashes_in_keys(key: str) -> None:
    assert configured(LADDER, {"mine": {"follows": "sdpa", key: True}})["mine"].recipe.channels_last is True


def test_compile_as_true_false_and_table() -> None:
    def compiled(value: Any, follows: str = "sdpa") -> Compile | None:
        return configured(LADDER, {"mine": {"follows": follows, "compile": value}})["mine"].recipe.compile

    assert compiled(True) == Compile()
    assert compiled(False, follows="compile") is None
    table = compiled({"mode": "reduce-overhead", "decoder": False, "flags": {"epilogue_fusion": True}})
    assert table is not None
    assert (table.mode, table.decoder, table.denoiser) == ("reduce-overhead", False, True)
    assert dict(table.flags)["epilogue_fusion"] is True
    assert hash(table)


@pytest.mark.parametrize("key", ["worst-tile", "worst_tile"])
def test_a_budget_is_a_table(key: str) -> None:
    budget = configured(LADDER, {"mine": {"budget": {"ssim": 0.9, key: 0.7}}})["mine"].budget
    assert (budget.ssim, budget.worst_tile) == (0.9, 0.7)
    assert "configuration" in budget.measured


def test_a_stage_inherits_the_budget() -> None:
    assert configured(LADDER, {"mine": {"follows": "sdpa"}})["mine"].budget == LOSSLESS
    assert configured(LADDER, {"mine": {}})["mine"].budget == QUANTIZED


@pytest.mark.parametrize(("name", "follows"), [("fp32", None), ("bf16", "fp32"), ("int8", "fused-qkv")])
def test_a_table_of_a_known_name_takes_its_place(name: str, follows: str | None) -> None:
    changed = configured(LADDER, {name: {"tf32": False}})
    assert changed.names == NAMES
    assert changed[name].follows == follows
    assert changed[name].recipe.tf32 is False


WRONG: dict[str, tuple[Any, tuple[str, ...]]] = {
    "not a table": (3, ("table",)),
    "text for a table": ("bf16", ("table",)),
    "unknown key": ({"atention": "sdpa"}, ("'atention'", "did you mean 'attention'")),
    "unknown value": ({"attention": "spda"}, ("'spda'", "did you mean 'sdpa'")),
    "number for a name": ({"dtype": 16}, ("dtype", "16")),
    "list for a name": ({"dtype": ["float16"]}, ("dtype", "float16")),
    "combination": ({"compile": False}, ("int8-dynamic", "add compile")),
    "text for a switch": ({"fuse-qkv": "no"}, ("fuse_qkv", "no", "true or false")),
    "text for tf32": ({"tf32": "off"}, ("tf32", "off", "true or false")),
    "number for a switch": ({"channels-last": 2}, ("channels_last", "2", "true or false")),
    "compile as text": ({"compile": "max"}, ("compile", "max")),
    "compile as number": ({"compile": 1}, ("compile", "1")),
    "unknown compile option": ({"compile": {"mod": "default"}}, ("'mod'", "did you mean 'mode'")),
    "unknown compile mode": ({"compile": {"mode": "max-autotun"}}, ("did you mean 'max-autotune'",)),
    "nothing to compile": ({"compile": {"denoiser": False, "decoder": False}}, ("neither",)),
    "text for a compile switch": ({"compile": {"fullgraph": "no"}}, ("fullgraph", "no", "true or false")),
    "flags as text": ({"compile": {"flags": "epilogue_fusion"}}, ("flags", "epilogue_fusion")),
    "flags as list": ({"compile": {"flags": ["epilogue_fusion"]}}, ("flags", "epilogue_fusion")),
    "flag as text": ({"compile": {"flags": {"epilogue_fusion": "no"}}}, ("epilogue_fusion", "no")),
    "budget as number": ({"budget": 0.9}, ("budget", "0.9", "worst_tile")),
    "unknown budget key": ({"budget": {"sim": 0.9, "worst_tile": 0.8}}, ("budget", "'sim'", "'ssim'")),
    "half a budget": ({"budget": {"ssim": 0.9}}, ("budget", "worst_tile")),
    "budget of text": ({"budget": {"ssim": "high", "worst_tile": 0.8}}, ("budget", "ssim", "high")),
    "budget above one": ({"budget": {"ssim": 95, "worst_tile": 0.8}}, ("budget", "ssim", "95")),
    "unknown follows": ({"follows": "bf61"}, ("'bf61'", "did you mean 'bf16'", *NAMES)),
    "number for follows": ({"follows": 3}, ("follows", "3")),
    "list for follows": ({"follows": ["bf16"]}, ("follows", "bf16")),
    "follows itself": ({"follows": "mine"}, ("'mine'",)),
    "number for adds": ({"adds": 3}, ("adds", "3")),
}
"""Tables that cannot be meant, each with the words that its sentence needs besides the stage's name."""


@pytest.mark.parametrize(("table", "words"), WRONG.values(), ids=[what.replace(" ", "-") for what in WRONG])
def test_a_wrong_table_is_one_sentence(table: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as error:
        configured(LADDER, {"mine": table})
    one_sentence(error, "'mine'", *words)


def test_a_table_cannot_follow_a_later_table() -> None:
    with pytest.raises(UserError) as error:
        configured(LADDER, tables('[one]\nfollows = "two"\n[two]'))
    one_sentence(error, "'two'")


@pytest.mark.parametrize("kind", [Recipe, Compile, Model, Request, Budget])
def test_every_key_is_explained(kind: Any) -> None:
    told = (Path(__file__).parent.parent / "docs" / "guides" / "recipes.md").read_text(encoding="utf-8")
    for field in fields(kind):
        written = {field.name, field.name.replace("_", "-")}
        if (kind, field.name) not in {(Budget, "measured"), (Model, PLACED)}:  # no key of a table
            assert any(re.search(rf"\b{name}\b", told) for name in written), field.name
