"""Small copies by rule: consistent among the parts, and made of full-size configurations in seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from here import HERE

from fastdiff.models import places, shrinking
from fastdiff.models.architectures import ARCHITECTURES, CLIP_L, T5_XXL, Part, Tokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXT: dict[str, dict[str, Part]] = {
    "pixart-alpha": {"text_encoder": T5_XXL},
    "flux-dev": {"text_encoder": CLIP_L, "text_encoder_2": T5_XXL},
}
"""What the described architectures leave out, and a checkpoint has."""
FULL = ("sd15", "sdxl", "ssd-1b", "pixart-alpha", "flux-dev")


def parts(name: str) -> dict[str, Part]:
    return {**ARCHITECTURES[name].parts, **TEXT.get(name, {})}


def small(name: str) -> dict[str, Mapping[str, Any]]:
    return {part: one.config for part, one in shrinking.shrunk(parts(name)).items()}


# -- the rules --------------------------------------------------------------------------------------------------------


def test_a_denoiser_attends_to_what_its_encoders_say() -> None:
    sd = small("sd15")
    assert sd["unet"]["cross_attention_dim"] == sd["text_encoder"]["hidden_size"] == 128
    sdxl = small("sdxl")
    both = sdxl["text_encoder"]["hidden_size"] + sdxl["text_encoder_2"]["hidden_size"]
    assert sdxl["unet"]["cross_attention_dim"] == both
    classes = 6 * 256 + sdxl["text_encoder_2"]["projection_dim"]
    assert sdxl["unet"]["projection_class_embeddings_input_dim"] == classes
    flux = small("flux-dev")
    assert flux["transformer"]["joint_attention_dim"] == flux["text_encoder_2"]["d_model"]
    assert flux["transformer"]["pooled_projection_dim"] == flux["text_encoder"]["projection_dim"]
    pixart = small("pixart-alpha")
    assert pixart["transformer"]["caption_channels"] == pixart["text_encoder"]["d_model"]
    assert pixart["transformer"]["cross_attention_dim"] == 2 * 72, "its own width, and not a text encoder's"


def test_a_head_keeps_its_width() -> None:
    flux = small("flux-dev")["transformer"]
    assert (flux["attention_head_dim"], flux["num_attention_heads"]) == (128, 2)
    assert (flux["num_layers"], flux["num_single_layers"], flux["axes_dims_rope"]) == (2, 2, (16, 56, 56))
    assert small("flux-dev")["text_encoder_2"]["d_kv"] == 64


def test_two_kinds_of_attention_stay_equally_wide() -> None:
    config = {
        **{"num_attention_heads": 70, "attention_head_dim": 32, "num_layers": 20, "cross_attention_dim": 2240},
        **{"num_cross_attention_heads": 20, "cross_attention_head_dim": 112, "caption_channels": 2304},
    }
    words = {"hidden_size": 2304, "num_attention_heads": 8, "num_key_value_heads": 4, "num_hidden_layers": 26}
    text = Part("transformers", "Gemma2Model", words | {"layer_types": ["full"] * 26})
    made = shrinking.shrunk({"transformer": Part("diffusers", "SanaTransformer2DModel", config), "text_encoder": text})
    sana, gemma = made["transformer"].config, made["text_encoder"].config
    wide = sana["num_attention_heads"] * 32
    assert wide == sana["num_cross_attention_heads"] * 112 == sana["cross_attention_dim"] == 224
    assert sana["caption_channels"] == gemma["hidden_size"] == 2 * 288
    assert (gemma["num_key_value_heads"], gemma["layer_types"]) == (1, ["full"] * 2)


def test_convolutions_keep_their_levels() -> None:
    sdxl = small("sdxl")
    assert sdxl["unet"]["block_out_channels"] == (32, 64, 64)
    assert sdxl["unet"]["transformer_layers_per_block"] == (1, 1, 1)
    assert sdxl["unet"]["attention_head_dim"] == (8, 8, 8)
    assert sdxl["vae"]["block_out_channels"] == (32, 64, 64, 64)
    odd = Part("diffusers", "AutoencoderKL", {"block_out_channels": [60, 120], "norm_num_groups": 20})
    assert shrinking.shrunk({"vae": odd})["vae"].config["block_out_channels"] == [40, 80]


def test_what_no_rule_knows_stays() -> None:
    config = {"sample_size": 128, "in_channels": 4, "num_train_timesteps": 1000, "axes": [1, 2, 3]}
    assert shrinking.shrunk({"one": Part("diffusers", "Strange", config)})["one"].config == config


# -- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.fixture
def configs(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder of a full-size checkpoint, without its weights."""
    from fastdiff.models.libraries import diffusers
    from fastdiff.models.tokenizers import tokenizer

    name: str = request.param
    whole, folder = ARCHITECTURES[name], tmp_path / name
    index: dict[str, Any] = {"_class_name": whole.pipeline, "scheduler": ["diffusers", whole.scheduler.cls]}
    getattr(diffusers, whole.scheduler.cls)(**whole.scheduler.config).save_pretrained(folder / "scheduler")
    for part, one in parts(name).items():
        index[part] = [one.library, one.cls]
        (folder / part).mkdir()
        named = {"_class_name": one.cls} if one.library == "diffusers" else {"architectures": [one.cls]}
        (folder / part / "config.json").write_text(json.dumps(named | dict(one.config)))
        if part.startswith("text"):
            words = "tokenizer" + part.removeprefix("text_encoder")
            kind = Tokenizer("t5", 512) if one.cls.startswith("T5") else Tokenizer("clip", 77)
            made = tokenizer(kind, one.config["vocab_size"])
            made.save_pretrained(folder / words)
            index[words] = ["transformers", type(made).__name__]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize(
    "configs",
    [name if name == "sdxl" else pytest.param(name, marks=pytest.mark.nightly) for name in FULL],
    indirect=True,
)
def test_a_full_size_checkpoint_is_tried_in_seconds(configs: Path) -> None:
    from fastdiff.trial.live import LiveStage

    (model,) = places.models(str(configs), Path())
    live = LiveStage(model.with_weights("tiny"), HERE["sdpa"], "cpu", model.request)
    try:
        live.first_call()
        assert live.images.shape == (1, 128, 128, 3)
        assert live.images.std() > 0.02
        assert live.unapplied == []
        assert sum(one.numel() for part in live.built.parts for one in part.parameters()) < 10e6
    finally:
        live.close()


@pytest.mark.parametrize("configs", ["sdxl"], indirect=True)
def test_what_stays_large_is_refused(configs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastdiff.models.loading import load
    from fastdiff.record.errors import UserError

    monkeypatch.setattr(shrinking, "shrunk", dict)
    (model,) = places.models(str(configs), Path())
    with pytest.raises(UserError, match=r"do not know UNet2DConditionModel: its unet would still have \d+ million"):
        load(model.with_weights("tiny"), "float32")
