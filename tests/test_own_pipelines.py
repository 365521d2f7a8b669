"""Pipelines of the user's own: a decorated function in a file, measured as the catalogue's models are."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from faked import faked as faked
from here import HERE
from typer.main import get_command

import fastdiff
from fastdiff.models import Model, Request, factories
from fastdiff.record.errors import UserError
from fastdiff.stages.published import LADDER
from fastdiff.trial.fake import FakeStage

if TYPE_CHECKING:
    from faked import Faked

FILE = Path(__file__).parent / "own" / "pipelines.py"
SMALL = """
import fastdiff

@fastdiff.pipeline("wan", output="frames", stages=["bf16", "sdpa", "compile-regional"],
                   call=dict(prompt="a cat", num_frames=33, height=480, width=832))
def wan(dtype): ...

@fastdiff.pipeline("other", call=lambda: {})
def another(): ...
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "pipelines.py").write_text(SMALL)
    return tmp_path / "pipelines.py"


# -- the file ---------------------------------------------------------------------------------------------------------


def test_a_path_names_one_pipeline_or_all_of_a_file(file: Path) -> None:
    (wan,) = factories.models("pipelines.py::wan", file.parent / "elsewhere", file.parent)
    assert (wan.name, wan.stages) == ("wan", ("bf16", "sdpa", "compile-regional"))
    assert wan.source == f"{file}::wan"
    call = {"num_frames": 33, "height": 480, "width": 832}
    assert wan.request == Request("a cat", None, None, None, call=call)
    assert wan.request.as_kept() == {"prompt": "a cat", "batch": 1, "seed": 0, **call}
    assert wan.request.shown == '832 x 480 px, batch 1, "a cat"'
    assert [one.name for one in factories.models("pipelines.py", file.parent)] == ["wan", "other"]
    assert factories.factory(wan).output == "frames"
    assert factories.factory(wan)(dtype="any") is None, "decorated, it is still the function"


def test_several_calls_are_several_pipelines(tmp_path: Path) -> None:
    calls = 'calls={"small": dict(height=64, width=64), "large": lambda: {}}'
    text = f"import fastdiff\n@fastdiff.pipeline('wan', {calls}, stages=['sdpa'])\ndef wan(): ..."
    (tmp_path / "pipelines.py").write_text(text)
    both = factories.models("pipelines.py::wan", tmp_path)
    assert [(one.name, one.request.size, one.stages) for one in both] == [
        ("wan-small", 64, ("sdpa",)),
        ("wan-large", None, ("sdpa",)),
    ]
    assert factories.models("pipelines.py::wan-large", tmp_path) == both[1:]
    assert factories.models("pipelines.py", tmp_path) == both
    assert factories.factory(both[0]).call == {"height": 64, "width": 64}


def test_what_a_call_has_in_common_with_a_request_is_the_request() -> None:
    call = {"prompt": "x", "num_inference_steps": 9, "guidance_scale": 2.5, "height": 64, "width": 64}
    assert factories.request_of(call | {"num_images_per_prompt": 2}) == Request("x", 9, 64, 2.5, batch=2)
    found = factories.request_of({"prompt": ["a", "b"], "image": object(), "sizes": (1, 2), "text": "t"})
    assert found == Request(None, None, None, None, call={"prompt": ["a", "b"], "sizes": (1, 2), "text": "t"})
    assert found.as_kept() == {"batch": 1, "seed": 0, "prompt": ["a", "b"], "sizes": "[1, 2]", "text": "t"}


@pytest.mark.parametrize(
    ("asked", "text", "sentence"),
    [
        ("nowhere.py::wan", SMALL, "there is no file nowhere.py in "),
        ("pipelines.py::wann", SMALL, "pipelines.py: no pipeline is called 'wann'; did you mean 'wan'?"),
        (
            "pipelines.py::x",
            "x = 1",
            "pipelines.py has no pipeline; decorate a function with @fastdiff.pipeline(NAME).",
        ),
        ("pipelines.py::x", "import nothing_like_it", "cannot be imported (ModuleNotFoundError: No module named"),
        ("pipelines.py::x", "def (", "cannot be imported (SyntaxError: invalid syntax"),
        ("pipelines.py", SMALL.replace('"other"', '"wan"'), "two pipelines are called 'wan'; rename one of them."),
    ],
)
def test_a_path_that_names_nothing_is_answered_in_a_sentence(
    asked: str, text: str, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "pipelines.py").write_text(text)
    with pytest.raises(UserError, match=re.escape(sentence)):
        factories.models(asked, tmp_path)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"name": "a/b"}, "files are called by the name"),
        ({"call": 3}, "call is 3; give a dict, or a function that returns one."),
        ({"call": {}, "calls": {"a": {}}}, "give call, or calls, and not both."),
        ({"calls": []}, "calls is []; give a dict of calls by name."),
        ({"calls": {"a b": {}}}, "files are called by the name of a call, too; 'a b' is none"),
        ({"calls": {"a": 3}}, "call is 3; give a dict"),
        ({"output": 3}, "output is 3; give the name of an attribute"),
        ({"stages": "sdpa"}, "stages is 'sdpa'; give a list of names."),
        ({"compile": [1]}, "compile is [1]; give a list of names."),
        ({"parts": {"vae": "vae"}}, "no part is called 'vae'"),
        ({"parts": {"text": 3}}, "parts: text is 3; give its place in the pipeline"),
        ({"make": lambda checkpoint: None}, "takes checkpoint; it is given device and dtype alone"),
    ],
)
def test_a_decorator_refuses_what_it_cannot_use(given: dict[str, Any], sentence: str) -> None:
    make = given.pop("make", lambda device, dtype, more=1, **rest: None)
    with pytest.raises(UserError, match=re.escape(sentence)):
        fastdiff.pipeline(**{"name": "mine", **given})(make)


def test_a_generator_that_goes_on_from_call_to_call_is_refused() -> None:
    class Generator: ...

    with pytest.raises(UserError, match="fastdiff passes a fresh one each time"):
        fastdiff.pipeline("mine", call={"generator": Generator()})


def test_a_file_sees_its_neighbours_and_its_package(tmp_path: Path) -> None:
    for folder, line in (("plain", "from neighbour_of_plain import NAME"), ("inside", "from .neighbour import NAME")):
        (tmp_path / folder).mkdir()
        text = f"import fastdiff\n{line}\n@fastdiff.pipeline(NAME)\ndef made(): ...\n"
        (tmp_path / folder / "pipelines.py").write_text(text)
    (tmp_path / "plain" / "neighbour_of_plain.py").write_text("NAME = 'one'")
    (tmp_path / "inside" / "neighbour.py").write_text("NAME = 'two'")
    (tmp_path / "inside" / "__init__.py").touch()
    names = [factories.models(f"{folder}/pipelines.py", tmp_path)[0].name for folder in ("plain", "inside")]
    assert names == ["one", "two"]


def test_another_checkout_has_its_own_file(tmp_path: Path) -> None:
    model = Model("wan", "", f"{tmp_path}/perf_tests/pipelines.py::wan", Request(None, None, None, None))
    there = factories.moved(model, tmp_path, tmp_path / "accepted")
    assert there.source == f"{tmp_path}/accepted/perf_tests/pipelines.py::wan"
    assert factories.moved(model, tmp_path, None) is model, "where the code is today's"
    assert factories.moved(model, tmp_path / "elsewhere", tmp_path / "accepted") is model, "no file of the project"
    hub = replace(model, source="org/name")
    assert factories.moved(hub, tmp_path, tmp_path / "accepted") is hub


def test_weights_of_another_place_are_refused(file: Path) -> None:
    (wan,) = factories.models("pipelines.py::wan", file.parent)
    assert wan.with_weights("auto") is wan
    with pytest.raises(UserError, match="'wan' loads its weights itself"):
        wan.with_weights("dummy")


# -- which stages -----------------------------------------------------------------------------------------------------


def test_a_model_that_names_its_stages_has_a_ladder_of_them() -> None:
    few = LADDER.only(["sdpa", "fused-qkv", "int8"])
    assert [(stage.name, stage.follows) for stage in few] == [
        ("sdpa", None),
        ("fused-qkv", "sdpa"),
        ("int8", "fused-qkv"),
    ]
    assert few["int8"].recipe == LADDER["int8"].recipe
    with pytest.raises(UserError, match="no stage is called 'sdp'"):
        LADDER.only(["sdp"])


def own(faked: Faked, text: str = SMALL) -> str:
    (faked.root / "perf_tests" / "pipelines.py").write_text(text)
    faked.pytester.makepyprojecttoml("[tool.pytest.ini_options]\nfastdiff_rounds = '3'\n")
    return "--fastdiff-model=perf_tests/pipelines.py::wan"


def test_a_session_measures_the_stages_that_the_file_names(faked: Faked) -> None:
    result = faked.session(own(faked), "--fastdiff-emulate")
    result.assert_outcomes(passed=12, deselected=3)
    stages = faked.run["stages"]
    assert [(one["model"], one["stage"], one["follows"]) for one in stages] == [
        ("wan", "bf16", None),
        ("wan", "sdpa", "bf16"),
        ("wan", "compile-regional", "sdpa"),
    ]
    assert {one["quality"]["reference"] for one in stages} == {"bf16"}
    assert stages[0]["request"]["num_frames"] == 33
    result.stdout.fnmatch_lines(['wan on * (cpu): 832 x 480 px, batch 1, "a cat"'])


SIZES = """
import fastdiff

small, large = dict(prompt="a cat", height=64, width=64), dict(prompt="a cat", height=64, width=128)

@fastdiff.pipeline("wan", calls={"small": small, "large": large, "other": large | dict(prompt="a dog")})
def wan(): ...
"""
AGAIN = (
    "wan-large-compile: its call has other sizes than that of wan-small-compile, so it was compiled again, as it would "
    "be in a process that serves both; a stage with compile.dynamic has one graph for all sizes"
)


def test_a_second_size_that_compiles_again_is_told(faked: Faked) -> None:
    model = own(faked, SIZES)
    text = str(faked.session(model, "--fastdiff-emulate", "--fastdiff-stage=sdpa,compile").stdout)
    assert AGAIN in text
    assert AGAIN.replace("large", "other") in text
    assert text.count("compiled again") == 2, "neither the first size nor what is not compiled"


def test_a_dynamic_graph_serves_every_size(faked: Faked) -> None:
    model = own(faked, SIZES)
    table = "\n[tool.fastdiff.stages.any]\nfollows = 'compile'\ncompile = { dynamic = true }\n"
    (faked.root / "pyproject.toml").write_text((faked.root / "pyproject.toml").read_text() + table)
    result = faked.session(model, "--fastdiff-emulate", "--fastdiff-stage=any")
    assert result.ret == 0
    assert "compiled again" not in str(result.stdout)


def test_a_stage_that_is_named_is_measured_besides(faked: Faked) -> None:
    model = own(faked)
    faked.session(model, "--fastdiff-stage=fp32,sdpa", "--fastdiff-emulate").assert_outcomes(passed=8, deselected=2)
    assert [one["stage"] for one in faked.run["stages"]] == ["fp32", "sdpa"]


def test_the_next_command_names_the_file(faked: Faked) -> None:
    options = (own(faked), "--fastdiff-emulate", "--fastdiff-stage=sdpa", "--benchmark-compare")
    assert faked.session(*options).ret == 0
    faked.accept()
    (faked.root / "fake.json").write_text(json.dumps({"seconds": {"wan-sdpa": [1.4, 1.41, 1.39]}, "errors": {}}))
    result = faked.session(*options)
    assert "next: pytest perf_tests --benchmark-compare --fastdiff-model perf_tests/pipelines.py::wan" in str(
        result.stdout
    )


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--fastdiff-model=perf_tests/nowhere.py::wan", "there is no file perf_tests/nowhere.py"),
        ("--fastdiff-model=perf_tests/pipelines.py::wann", "did you mean 'wan'?"),
        ("--fastdiff-model=perf_tests/pipelines.py::wan,perf_tests/pipelines.py", "two pipelines have one name"),
    ],
)
def test_a_session_refuses_what_is_not_there(faked: Faked, option: str, sentence: str) -> None:
    own(faked)
    result = faked.session(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{sentence}*"])


def test_what_cannot_be_proven_is_named_and_fails_in_strict_mode(faked: Faked, monkeypatch: pytest.MonkeyPatch) -> None:
    def count(stage: FakeStage) -> None:
        stage.unproven = ("attention: none was found.",)

    model = own(faked)
    monkeypatch.setattr(FakeStage, "count", count)
    monkeypatch.setattr(FakeStage, "added", ("a CPU generator", "num_inference_steps=50"))
    result = faked.session(model, "--fastdiff-emulate", "--fastdiff-stage=sdpa")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "wan-sdpa: fastdiff adds a CPU generator, num_inference_steps=50",
            "wan-sdpa: not proven: attention: none was found.*",
        ]
    )
    result = faked.session(model, "--fastdiff-emulate", "--fastdiff-stage=sdpa", "--fastdiff-strict")
    result.assert_outcomes(passed=2, failed=2, deselected=1)
    result.stdout.fnmatch_lines(["*wan-sdpa is not proven, which --fastdiff-strict asks for: attention: none*"])


# -- the guide --------------------------------------------------------------------------------------------------------

GUIDE = Path(__file__).parents[1] / "docs" / "guides" / "your-own-pipeline.md"
NAME = "stabilityai/stable-diffusion-xl-base-1.0"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)


@pytest.fixture
def guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the file of the guide."""
    (tmp_path / "perf_tests").mkdir()
    (tmp_path / "perf_tests" / "pipelines.py").write_text("\n".join(blocks("python")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_of_the_guide_names_what_is_there(guide: Path) -> None:
    commands = [line for block in blocks("console") for line in block.splitlines()]
    assert len(commands) == 8
    from fastdiff.cli import app

    for line in commands:
        program, *words = shlex.split(line)
        named = words[words.index("--model" if program == "fastdiff" else "--fastdiff-model") + 1]
        assert len(factories.models(named, guide)) == 1
        if program == "fastdiff":
            command = get_command(app).commands[words[0]]  # type: ignore[attr-defined]
            command.make_context(words[0], words[1:])
    (settings,) = blocks("toml")
    named = tomllib.loads(settings)["tool"]["pytest"]["ini_options"]["fastdiff_model"]
    assert factories.models(named, guide)[0].name == "sdxl-unipc"
    assert [one.name for one in factories.models("perf_tests/pipelines.py", guide)] == [
        "sdxl-unipc",
        "sdxl-img2img",
        "sizes-square",
        "sizes-wide",
        "mine",
        "block",
        "scores",
    ]


def test_the_pipelines_of_the_guide_draw(guide: Path, tiny: Model) -> None:
    from fastdiff.trial.live import LiveStage
    from fastdiff.trial.reference import Reference

    file = guide / "perf_tests" / "pipelines.py"
    text = file.read_text()
    assert text.count(NAME) == 2
    small = {NAME: tiny.source, "1024, 1024": "64, 64", "1, 4096, 3072": "1, 8, 32", "3072": "32"}
    for large, here in small.items():
        text = text.replace(large, here)
    file.write_text(text)
    for name, size in (("sdxl-unipc", 64), ("sdxl-img2img", None), ("mine", None)):
        (model,) = factories.models(f"perf_tests/pipelines.py::{name}", guide)
        steps = None if name == "mine" else 2
        live = LiveStage(model, HERE["sdpa"], "cpu", model.request.changed(steps=steps, size=size))
        live.first_call()
        assert live.images.shape == (1, 64, 64, 3)
        assert live.unapplied == []
        if name == "mine":
            sentence = f"mine-sdpa: not proven: {live.unproven[0]}"
            assert sentence == blocks("text")[1].strip()
        live.close()
    for name in ("block", "scores"):
        (model,) = factories.models(f"perf_tests/pipelines.py::{name}", guide)
        live = LiveStage(model, HERE["sdpa"], "cpu", model.request)
        live.likeness_to(Reference("fp32", live.images))
        assert live.quality is not None
        assert live.quality.passed
        live.close()
