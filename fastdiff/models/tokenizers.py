"""Tokenizers without a download: every byte is a token. What they say has no meaning; its shape is the real one's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastdiff.models.libraries import transformers

if TYPE_CHECKING:
    from fastdiff.models.architectures import Tokenizer

START, END = "<|startoftext|>", "<|endoftext|>"


def tokenizer(asked: Tokenizer, vocabulary: int) -> Any:
    """`vocabulary` is how many tokens the text encoder knows."""
    return _clip(asked, vocabulary) if asked.kind == "clip" else _t5(asked, vocabulary)


def _clip(asked: Tokenizer, vocabulary: int) -> Any:
    """The markers are the two highest tokens, as in CLIP's own: its encoder looks for the highest one as the end."""
    alphabet = printable_bytes()
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    _fits(len(tokens) + 2, vocabulary)
    ids = {token: i for i, token in enumerate(tokens)} | {START: vocabulary - 2, END: vocabulary - 1}
    return transformers.CLIPTokenizer(vocab=ids, merges=[], model_max_length=asked.length, pad_token=asked.pad or END)


def _t5(asked: Tokenizer, vocabulary: int) -> Any:
    found = transformers.ByT5Tokenizer(model_max_length=asked.length)
    _fits(len(found), vocabulary)
    return found


def _fits(needed: int, vocabulary: int) -> None:
    if needed > vocabulary:
        raise ValueError(f"a text encoder of {vocabulary} tokens has no room for bytes; give it {needed} at least.")


def printable_bytes() -> list[str]:
    """The 256 characters that stand for the 256 bytes in CLIP's encoding, in CLIP's order: `!` is the first."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [*map(chr, printable), *(chr(256 + i) for i in range(256 - len(printable)))]
