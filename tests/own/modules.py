"""Modules as a user has them measured, small enough for tests."""

from dataclasses import dataclass

import torch

import fastdiff


class Block(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = torch.nn.LayerNorm(width)
        self.wide, self.narrow = torch.nn.Linear(width, 4 * width), torch.nn.Linear(4 * width, width)

    def forward(self, x):
        return x + self.narrow(torch.nn.functional.gelu(self.wide(self.norm(x))))


@fastdiff.module(
    "block",
    inputs=lambda device, dtype: dict(x=torch.randn(1, 96, 64, device=device, dtype=dtype)),
    close=dict(rtol=1e-2),
)
def block(device, dtype):
    return Block(64).to(device, dtype).eval()


@fastdiff.module("plain", inputs=lambda: (torch.randn(2, 8, 32),))
def plain():
    """Neither it nor its inputs take notice of device and dtype."""
    return Block(32)


@dataclass
class Answer:
    sample: torch.Tensor
    places: list[torch.Tensor]
    name: str = "not a tensor"


class Several(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.block, self.dropout = Block(32), torch.nn.Dropout(0.5)

    def forward(self, x, scale, *, words):
        assert words == ["a", "b"], "what is no tensor reaches it as it is"
        found = self.dropout(self.block(x["hidden"])) * scale
        return Answer(found, [found.argmax(-1), found[0, 0, 0]])


def several_inputs(dtype):
    """A float32 input stays one, whatever the stage's dtype."""
    return dict(x={"hidden": torch.randn(1, 8, 32, dtype=dtype)}, scale=torch.rand(8, 1), words=["a", "b"])


@fastdiff.module("several", inputs=several_inputs, output=lambda answer: [answer.sample, answer.places[1]])
def several(dtype):
    return Several().to(dtype).train()


@fastdiff.module("attention", inputs=lambda dtype: dict(x=torch.randn(1, 16, 32, dtype=dtype)), stages=["fp32", "sdpa"])
def attention(dtype):
    """Of diffusers, which the ladder can write out."""
    from diffusers.models.attention_processor import Attention

    class Attending(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = Attention(32, heads=2, dim_head=16)

        def forward(self, x):
            return self.attention(x)

    return Attending().to(dtype)


@fastdiff.module(
    "dispatched",
    inputs=lambda dtype: dict(hidden_states=torch.randn(1, 16, 32, dtype=dtype)),
    stages=["fp32", "sdpa"],
)
def dispatched(dtype):
    """Of diffusers as well, in a kind that goes through its dispatcher."""
    from diffusers.models.transformers.transformer_flux import FluxAttention

    class Attending(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = FluxAttention(32, heads=2, dim_head=16, out_dim=32)

        def forward(self, hidden_states):
            return self.attention(hidden_states)

    return Attending().to(dtype)


@fastdiff.module("function", inputs=dict(x=torch.linspace(0, 1, 64), power=2), stages=["fp32"])
def function():
    def raised(x, power):
        return x**power

    return raised


@fastdiff.module("zeros", inputs=dict(x=torch.ones(3)), stages=["fp32"])
def zeros():
    return torch.zeros_like


@fastdiff.module("counter", inputs=dict(x=torch.zeros(3)), stages=["fp32"])
def counter():
    """Writes into its input, and answers it."""
    return lambda x: x.add_(torch.arange(1.0, 4.0))


@fastdiff.module("nothing", inputs={})
def nothing():
    return 3
