"""Models that are named by their place: the hub on a fake of its cache, and folders."""

from __future__ import annotations

import csv
import json
import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from faked import faked as faked
from here import HERE
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from fastdiff.cli import app
from fastdiff.models import Model, checkpoints, places
from fastdiff.models.libraries import torch
from fastdiff.models.loading import load
from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from faked import Faked

COMMIT, NEWER = "a" * 40, "b" * 40
CLASS = "StableDiffusionXLPipeline"


def index(folder: Path, **parts: Any) -> Path:
    """A folder with nothing but an index."""
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": CLASS} | parts))
    return folder


def repository(hub: Path, name: str) -> Path:
    return hub / f"models--{name.replace('/', '--')}"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no connection."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def org(hub: Path) -> Path:
    """With a repository in it, of two commits."""
    for commit in (COMMIT, NEWER):
        index(repository(hub, "org/some.model") / "snapshots" / commit)
    refs = repository(hub, "org/some.model") / "refs"
    refs.mkdir()
    (refs / "main").write_text(NEWER)
    (refs / "v1").write_text(COMMIT)
    return repository(hub, "org/some.model")


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "commit"),
    [
        ("hub:org/some.model", NEWER),
        ("hub:org/some.model@v1", COMMIT),
        (f"hub:org/some.model@{COMMIT}", COMMIT),
    ],
)
def test_a_repository_is_pinned_when_it_is_named(name: str, commit: str, org: Path) -> None:
    (model,) = places.models(name)
    assert (model.name, model.pipeline) == ("org--some.model", CLASS)
    assert (model.source, model.revision, model.weights) == ("org/some.model", commit, "hub")
    assert model.folder is None
    assert places.index(model)["_class_name"] == CLASS


def test_a_folder_is_seen_from_where_the_user_is_or_from_the_project(tmp_path: Path) -> None:
    folder = index(tmp_path / "some where" / "a model")
    for name in ("./some where/a model", str(folder), "some where/a model"):
        (model,) = places.models(name, tmp_path / "elsewhere", tmp_path)
        assert (model.name, model.source, model.folder) == ("a-model", str(folder), folder)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("hub:org/nothing", "the hub did not say what org/nothing is ("),
        ("hub:nothing", "hub:nothing is no repository on the hub; write hub:ORG/NAME or hub:ORG/NAME@REVISION."),
        ("hub:../x", "hub:../x is no repository on the hub"),
        ("./nowhere", "there is no folder ./nowhere in "),
        ("org/some.model", "; a repository on the hub is hub:org/some.model."),
        ("./empty", "because it has no model_index.json; name the folder that save_pretrained wrote, or load it"),
        ("./code", "has a pipeline in code of its own, pipeline Mine, and fastdiff runs no code from a checkpoint"),
        ("./nameless", "model_index.json names no pipeline class; save it with save_pretrained."),
        ("./broken", "this is not whole JSON"),
        ("./---", "results would be kept under the name '---', which has no letter or digit; rename it."),
    ],
)
def test_what_is_no_pipeline_is_answered_in_a_sentence(name: str, sentence: str, hub: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    index(tmp_path / "code", _class_name=["pipeline", "Mine"])
    index(tmp_path / "nameless", _class_name=None)
    (index(tmp_path / "broken") / "model_index.json").write_text("{")
    index(tmp_path / "---")
    with pytest.raises(UserError, match=re.escape(sentence)) as found:
        places.models(name, tmp_path)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ("twin", "is named by its place, and its small copy is --fastdiff-weights tiny."),
        ("hub", "not on the hub; use auto."),
        ("./other", "is named by the place of its weights; name the folder instead of it: ./other"),
    ],
)
def test_weights_from_elsewhere_are_refused(weights: str, sentence: str, tmp_path: Path) -> None:
    (model,) = places.models(str(index(tmp_path / "sdxl")), Path())
    assert model.with_weights("tiny").shown == "sdxl (tiny weights)"
    with pytest.raises(UserError, match=re.escape(sentence)):
        model.with_weights(weights)


def test_a_model_of_the_catalogue_has_a_twin() -> None:
    from fastdiff.models import CATALOGUE

    with pytest.raises(UserError, match="the small copy of 'sdxl' is its twin: --fastdiff-weights twin"):
        CATALOGUE[1].with_weights("tiny")


# -- sessions ---------------------------------------------------------------------------------------------------------


def test_a_session_measures_what_is_named_by_its_place(faked: Faked, org: Path) -> None:
    index(faked.root / "my models" / "x")
    result = faked.session("--fastdiff-model=hub:org/some.model@v1,my models/x", "--fastdiff-stage=sdpa")
    assert result.ret == 0
    assert [one["model"] for one in faked.run["stages"]] == ["org--some.model", "x"]
    result.stdout.fnmatch_lines(["fastdiff: org--some.model (hub weights), x on *"])


def test_the_next_command_names_the_place(faked: Faked, org: Path) -> None:
    options = ("--fastdiff-model=hub:org/some.model", "--fastdiff-stage=sdpa", "--benchmark-compare")
    assert faked.session(*options).ret == 0
    faked.accept()
    (faked.root / "fake.json").write_text(
        json.dumps({"seconds": {"org--some.model-sdpa": [1.4, 1.41, 1.39]}, "errors": {}})
    )
    result = faked.session(*options)
    assert f"--fastdiff-model hub:org/some.model@{NEWER}" in str(result.stdout), "the same tomorrow"


def test_a_session_refuses_a_place_without_a_pipeline(faked: Faked, hub: Path) -> None:
    result = faked.session("--fastdiff-model=./nowhere")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --fastdiff-model, or fastdiff_model: there is no folder ./nowhere in *"])


# -- real ones --------------------------------------------------------------------------------------------------------


def called(model: Model, **request: Any) -> Any:
    """A small call of its fp32 stage; close it."""
    from fastdiff.trial.live import LiveStage

    live = LiveStage(model, HERE["fp32"], "cpu", model.request.changed(**request))
    live.first_call()
    return live


def test_a_folder_is_measured_by_its_own_defaults(tiny: Model) -> None:
    (model,) = places.models(tiny.source, Path())
    live = called(model, steps=2)
    try:
        assert live.images.shape == (1, 64, 64, 3), "as its configuration says"
        assert live.weights == f"folder {checkpoints.identity(Path(tiny.source))}"
        assert "a CPU generator" in live.added
        kept = live.trial().request
        assert (kept["steps"], kept["prompt"][:9]) == (2, "Astronaut")
        assert live.unapplied == []
    finally:
        live.close()


def test_a_repository_is_measured_at_its_commit(tiny: Model, org: Path) -> None:
    folder = org / "snapshots" / COMMIT
    shutil.copytree(tiny.source, folder, dirs_exist_ok=True)
    (model,) = places.models("hub:org/some.model@v1")
    live = called(model, steps=1, size=64)
    live.close()
    assert live.weights == f"hub@{COMMIT}"


def test_weights_of_a_folder_are_known_by_their_numbers(tmp_path: Path) -> None:
    folder = index(tmp_path / "x", unet=["diffusers", "UNet2DConditionModel"])
    (folder / "unet").mkdir()
    weights = folder / "unet" / "weights.safetensors"
    numbers = bytearray(2 * checkpoints.EVERY_BYTES)
    weights.write_bytes(numbers)
    first = checkpoints.identity(folder)
    (folder / "runs").mkdir()
    (folder / "runs" / "a.json").write_text("written by a session, and no part")
    assert checkpoints.identity(folder) == first
    found = {first}
    for place in (0, checkpoints.EVERY_BYTES + 7, len(numbers) - 1):
        weights.write_bytes(numbers[:place] + b"1" + numbers[place + 1 :])
        found.add(checkpoints.identity(folder))
    assert len(found) == 4


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_checkpoint_in_half_precision_alone_serves_every_dtype(tiny: Model, tmp_path: Path, dtype: str) -> None:
    """Only the denoiser was saved so; the other parts have whole files."""
    folder = Path(shutil.copytree(tiny.source, tmp_path / "halves"))
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(folder / "unet" / "gone")
    (model,) = places.models(str(folder), Path())
    with pytest.raises(UserError, match="could not be loaded"):
        load(model, dtype)
    (folder / "unet" / "gone").rename(folder / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    pipeline = load(model, dtype)
    assert {str(pipeline.unet.dtype), str(pipeline.vae.dtype)} == {f"torch.{dtype}"}
    whole = load(places.models(tiny.source, Path())[0], dtype)
    assert torch.equal(pipeline.unet.conv_in.weight, whole.unet.conv_in.weight)


def test_a_repository_in_half_precision_alone_is_loaded(
    tiny: Model, org: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = org / "snapshots" / COMMIT
    shutil.copytree(tiny.source, folder, dirs_exist_ok=True)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(
        folder / "unet" / "diffusion_pytorch_model.fp16.safetensors"
    )
    (model,) = places.models("hub:org/some.model@v1")
    assert load(model, "float32").unet.dtype == torch.float32, "without a connection, by what is in the cache"
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", lambda *_, **__: names)
    assert load(model, "float32").unet.dtype == torch.float32
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", lambda *_, **__: [])
    with pytest.raises(UserError, match=r"could not be loaded from org/some\.model"):
        load(model, "float32")


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_a_hub_that_does_not_answer_is_named(
    seconds: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def silent(*_: Any, **__: Any) -> str:
        time.sleep(seconds)
        raise ConnectionError("no route\nand more")

    monkeypatch.setattr("fastdiff.models.hub.PATIENCE_S", 0.1)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", silent)
    with pytest.raises(UserError, match=r"^the hub did not say what org/some is \(no route\); check the name"):
        places.models("hub:org/some")
    waited = (
        "fastdiff: waiting for the model hub, which was asked about org/some; HF_HUB_OFFLINE=1 uses the cache alone\n"
    )
    assert capsys.readouterr().err == (waited if seconds else "")


def test_which_files_are_in_half_precision() -> None:
    whole, half = "unet/x.safetensors", "unet/x.fp16.safetensors"
    assert checkpoints.variant([whole, half, "vae/x.safetensors"]) is None
    assert checkpoints.variant([half, "vae/x.safetensors"]) == "fp16"
    assert checkpoints.variant(["text_encoder_3/model.fp16-00001-of-00002.safetensors", whole]) == "fp16"
    assert checkpoints.variant(["unet/x.fp16.bin"]) is None


def test_weights_that_a_library_makes_up_are_refused(tiny: Model, tmp_path: Path) -> None:
    """As transformers 5.5 does with text encoders that 5.6 saved; it writes a log and nothing else."""
    folder = Path(shutil.copytree(tiny.source, tmp_path / "mine"))
    (file,) = (folder / "text_encoder").glob("*.safetensors")
    weights = load_file(file)
    name = next(iter(weights))
    save_file({name.replace(".", ".was."): weights.pop(name), **weights}, file, metadata={"format": "pt"})
    (model,) = places.models(str(folder), Path())
    with pytest.raises(
        UserError, match=r"^transformers \S+ found no numbers for some weights of \S+mine, and drew them at random: "
    ):
        load(model, "float32")


@pytest.fixture
def without_weights(tiny: Model, tmp_path: Path) -> Path:
    """The folder of the tiny model, with its configurations alone."""
    ignored = shutil.ignore_patterns("*.safetensors")
    return Path(shutil.copytree(tiny.source, tmp_path / "configs", ignore=ignored))


@pytest.mark.parametrize("weights", ["dummy", "tiny"])
def test_configurations_alone_are_enough(weights: str, without_weights: Path, tiny: Model) -> None:
    (model,) = places.models(str(without_weights), Path())
    live = called(model.with_weights(weights), steps=2, size=64)
    try:
        assert (live.images.shape, live.weights) == ((1, 64, 64, 3), weights)
        assert live.images.std() > 0.02
        unet = live.built.denoiser.config
        assert unet.block_out_channels == ([64, 64] if weights == "dummy" else [32, 32])
    finally:
        live.close()


def test_without_its_weights_a_folder_is_refused_with_what_can_be_done(without_weights: Path) -> None:
    from fastdiff.models.loading import load

    (model,) = places.models(str(without_weights), Path())
    with pytest.raises(UserError, match=re.escape("without them: --fastdiff-weights dummy")):
        load(model, "float32")


@pytest.mark.parametrize("weights", ["auto", "dummy"])
@pytest.mark.parametrize(
    ("part", "value", "sentence"),
    [
        ("unet", ["mine", "Mine"], "has its unet in code of its own, mine Mine, and fastdiff runs no code"),
        (
            "unet",
            ["transformers", "AutoModel"],
            "leaves the class of its unet to AutoModel, which may be code of its own, and ",
        ),
        ("unet", ["transformers", "pipeline"], "have no class pipeline, which "),
        ("unet", ["diffusers", "UNetOfTomorrow"], "have no class UNetOfTomorrow, which "),
        ("_class_name", "OnnxStableDiffusionPipeline", "needs onnx, which is not installed; pip install onnx"),
        ("_class_name", "AutoencoderKL", "AutoencoderKL, the class of 'configs', is no pipeline of diffusers."),
        ("_class_name", "utils", "utils, the class of 'configs', is no pipeline of diffusers."),
        ("_class_name", "PipelineOfTomorrow", "has no pipeline class 'PipelineOfTomorrow'; pip install -U diffusers"),
    ],
)
def test_classes_of_neither_library_are_refused(
    part: str, value: Any, sentence: str, weights: str, without_weights: Path, tmp_path: Path
) -> None:
    from fastdiff.models.loading import load

    file = without_weights / "model_index.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {part: value}))
    (without_weights / "unet" / "mine.py").write_text(f"open({str(tmp_path / 'it ran')!r}, 'w')")
    (model,) = places.models(str(without_weights), Path())
    with pytest.raises(UserError, match=re.escape(sentence)):
        load(model.with_weights(weights), "float32")
    assert not (tmp_path / "it ran").exists()


def test_an_error_without_a_message_is_named_by_its_class(
    without_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastdiff.models.libraries import diffusers
    from fastdiff.models.loading import load

    def silent(*_: Any, **__: Any) -> None:
        raise ValueError

    monkeypatch.setattr(diffusers.StableDiffusionXLPipeline, "from_pretrained", silent)
    (model,) = places.models(str(without_weights), Path())
    with pytest.raises(UserError, match=re.escape("could not be loaded (ValueError)")):
        load(model, "float32")


def test_a_full_gpu_is_not_blamed_on_the_configurations(without_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastdiff.models import dummy
    from fastdiff.models.libraries import torch
    from fastdiff.models.loading import load

    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(dummy, "filled", full)
    (model,) = places.models(str(without_weights), Path())
    with pytest.raises(torch.OutOfMemoryError):
        load(model.with_weights("dummy"), "float32")


def test_what_a_call_needs_and_fastdiff_cannot_make_up_is_named(without_weights: Path) -> None:
    from fastdiff.models import usual

    class Pipeline:
        def __call__(self, prompt: str, image_embeds: Any, size: int = 3, **more: Any) -> None: ...

    with pytest.raises(UserError, match="the call of Pipeline needs image_embeds, which fastdiff cannot make up"):
        usual.call(Pipeline(), small=False)


def test_one_setting_of_a_folder(tiny: Model, tmp_path: Path) -> None:
    words = f"run --model {tiny.source} --steps 2 --dtype float32 --no-sdpa --rounds 3 --out {tmp_path}"
    done = CliRunner().invoke(app, words.split())
    assert done.exit_code == 0, done.output
    (file,) = tmp_path.glob("*.csv")
    with file.open() as rows:
        (row,) = csv.DictReader(rows)
    assert (row["model"], row["num_inference_steps"]) == (Path(tiny.source).name, "2")
