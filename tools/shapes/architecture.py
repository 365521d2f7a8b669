"""How the embedded model is built: SDXL's parts at a five-hundredth of their size, and a tokenizer of its own."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING

from fastdiff.models.libraries import diffusers, transformers
from tools.shapes.pictures import COLOURS, SIZES

if TYPE_CHECKING:
    from pathlib import Path

TOKENS = 32
"""Context length: a caption has 10 tokens with its two markers; the rest leaves room for a user's own words."""

TEXT_WIDTH = 64
TIME_EMBEDDING = 32
"""Width of each of the six size-and-crop embeddings."""

RESERVED_SHAPES = ("circle", "square", "triangle", "star", "ring", "cross")
"""Words with a token of their own, more than there are pictures of: a longer list must not renumber the others."""

START, END = "<|startoftext|>", "<|endoftext|>"


def vae() -> diffusers.AutoencoderKL:
    return diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 32, 64),
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
        sample_size=256,
        force_upcast=False,
    )


def tiny_autoencoder() -> diffusers.AutoencoderTiny:
    """As published for SDXL, with a quarter of the channels. More of the decoder works where a picture has 32x32 places
    and sees all of them: the autoencoder that it stands in for normalises over the whole picture. At full size it has
    no block, which would take longer than all the others."""
    return diffusers.AutoencoderTiny(
        encoder_block_out_channels=(16,) * 4, decoder_block_out_channels=(16,) * 4, num_decoder_blocks=(12, 3, 2, 0)
    )


def unet() -> diffusers.UNet2DConditionModel:
    """SDXL starts with a block without attention; here the first one has it too, so that SDPA has long sequences."""
    return diffusers.UNet2DConditionModel(
        sample_size=32,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(64, 128),
        layers_per_block=1,
        transformer_layers_per_block=(1, 2),
        attention_head_dim=(4, 8),  # heads, as in SDXL's configuration: diffusers kept the misleading name
        norm_num_groups=16,
        cross_attention_dim=2 * TEXT_WIDTH,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_EMBEDDING,
        projection_class_embeddings_input_dim=6 * TIME_EMBEDDING + TEXT_WIDTH,
    )


def text_encoders() -> tuple[transformers.CLIPTextModel, transformers.CLIPTextModelWithProjection]:
    config = transformers.CLIPTextConfig(
        vocab_size=len(vocabulary()[0]),
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        hidden_act="gelu",
        bos_token_id=vocabulary()[0][START],
        eos_token_id=vocabulary()[0][END],
        pad_token_id=vocabulary()[0][END],
    )
    return transformers.CLIPTextModel(config), transformers.CLIPTextModelWithProjection(config)


def scheduler() -> diffusers.EulerDiscreteScheduler:
    """Zero terminal SNR with v-prediction: the first step sees pure noise, so a flat background can have any colour."""
    return diffusers.EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )


def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """CLIP's byte-level alphabet, and merges that make one token of every word that a caption can have."""
    words = ["a", "an", "on", "background", *SIZES, *COLOURS, *RESERVED_SHAPES]
    alphabet = _printable_bytes()
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    merges: list[tuple[str, str]] = []
    for word in words:
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            # Re-apply what is there first: byte-pair encoding always takes the earliest merge that fits.
            ranked = [merges.index(pair) for pair in pairwise(pieces) if pair in merges]
            pair = merges[min(ranked)] if ranked else (pieces[-2], pieces[-1])
            if not ranked:
                merges.append(pair)
                tokens.append("".join(pair))
            at = next(i for i, found in enumerate(pairwise(pieces)) if found == pair)
            pieces[at : at + 2] = ["".join(pair)]
    return {token: i for i, token in enumerate([*tokens, START, END])}, merges


def save_tokenizer(folder: Path) -> transformers.CLIPTokenizer:
    folder.mkdir(parents=True, exist_ok=True)
    tokens, merges = vocabulary()
    (folder / "vocab.json").write_text(json.dumps(tokens, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder, model_max_length=TOKENS)
    tokenizer.save_pretrained(folder)
    return tokenizer


def _printable_bytes() -> list[str]:
    """The 256 characters that stand for the 256 bytes in byte-level encoding: printable ones for themselves."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    stands_for = {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}
    return [stands_for[byte] for byte in range(256)]
