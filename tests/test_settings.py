"""What was asked for: command line, ini file, pyproject.toml and the hooks of a conftest.py; nothing here is built."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import fastdiff.plugin.session  # noqa: F401  (stays loaded, so that each run inside this process need not load it again)
from fastdiff.host import processor as host
from fastdiff.models import SIDE, Request
from fastdiff.plugin.settings import DEFAULT_ROUNDS, Settings, configured_models, settings
from fastdiff.record.pairs import WHOLE_BLOCKS
from fastdiff.stages.techniques import TECHNIQUES
from fastdiff.trial.faults import Fault

LADDER = ("fp32", "bf16", "sdpa", "compile", "fused-qkv", "int8")


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder with one file of tests, as a user has it."""
    pytester.makepyfile(test_mine="def test_one(stage): pass\ndef test_two(stage): pass\ndef test_plain(): pass")
    return pytester


def run(project: pytest.Pytester, *args: str) -> pytest.RunResult:
    """Without hypothesis, which would be imported anew by every run inside this process."""
    return project.runpytest_inprocess("-p", "no:hypothesispytest", *args)


def collect(project: pytest.Pytester, *args: str) -> list[str]:
    """The ids in brackets, in the order of `pytest --collect-only`, each once."""
    result = run(project, "--collect-only", "-q", *args)
    assert result.ret == 0, str(result.stdout) + str(result.stderr)
    return list(dict.fromkeys(re.findall(r"::test_\w+\[(.+)\]", str(result.stdout))))


def refused(project: pytest.Pytester, *args: str) -> str:
    """The one sentence that answers a wrong wish: exit code 4, no traceback, nothing collected."""
    result = run(project, "--collect-only", "-q", *args)
    said = [line for line in [*result.outlines, *result.errlines] if line.strip()]
    assert result.ret == pytest.ExitCode.USAGE_ERROR, "\n".join(said)
    errors = [line for line in said if line.startswith("ERROR: ")]
    assert len(errors) == 1, "\n".join(said)
    assert "Traceback" not in "\n".join(said)
    assert errors[0].endswith(".")
    return errors[0].removeprefix("ERROR: ")


def ids(*stages: str, model: str = "shapes") -> list[str]:
    return [f"{model}-{stage}" for stage in stages]


# -- which setting wins -----------------------------------------------------------------------------------------------

# For each: the ini file's text, what it means, the command line's text, what it means.
ASKED: dict[str, tuple[str, Any, str, Any]] = {
    "model": ("sdxl", ("sdxl",), "shapes, sd15", ("shapes", "sd15")),
    "weights": ("dummy", "dummy", "twin", "twin"),
    "ladder": ("techniques", "techniques", "techniques", "techniques"),
    "stage": ("fp32 int8", ("fp32", "int8"), "bf16", ("bf16",)),
    "device": ("cuda", "cuda", "cpu", "cpu"),
    "emulate": ("yes", True, "", True),
    "steps": ("3", 3, "4", 4),
    "size": ("128", 128, "192", 192),
    "batch": ("2", 2, "3", 3),
    "rounds": ("6", 6, "9", 9),
    "against": ("torch==2.12.1", ("torch==2.12.1",), "'. A=1 2' B=3", (". A=1 2", "B=3")),
    "confirm": ("all", "all", "none", "none"),
    "max_time": ("5", 5, "60", 60),
    "accepted_python": ("kept", Path("kept"), "/opt/bin/python", Path("/opt/bin/python")),
    "pairs": ("5", 5, "20", 20),
    "calls": ("4", 4, "40", 40),
    "cache": ("here", Path("here"), "/tmp/there", Path("/tmp/there")),
    "markdown": ("a.md", Path("a.md"), "b.md", Path("b.md")),
    "chart": ("a.png", Path("a.png"), "b.svg", Path("b.svg")),
    "strict": ("yes", True, "", True),
    "inject": ("nan", (Fault("nan"),), "slow:30%@int8", (Fault("slow", 0.3, "int8"),)),
}


def test_every_setting_is_tested_here() -> None:
    assert set(ASKED) >= {field.name for field in fields(Settings)}


@pytest.mark.parametrize("name", ASKED)
def test_command_line_beats_ini_and_ini_beats_default(pytester: pytest.Pytester, name: str) -> None:
    in_file, meant_in_file, on_line, meant_on_line = ASKED[name]
    default = getattr(Settings(), name)
    assert default not in (meant_in_file, meant_on_line)

    given = [f"--fastdiff-{name.replace('_', '-')}", *([on_line] if on_line else [])]

    def found(*args: str) -> Any:
        return getattr(settings(pytester.parseconfig(*args)), name)

    assert found() == default
    assert found(*given) == meant_on_line
    pytester.makeini(f"[pytest]\nfastdiff_{name} = {in_file}")
    assert found() == meant_in_file
    assert found(*given) == meant_on_line


def test_the_same_shows_in_what_is_collected(project: pytest.Pytester) -> None:
    assert collect(project) == ids(*LADDER)
    project.makeini("[pytest]\nfastdiff_stage = bf16\nfastdiff_model = sd15")
    assert collect(project) == ids("bf16", model="sd15")
    assert collect(project, "--fastdiff-stage=int8") == ids("int8", model="sd15")
    assert collect(project, "--fastdiff-stage=int8", "--fastdiff-model=shapes") == ids("int8")


def test_settings_in_pyproject(project: pytest.Pytester) -> None:
    project.makepyprojecttoml('[tool.pytest.ini_options]\nfastdiff_stage = "bf16,sdpa"')
    assert collect(project) == ids("bf16", "sdpa")


# -- wrong values -----------------------------------------------------------------------------------------------------

WRONG = [
    ("steps", "0", "whole number above zero"),
    ("steps", "-3", "whole number above zero"),
    ("steps", "many", "whole number above zero"),
    ("batch", "1.5", "whole number above zero"),
    ("rounds", "0", "whole number above zero"),
    ("size", "96", "multiple of 64"),
    ("size", "0", "multiple of 64"),
    ("size", "256x256", "multiple of 64"),
    ("calls", "6", "a multiple of 4"),
    ("ladder", "technique", "one of published, techniques"),
    ("device", "gpu", "auto, cpu, cuda, cuda:N or mps"),
    ("device", "cuda:", "auto, cpu, cuda, cuda:N or mps"),
    ("device", "cuda:first", "auto, cpu, cuda, cuda:N or mps"),
    ("inject", "slow", "slow:30%"),
]


@pytest.mark.parametrize(("name", "value", "expected"), WRONG)
def test_a_wrong_value_on_the_command_line(project: pytest.Pytester, name: str, value: str, expected: str) -> None:
    said = refused(project, f"--fastdiff-{name}={value}")
    assert f"--fastdiff-{name}" in said
    assert repr(value) in said
    assert expected in said


def test_a_fault_of_an_unknown_stage_is_answered_with_the_nearest_one(project: pytest.Pytester) -> None:
    said = refused(project, "--fastdiff-inject=nan@fp23")
    assert said.startswith("--fastdiff-inject nan@fp23: no stage is called 'fp23'; did you mean 'fp32'?")


@pytest.mark.parametrize(("name", "value", "expected"), [WRONG[0], WRONG[5], WRONG[8]])
def test_a_wrong_value_in_the_ini_file_is_found_there(
    project: pytest.Pytester, name: str, value: str, expected: str
) -> None:
    project.makeini(f"[pytest]\nfastdiff_{name} = {value}")
    said = refused(project)
    assert f"fastdiff_{name}" in said
    assert expected in said


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--fastdiff-model=shape"], ("--fastdiff-model", "'shape'", "did you mean 'shapes'?", "sdxl")),
        (["--fastdiff-model=shapes,sdlx"], ("'sdlx'", "did you mean 'sdxl'?")),
        (["--fastdiff-stage=in8"], ("--fastdiff-stage", "'in8'", "did you mean 'int8'?", ", ".join(LADDER))),
        (["--fastdiff-stage=fp32,fused_qkv"], ("'fused_qkv'", "did you mean 'fused-qkv'?")),
        (["--fastdiff-stage=zzzz"], ("'zzzz'", ", ".join(LADDER))),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(
    project: pytest.Pytester, args: list[str], words: tuple[str, ...]
) -> None:
    said = refused(project, *args)
    for word in words:
        assert word in said


@pytest.mark.parametrize("name", ["model", "stage"])
def test_a_list_of_no_names_is_refused(project: pytest.Pytester, name: str) -> None:
    assert f"--fastdiff-{name}" in refused(project, f"--fastdiff-{name}=,")


# -- ids, selection, order --------------------------------------------------------------------------------------------


def test_collect_only_lists_the_stages_in_the_ladders_order(project: pytest.Pytester) -> None:
    result = run(project, "--collect-only", "-q", "-k", "stage or one")
    listed = [line for line in result.outlines if "::test_one[" in line]
    assert listed == [f"test_mine.py::test_one[{id_}]" for id_ in ids(*LADDER)]


def test_stages_keep_the_ladders_order_however_they_are_asked_for(project: pytest.Pytester) -> None:
    assert collect(project, "--fastdiff-stage=int8,fp32,sdpa") == ids("fp32", "sdpa", "int8")


def test_a_name_asked_for_twice_is_measured_once(project: pytest.Pytester) -> None:
    assert collect(project, "--fastdiff-stage=int8,int8", "--fastdiff-model=shapes,shapes") == ids("int8")


def test_models_one_after_the_other(project: pytest.Pytester) -> None:
    found = collect(project, "--fastdiff-model=sdxl,shapes", "--fastdiff-stage=fp32,int8")
    assert found == [*ids("fp32", "int8", model="sdxl"), *ids("fp32", "int8")]


def test_k_selects_a_stage(project: pytest.Pytester) -> None:
    assert collect(project, "-k", "int8") == ids("int8")
    assert collect(project, "-k", "compile or fused-qkv") == ids("compile", "fused-qkv")


def test_tests_of_a_stage_stand_together_over_all_files(project: pytest.Pytester) -> None:
    project.makepyfile(test_other="def test_three(stage): pass")
    result = run(project, "--collect-only", "-q", "--fastdiff-stage=fp32,bf16")
    listed = [line.partition("[")[2] for line in result.outlines if "[" in line]
    assert listed == [*["shapes-fp32]"] * 3, *["shapes-bf16]"] * 3]


def test_tests_without_a_stage_are_left_alone(project: pytest.Pytester) -> None:
    result = run(project, "-k", "plain")
    result.assert_outcomes(passed=1, deselected=12)
    assert "fastdiff: the ladder" not in str(result.stdout)


# -- the hooks --------------------------------------------------------------------------------------------------------


def test_hook_extends_the_ladder(project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        def pytest_fastdiff_ladder(ladder, model):
            return ladder.extend("tiny", "a tiny autoencoder", follows="sdpa", autoencoder="tiny")
        """
    )
    assert collect(project) == ids(*LADDER, "tiny")
    assert collect(project, "--fastdiff-stage=tiny") == ids("tiny")
    assert "did you mean 'tiny'?" in refused(project, "--fastdiff-stage=tinny")


def test_hook_replaces_a_stage(project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        from fastdiff.stages.published import LADDER
        from fastdiff.stages.recipe import Compile

        def pytest_fastdiff_ladder(ladder, model):
            changed = ladder.extend("compile", "no flags", follows="sdpa", compile=Compile(flags=()))
            assert changed["compile"].recipe != LADDER["compile"].recipe
            return changed
        """
    )
    assert collect(project) == ids(*LADDER)


def test_hook_brings_a_ladder_of_its_own_for_one_model(project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        from fastdiff.stages.ladder import ladder as steps, stage

        def pytest_fastdiff_ladder(ladder, model):
            if model.name == "sd15":
                return steps(stage("half", "half the bits", dtype="float16"), stage("fast", "", attention="sdpa"))
        """
    )
    found = collect(project, "--fastdiff-model=shapes,sd15")
    assert found == [*ids(*LADDER), *ids("half", "fast", model="sd15")]
    assert collect(project, "--fastdiff-model=shapes,sd15", "--fastdiff-stage=fast") == ids("fast", model="sd15")


def test_hook_adds_and_replaces_models(project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        from dataclasses import replace
        from fastdiff.models import CATALOGUE

        def pytest_fastdiff_models():
            return [replace(CATALOGUE[0], name="mine"), replace(CATALOGUE[1], source="elsewhere/sdxl")]
        """
    )
    assert collect(project, "--fastdiff-model=mine,sdxl", "-k", "fp32") == ["mine-fp32", "sdxl-fp32"]
    assert "did you mean 'mine'?" in refused(project, "--fastdiff-model=mien")


def test_a_hook_that_answers_something_else_is_one_sentence(project: pytest.Pytester) -> None:
    project.makeconftest("def pytest_fastdiff_ladder(ladder, model): return 5")
    assert refused(project) == "pytest_fastdiff_ladder returned 5; return a Ladder, or None to keep it."


def test_a_conftest_without_an_answer_keeps_everything(project: pytest.Pytester) -> None:
    project.makeconftest(
        "def pytest_fastdiff_models(): return None\ndef pytest_fastdiff_ladder(ladder, model): return None"
    )
    assert collect(project) == ids(*LADDER)


def test_an_impossible_recipe_in_a_hook_is_one_sentence(project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        def pytest_fastdiff_ladder(ladder, model):
            return ladder.extend("tiny", "a tiny autoencoder", autoencoder="tiny")
        """
    )
    said = refused(project)
    assert "'tiny'" in said
    assert "fuse_qkv" in said


@pytest.mark.parametrize("args", [(), ("--fastdiff-rounds=3",)], ids=["bare", "with an option"])
def test_hooks_of_a_conftest_in_a_folder_below_count_too(project: pytest.Pytester, args: tuple[str, ...]) -> None:
    folder = project.mkdir("perf")
    project.path.joinpath("test_mine.py").rename(folder / "test_mine.py")
    (folder / "conftest.py").write_text(
        "def pytest_fastdiff_ladder(ladder, model): return ladder.extend('mine', 'no TF32', tf32=False)"
    )
    assert collect(project, *args) == ids(*LADDER, "mine")
    assert collect(project, *args, "perf") == ids(*LADDER, "mine")


# -- [tool.fastdiff.models.NAME], weights, what lies beyond the ladder ------------------------------------------------

MINE = """
[tool.fastdiff.models.mine]
pipeline = "StableDiffusionXLPipeline"
source = "weights/mine"
request = { prompt = "a cat", steps = 20, size = 768, guidance = 5 }
without = ["feature_extractor"]
"""


def test_a_model_in_pyproject(project: pytest.Pytester) -> None:
    project.makepyprojecttoml(MINE)
    folder = project.mkdir("weights") / "mine"
    folder.mkdir()
    assert collect(project, "--fastdiff-model=mine") == ids(*LADDER, model="mine")
    (mine,) = configured_models(project.parseconfig())
    assert mine.request == Request("a cat", steps=20, size=768, guidance=5)
    assert mine.folder == folder.resolve()
    assert mine.without == ("feature_extractor",)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (MINE.replace("source", "sauce"), "did you mean 'source'?"),
        (MINE.replace("steps = 20", 'steps = "20"'), "steps is '20'; give a whole number"),
        (MINE.replace("steps = 20", "steps = true"), "steps is True; give a whole number"),
        (MINE.replace("prompt", "promt"), "did you mean 'prompt'?"),
        (MINE.replace('prompt = "a cat", ', ""), "prompt missing"),
        (MINE + "placed = true", "placed is no key of a table"),
        ('[tool.fastdiff.models]\nmine = "weights"', "'weights'; give a table"),
        ("[tool.fastdiff]\nmodels = 3", "[tool.fastdiff.models] must be a table of tables"),
    ],
)
def test_a_wrong_model_in_pyproject_is_one_sentence(project: pytest.Pytester, said: str, expected: str) -> None:
    project.makepyprojecttoml(said)
    assert expected in refused(project, "--fastdiff-model=mine")


def test_stages_beyond_the_ladder_are_measured_where_they_are_named(project: pytest.Pytester) -> None:
    assert collect(project, "--fastdiff-stage=sdpa,sdpa-flash,float8") == ids("sdpa", "sdpa-flash", "float8")
    assert "did you mean 'float8'?" in refused(project, "--fastdiff-stage=flaot8")


def test_what_is_written_for_one_ladder_does_not_break_the_other(project: pytest.Pytester) -> None:
    """The examples of the docs, in a session of the techniques."""
    project.makepyprojecttoml(
        '[tool.fastdiff.stages.channels-last]\nfollows = "sdpa"\nchannels-last = true\n'
        "[tool.fastdiff.policy.shapes.int8]\nlatency = '5%'"
    )
    assert collect(project) == ids(*LADDER, "channels-last")
    assert collect(project, "--fastdiff-ladder=techniques") == ids(*TECHNIQUES.names)


def test_a_stage_may_follow_one_beyond_the_ladder(project: pytest.Pytester) -> None:
    project.makepyprojecttoml('[tool.fastdiff.stages.mine]\nfollows = "upcast-vae"\nchannels-last = true')
    assert collect(project, "--fastdiff-stage=upcast-vae,mine") == ids("upcast-vae", "mine")
    assert collect(project, "--fastdiff-stage=mine") == ids("mine")
    assert collect(project) == ids(*LADDER)


def test_what_the_weights_are_is_in_the_headline(project: pytest.Pytester) -> None:
    result = run(project, "--collect-only", "--fastdiff-model=sdxl,sd15", "--fastdiff-weights=twin")
    result.stdout.fnmatch_lines(["fastdiff: sdxl (twin weights), sd15 (twin weights) on *"])


def processor(project: pytest.Pytester, flags: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one than that of these tests."""
    cpuinfo = project.path / "cpuinfo"
    cpuinfo.write_text(f"model name\t: Small CPU\nflags\t\t: {flags}\n")
    monkeypatch.setattr(host, "CPUINFO", cpuinfo)


def test_a_cpu_that_only_emulates_something_says_so(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    processor(project, "avx2 fma", monkeypatch)
    said = [
        "fastdiff: shapes on Small CPU, * cores, AVX2 (cpu)",
        "fastdiff: this CPU has no instructions for bfloat16 and int8: *bf16 and int8 are skipped*",
    ]
    run(project, "--collect-only", "--fastdiff-device=cpu").stdout.fnmatch_lines(said)
    assert collect(project, "--fastdiff-device=cpu") == ids(*LADDER), "what is skipped has its reason"
    asked = ("--collect-only", "--fastdiff-device=cpu", "--fastdiff-emulate")
    run(project, *asked).stdout.no_fnmatch_line("*instructions*")
    processor(project, "avx2 fma avx512f avx512bw avx512dq avx512vl avx512_vnni", monkeypatch)
    run(project, "--collect-only", "--fastdiff-device=cpu").stdout.no_fnmatch_line("*instructions*")


def test_every_technique_is_collected(project: pytest.Pytester) -> None:
    assert collect(project, "--fastdiff-ladder=techniques") == ids(*TECHNIQUES.names)
    assert "no stage is called 'int8'" in refused(project, "--fastdiff-ladder=techniques", "--fastdiff-stage=int8")


def test_full_size_models_list_their_stages_without_weights(project: pytest.Pytester) -> None:
    for weights in ("dummy", "twin", "hub"):
        found = collect(project, "--fastdiff-model=sdxl,flux-dev", f"--fastdiff-weights={weights}")
        assert found == [*ids(*LADDER, model="sdxl"), *ids(*LADDER, model="flux-dev")]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("--fastdiff-weights=dummy",), "the architecture of 'shapes' is not described"),
        (("--fastdiff-weights=hub",), "not on the hub; use auto"),
        (("--fastdiff-model=sdxl", "--fastdiff-weights=nowhere"), "'nowhere' is none of auto, hub, dummy, twin"),
        (("--fastdiff-model=sdxl,sd15", "--fastdiff-weights=here"), "name one"),
    ],
)
def test_weights_that_are_not_to_be_had(project: pytest.Pytester, args: tuple[str, ...], expected: str) -> None:
    assert expected in refused(project, *args)


# -- [tool.fastdiff.stages.NAME] --------------------------------------------------------------------------------------

TABLE = '[tool.fastdiff.stages.mine]\nfollows = "sdpa"\nadds = "channels last"\nchannels-last = true\n'


def test_stages_from_pyproject(project: pytest.Pytester) -> None:
    project.makepyprojecttoml(TABLE)
    assert collect(project) == ids(*LADDER, "mine")
    assert collect(project, "--fastdiff-stage=mine") == ids("mine")


def test_stages_from_pyproject_beside_an_ini_file(project: pytest.Pytester) -> None:
    project.makepyprojecttoml(TABLE)
    project.makeini("[pytest]\nfastdiff_stage = mine")
    assert collect(project) == ids("mine")


def test_the_hook_gets_the_ladder_with_the_configured_stages(project: pytest.Pytester) -> None:
    project.makepyprojecttoml(TABLE)
    project.makeconftest(
        "def pytest_fastdiff_ladder(ladder, model): return ladder.extend('more', 'x', follows='mine', tf32=False)"
    )
    assert collect(project) == ids(*LADDER, "mine", "more")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[tool.fastdiff.stages.mine]\natention = "sdpa"', ("'mine'", "'atention'", "did you mean 'attention'?")),
        ('[tool.fastdiff.stages.mine]\nfollows = "sdap"', ("'sdap'", "did you mean 'sdpa'?")),
        ('[tool.fastdiff.stages.mine]\ncompile = "max"', ("'mine'", "compile", "max")),
        ("[tool.fastdiff.stages]\nmine = 3", ("mine", "table")),
        ("[tool.fastdiff]\nstages = 3", ("stages", "table")),
        ("[tool]\nfastdiff = 3", ("fastdiff", "table")),
        ('[tool.fastdiff.stage.mine]\nfollows = "sdpa"', ("'stage'", "'stages'")),
    ],
    ids=["key", "follows", "type", "stage", "stages", "fastdiff", "misspelt"],
)
def test_a_wrong_table_is_one_sentence(project: pytest.Pytester, text: str, words: tuple[str, ...]) -> None:
    project.makepyprojecttoml(text)
    said = refused(project)
    for word in words:
        assert word in said


# -- help -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def help_texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """From `pytest --help`: the text of each of our options and ini settings, on one line."""

    folder = tmp_path_factory.mktemp("help")
    command = [sys.executable, "-m", "pytest", "--help"]
    shown = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=True).stdout
    entries = re.findall(r"^  (\S*fastdiff[-_]\S*)(.*?)(?=^  \S|^\S|^$)", shown, re.MULTILINE | re.DOTALL)
    return {name.partition("=")[0]: " ".join(text.split()) for name, text in entries}


@pytest.mark.parametrize("name", ASKED)
def test_every_option_is_explained_in_complete_sentences(help_texts: dict[str, str], name: str) -> None:
    text = help_texts[f"--fastdiff-{name.replace('_', '-')}"]
    assert re.fullmatch(r"[A-Z].+\.", text)
    assert help_texts[f"fastdiff_{name}"].endswith(text)


def test_the_numbers_in_the_help_are_those_that_count(help_texts: dict[str, str]) -> None:
    """The texts are loaded by every pytest, and the modules that have the numbers are not."""
    for name, number in (("size", SIDE), ("calls", WHOLE_BLOCKS)):
        assert f"a multiple of {number}" in help_texts[f"--fastdiff-{name}"]
    for name, number in (("rounds", DEFAULT_ROUNDS), ("max-time", Settings.max_time)):
        assert f"(default: {number})" in help_texts[f"--fastdiff-{name}"]


def test_no_option_is_forgotten(help_texts: dict[str, str]) -> None:
    named = {name.removeprefix("--fastdiff-").replace("-", "_") for name in help_texts if name.startswith("-")}
    assert named == set(ASKED)
