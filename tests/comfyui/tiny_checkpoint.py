"""A checkpoint of the kind of Stable Diffusion 1.5 with random weights: a megabyte, sampled in a second on a CPU.

ComfyUI tells a model by the names and shapes of its weights, so the parts that cannot be left out have their real
shapes and the others are not there: one level of the U-Net, the whole text encoder, and the smallest autoencoder.
Every matrix is a window that slides over a short row of random numbers, and only the row is written.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import torch

CHANNELS, TIME, TEXT, TOKENS, AUTOENCODER = 320, 1280, 768, 49408, 64
TEXT_LAYERS = 12
QUIET = 0.01
"""Scale of what is added to a picture on its way: with random weights it would grow without end."""

CHECKPOINT = Path("tiny", "sd15.ckpt")
"""Where it lies among the checkpoints of a ComfyUI."""

Weight = tuple[str, tuple[int, ...], float]
"""Name, shape, and the scale of its random numbers (1 for what keeps the size of its input)."""


def write_checkpoint(path: Path) -> None:
    """Write the checkpoint; it is the same every time."""
    generator = torch.Generator().manual_seed(0)
    weights = {name: _fill(name, shape, scale, generator) for name, shape, scale in _weights()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": weights}, path)


def _fill(name: str, shape: tuple[int, ...], scale: float, generator: torch.Generator) -> torch.Tensor:
    if len(shape) < 2:
        middle = 0.5 if name.endswith("decoder.19.bias") else 0.0  # of the range of a pixel
        value = 1.0 if name.endswith(("weight", "scale")) else middle
        return torch.full(shape, value, dtype=torch.float16)
    window = math.prod(shape[1:])
    row = torch.randn(shape[0] + window - 1, generator=generator) * (scale / math.sqrt(window))
    return row.half().unfold(0, window, 1).unflatten(1, shape[1:])


def _weights() -> Iterator[Weight]:
    yield from _prefixed("model.diffusion_model.", _unet())
    yield from _prefixed("cond_stage_model.transformer.text_model.", _text_encoder())
    yield from _prefixed("first_stage_model.", _autoencoder())


def _prefixed(prefix: str, weights: Iterator[Weight]) -> Iterator[Weight]:
    return ((prefix + name, shape, scale) for name, shape, scale in weights)


def _layer(name: str, *shape: int, scale: float = 1.0, has_bias: bool = True) -> Iterator[Weight]:
    """A linear layer (out, in), a convolution (out, in, height, width), or a normalisation (channels)."""
    yield f"{name}.weight", shape, scale
    if has_bias:
        yield f"{name}.bias", shape[:1], scale


def _unet() -> Iterator[Weight]:
    yield from _layer("time_embed.0", TIME, CHANNELS)
    yield from _layer("time_embed.2", TIME, TIME)
    yield from _layer("input_blocks.0.0", CHANNELS, 4, 3, 3)
    yield from _residual("input_blocks.1.0", CHANNELS)
    yield from _attention("input_blocks.1.1")
    for number in range(2):
        yield from _residual(f"output_blocks.{number}.0", 2 * CHANNELS)
    yield from _layer("out.0", CHANNELS)
    yield from _layer("out.2", 4, CHANNELS, 3, 3)


def _residual(name: str, channels: int) -> Iterator[Weight]:
    yield from _layer(f"{name}.in_layers.0", channels)
    yield from _layer(f"{name}.in_layers.2", CHANNELS, channels, 3, 3)
    yield from _layer(f"{name}.emb_layers.1", CHANNELS, TIME)
    yield from _layer(f"{name}.out_layers.0", CHANNELS)
    yield from _layer(f"{name}.out_layers.3", CHANNELS, CHANNELS, 3, 3, scale=QUIET)
    if channels != CHANNELS:
        yield from _layer(f"{name}.skip_connection", CHANNELS, channels, 1, 1)


def _attention(name: str) -> Iterator[Weight]:
    block = f"{name}.transformer_blocks.0"
    yield from _layer(f"{name}.norm", CHANNELS)
    yield from _layer(f"{name}.proj_in", CHANNELS, CHANNELS, 1, 1)
    for attention, context in (("attn1", CHANNELS), ("attn2", TEXT)):
        yield from _layer(f"{block}.{attention}.to_q", CHANNELS, CHANNELS, has_bias=False)
        yield from _layer(f"{block}.{attention}.to_k", CHANNELS, context, has_bias=False)
        yield from _layer(f"{block}.{attention}.to_v", CHANNELS, context, has_bias=False)
        yield from _layer(f"{block}.{attention}.to_out.0", CHANNELS, CHANNELS)
    for number in (1, 2, 3):
        yield from _layer(f"{block}.norm{number}", CHANNELS)
    yield from _layer(f"{block}.ff.net.0.proj", 8 * CHANNELS, CHANNELS)
    yield from _layer(f"{block}.ff.net.2", CHANNELS, 4 * CHANNELS)
    yield from _layer(f"{name}.proj_out", CHANNELS, CHANNELS, 1, 1, scale=QUIET)


def _text_encoder() -> Iterator[Weight]:
    yield from _layer("embeddings.token_embedding", TOKENS, TEXT, has_bias=False)
    yield from _layer("embeddings.position_embedding", 77, TEXT, has_bias=False)
    for number in range(TEXT_LAYERS):
        layer = f"encoder.layers.{number}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _layer(f"{layer}.self_attn.{part}", TEXT, TEXT)
        yield from _layer(f"{layer}.layer_norm1", TEXT)
        yield from _layer(f"{layer}.layer_norm2", TEXT)
        yield from _layer(f"{layer}.mlp.fc1", 4 * TEXT, TEXT)
        yield from _layer(f"{layer}.mlp.fc2", TEXT, 4 * TEXT)
    yield from _layer("final_layer_norm", TEXT)


def _autoencoder() -> Iterator[Weight]:
    """TAESD, whose layers have numbers: three levels of blocks, with a layer that changes the size before each."""
    yield from _layer("taesd_encoder.0", AUTOENCODER, 3, 3, 3)
    yield from _blocks("taesd_encoder", (1, 3, 4, 5, 7, 8, 9, 11, 12, 13), resizers=(2, 6, 10))
    yield from _layer("taesd_encoder.14", 4, AUTOENCODER, 3, 3)
    yield from _layer("taesd_decoder.1", AUTOENCODER, 4, 3, 3)
    yield from _blocks("taesd_decoder", (3, 4, 5, 8, 9, 10, 13, 14, 15, 18), resizers=(7, 12, 17))
    yield from _layer("taesd_decoder.19", 3, AUTOENCODER, 3, 3, scale=0.1)
    yield "vae_scale", (), 1.0
    yield "vae_shift", (), 1.0


def _blocks(name: str, blocks: tuple[int, ...], *, resizers: tuple[int, ...]) -> Iterator[Weight]:
    for block in blocks:
        for convolution in (0, 2, 4):
            yield from _layer(f"{name}.{block}.conv.{convolution}", AUTOENCODER, AUTOENCODER, 3, 3)
    for resizer in resizers:
        yield from _layer(f"{name}.{resizer}", AUTOENCODER, AUTOENCODER, 3, 3, has_bias=False)
