"""The same architecture, small: rules for the numbers of a configuration. Data in, data out; imports no torch.

Heads keep their width, because positions and norms depend on it; there are two of them, and two layers. A width of a
text encoder becomes that of the small one wherever it stands, also as a term of a sum. Convolutions keep their levels
and get narrow channels. Numbers that no rule knows stay as they are.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastdiff.models.architectures import Part

FEW = 2
"""Heads, and layers: with one of them, what depends on their number would not show."""
NARROW = 32
"""Channels of the first level; the others have twice as many."""

HEADS = ("num_attention_heads", "num_heads", "n_heads", "n_head", "encoder_attention_heads")
OTHER_HEADS = ("num_key_value_heads", "num_kv_heads", "n_kv_heads", "decoder_attention_heads", "multi_query_group_num")
WIDTHS = ("hidden_size", "d_model", "n_embd", "dim", "embed_dim")
HEAD_WIDTHS = ("attention_head_dim", "head_dim", "d_kv", "kv_channels")
INNER = ("intermediate_size", "d_ff", "ffn_dim", "ffn_hidden_size", "n_inner", "encoder_ffn_dim", "decoder_ffn_dim")
LAYERS = (
    *("num_hidden_layers", "num_layers", "n_layers", "n_layer", "depth", "encoder_layers", "decoder_layers"),
    *("num_single_layers", "num_refiner_layers", "n_refiner_layers", "num_decoder_layers"),
    *("num_mmdit_layers", "num_single_dit_layers", "num_double_layers"),
)
CHANNELS = "block_out_channels"
"""The end of the key, before which another word may stand."""
BLOCKS = ("layers_per_block", "num_res_blocks", "res_blocks", "num_encoder_blocks", "num_decoder_blocks")
TRANSFORMERS = ("transformer_layers_per_block", "layers_per_mid_block")
BASES = ("base_dim", "decoder_base_dim", "base_channels", "encoder_hidden_size", "decoder_channels", "ch", "channels")
"""An autoencoder's width, of which its levels have multiples."""
GROUPS = ("norm_num_groups", "groups")
TEXT = (
    *("cross_attention_dim", "joint_attention_dim", "caption_channels", "text_dim", "text_embed_dim", "cap_feat_dim"),
    *("pooled_projection_dim", "encoder_hid_dim", "context_in_dim", "cond_token_dim", "image_dim", "image_embed_dim"),
    *(
        "clip_text_in_channels",
        "clip_text_pooled_in_channels",
        "clip_image_in_channels",
        "embedding_dim",
        "cross_attention_dim_t5",
    ),
)
"""What a denoiser takes from its encoders."""
CLASSES, TIMES = "projection_class_embeddings_input_dim", "addition_time_embed_dim"
NUMBERS = (0, 5, 6)
"""SDXL embeds six numbers beside the words, its refiner five."""
KEPT = ("sample_size", "vocab_size", "patch_size", "image_size", "in_channels", "out_channels", "latent_channels")
WORDS_OF_A_WIDTH = ("dim", "size", "channels", "width", "model", "embd")


def shrunk(parts: Mapping[str, Part]) -> dict[str, Part]:
    """Encoders first, because the denoisers are as wide as what they take from them."""
    widths: list[tuple[int, int]] = []
    small: dict[str, Part] = {}
    for name, part in sorted(parts.items(), key=lambda one: (one[1].library == "diffusers", "image" in one[0], one[0])):
        config = dict(part.config)
        if any(key.endswith(CHANNELS) for key in config) or part.cls.startswith("Autoencoder"):
            config = _convolutions(config, _with_sums(widths))
        elif part.library == "diffusers":
            config = _attention(config, _with_sums(widths))
        else:
            config = _encoder(config, widths)
        small[name] = replace(part, config=config)
    return {name: small[name] for name in parts}


def _with_sums(widths: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Some denoisers take several encoders' answers side by side."""
    sums = {}
    for count in range(len(widths), 0, -1):
        for several in combinations(widths, count):
            sums[sum(full for full, _ in several)] = sum(small for _, small in several)
    return sums


def _first(config: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((config[key] for key in keys if isinstance(config.get(key), int)), None)


# -- attention --------------------------------------------------------------------------------------------------------


def _encoder(config: dict[str, Any], widths: list[tuple[int, int]]) -> dict[str, Any]:
    """A text encoder's, or an image encoder's; those inside of it too. `widths`, full and small, learns from it."""
    heads, width = _first(config, HEADS), _first(config, WIDTHS)
    inside = {key: value for key, value in config.items() if isinstance(value, dict)}
    config |= {key: _encoder(dict(inside[key]), widths) for key in sorted(inside)}  # text_config before vision_config
    if not heads or not width:
        return config
    head = width // heads
    known = dict(widths).get(width, 0)
    few = known // head if known and known % head == 0 else FEW
    widths.append((width, few * head))
    return _narrowed(config, heads, few, {width: few * head}, dict(widths))


def _attention(config: dict[str, Any], widths: Mapping[int, int]) -> dict[str, Any]:
    """A denoiser's of transformer blocks."""
    heads, head, width = _first(config, HEADS), _first(config, HEAD_WIDTHS), _first(config, WIDTHS)
    if not heads or not (head or width):
        return config
    head = head or width // heads
    few = FEW
    if config.get("num_cross_attention_heads"):
        # Attention to words may have other heads, and both kinds are equally wide together.
        common = math.lcm(head, config["cross_attention_head_dim"])
        few = common // head * max(1, FEW * head // common)
        config["num_cross_attention_heads"] = few * head // config["cross_attention_head_dim"]
    return _narrowed(config, heads, few, {width or heads * head: few * head, heads * head: few * head}, widths)


def _narrowed(
    config: dict[str, Any], heads: int, few: int, own: Mapping[int, int], widths: Mapping[int, int]
) -> dict[str, Any]:
    depth = _first(config, LAYERS) or 0
    narrow = min(own.values())
    for key, value in config.items():
        if key in LAYERS and isinstance(value, int):
            config[key] = min(value, FEW)
        elif key in HEADS and isinstance(value, int):
            config[key] = few
        elif key in OTHER_HEADS and isinstance(value, int):
            config[key] = few if value == heads else 1
        elif key in INNER and isinstance(value, int):
            config[key] = 2 * narrow
        elif key in TEXT:
            config[key] = _mapped(value, dict(own) | dict(widths))
        elif isinstance(value, list | tuple) and "layer" in key and depth > FEW:
            config[key] = _of_fewer_layers(key, value, depth)
        elif key.endswith(WORDS_OF_A_WIDTH) and key not in (*KEPT, *HEAD_WIDTHS):
            config[key] = _mapped(value, dict(widths) | dict(own))
    return config


def _of_fewer_layers(key: str, value: Any, depth: int) -> Any:
    """A list with an entry for each layer, or one that names layers by their numbers."""
    if len(value) == depth:
        return value[:FEW]
    if key.endswith("_layers") and all(isinstance(one, int) for one in value):
        return type(value)(one for one in value if one < FEW)
    return value


def _mapped(value: Any, widths: Mapping[int, int]) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_mapped(one, widths) for one in value)
    return widths.get(value, value) if isinstance(value, int) and not isinstance(value, bool) else value


# -- convolutions -----------------------------------------------------------------------------------------------------


def _convolutions(config: dict[str, Any], widths: Mapping[int, int]) -> dict[str, Any]:
    groups = max([config[key] for key in GROUPS if isinstance(config.get(key), int)], default=1)
    narrow = groups * math.ceil(NARROW / groups)
    for key, value in config.items():
        if key.endswith(CHANNELS) and value:
            config[key] = type(value)(narrow if one == min(value) else 2 * narrow for one in value)
        elif key in BASES and isinstance(value, int):
            config[key] = narrow
        elif key.endswith(TRANSFORMERS) or key.endswith(BLOCKS):
            config[key] = None if key.startswith("reverse") else _ones(value)
        elif key in TEXT:
            config[key] = _mapped(value, widths)
        elif key.endswith(("attention_head_dim", "num_attention_heads")):
            config[key] = _dividing(value, narrow)
        elif key == CLASSES and isinstance(value, int):
            each = config.get(TIMES) or 0
            config[key] = next(
                (count * each + widths[value - count * each] for count in NUMBERS if value - count * each in widths),
                value,
            )
    return config


def _ones(value: Any) -> Any:
    """For each level one layer; where a level has several kinds, all have one."""
    if isinstance(value, list | tuple):
        return type(value)(1 for _ in value)
    return min(value, 1) if isinstance(value, int) else value


def _dividing(value: Any, channels: int) -> Any:
    """Heads, or their width: a name that diffusers uses for both."""
    if isinstance(value, list | tuple):
        return type(value)(_dividing(one, channels) for one in value)
    return value if value is None or channels % value == 0 else channels // 4
