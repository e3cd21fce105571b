"""Weigh pair-wise interactions by attention, and let fields attend to each other."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from models.kernels import pairs as pair_kernels
from models.kernels.features import Embeddings
from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.networks import Dropout
from models.layers.pairs import columns, effects_of, pair_effects, pair_kernel, pair_products, pool_pairs

Placement = Literal["logits", "hidden"]


class PairAttention(nn.Module):
    """Compute the feature aspect T_ij, an attention over pairs.

    T_ij = softmax_ij(hᵀ Relu(W (V_i ⊙ V_j) x_i x_j + b) / τ) (IFM, eq. 5), over the pairs with x_i x_j ≠ 0 (eq. 1).
    `temperature_placement` "hidden" divides W (V_i ⊙ V_j) by τ and not the logits, as the code released with the paper
    does. `log_weights` are added to the logits / τ. W and b start at N(0, 2/(K + K_a)), h at N(0, 1). Raises ValueError
    for a size or τ that is not positive.
    Shape: pair products `[batch, P, K]` or the embeddings, `absent` as in `Batch.absent`, log_weights `[P]` →
    `[batch, P]`. Each row sums to 1, or is 0 if all its pairs are absent.
    """

    role = "attention"

    def __init__(
        self,
        embed_dim: int,
        attention_dim: int,
        temperature: float,
        temperature_placement: Placement = "logits",
    ) -> None:
        super().__init__()
        positive(attention_dim=attention_dim, temperature=temperature)
        scale = (2 / (embed_dim + attention_dim)) ** 0.5
        self.W = nn.Parameter(torch.randn(embed_dim, attention_dim) * scale)
        self.b = nn.Parameter(torch.randn(attention_dim) * scale)
        self.h = nn.Parameter(torch.randn(attention_dim))
        in_logits = temperature_placement == "logits"
        self.divide_hidden, self.divide_logits = (1, temperature) if in_logits else (temperature, 1)

    def forward(
        self, products: Tensor | Embeddings, absent: Tensor | None = None, log_weights: Tensor | None = None
    ) -> Tensor:
        if isinstance(products, Embeddings):
            logits = pair_kernels.pair_logits(products, columns(products), self.network)
        else:
            logits = torch.relu(products @ self.W / self.divide_hidden + self.b) @ self.h
        return self.softmax(logits, absent, log_weights)

    @property
    def network(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.W / self.divide_hidden, self.b, self.h

    def softmax(self, logits: Tensor, absent: Tensor | None, log_weights: Tensor | None) -> Tensor:
        scaled = logits / self.divide_logits
        if log_weights is not None:
            scaled = scaled + log_weights
        if absent is None:
            return torch.softmax(scaled, dim=-1)
        # Not −∞, with which a row without pairs would be NaN.
        lowest = torch.finfo(scaled.dtype).min
        return torch.softmax(scaled.masked_fill(absent, lowest), dim=-1).masked_fill(absent, 0)


def attend(
    attention: PairAttention,
    batch: Batch,
    V: Tensor | Embeddings,
    M: Tensor,
    dropout: Dropout,
    pairs: Tensor | None = None,
    log_weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute the attention and the effect of each pair.

    The attention is T_ij, the effect M_ij (V_i ⊙ V_j) x_i x_j. T sees the interactions before dropout, M after it.
    Shape: M `[P, K]` or `[P, d, K]`, pairs as in `field_pairs` (None: all), log_weights `[P]` → T `[batch, P]`, effect
    `[batch, P]` or `[batch, P, d]`.
    """
    if isinstance(V, Embeddings):
        logits, effects = pair_kernel(V, M, dropout, pairs, attention.network)
        return attention.softmax(logits, batch.absent(pairs), log_weights), effects
    products = pair_products(V) if pairs is None else V[:, pairs[0]] * V[:, pairs[1]]
    return attention(products, batch.absent(pairs), log_weights), effects_of(products, M, dropout)


def attentional_pooling(
    attention: PairAttention | None,
    batch: Batch,
    V: Tensor | Embeddings,
    p: Tensor,
    dropout: Dropout,
    batch_norm: nn.Module,
) -> Tensor:
    """Pool the interactions by attention, and weigh the pooled vector by p.

    pᵀ Σ_{i<j} T_ij (V_i ⊙ V_j) x_i x_j (Xiao et al. 2017, eq. 6). Dropout is on the products, batch norm on the pooled
    vector. Without attention, T_ij = 1. Shape: p `[K]` → `[batch]`.
    """
    if isinstance(batch_norm, nn.Identity):  # Σ T_ij pᵀ (…) needs one number for each pair
        num_pairs = math.comb(V.shape[1] if isinstance(V, Tensor) else V.where.index.shape[1], 2)
        M = p.expand(num_pairs, -1)
        if attention is None:
            return pair_effects(V, M, dropout).sum(-1)
        T, effect = attend(attention, batch, V, M, dropout)
        return (T * effect).sum(-1)
    T = attention and attention(V if isinstance(V, Embeddings) else pair_products(V), batch.absent())
    return batch_norm(pool_pairs(V, dropout, T)) @ p


class SelfAttention(nn.Module):
    """Compute one layer of attention among fields.

    Head h has α_mk = softmax_k ⟨W_Q^h e_m, W_K^h e_k⟩ and ẽ_m^h = Σ_k α_mk W_V^h e_k; all heads together give
    relu([ẽ_m^1 … ẽ_m^H] + W_Res e_m). If `scaled`, the inner products are divided by √head_dim. If `identity`, W_Res is
    the identity where sizes agree. Shape: `[batch, n, inputs]` → `[batch, n, heads · head_dim]`.
    """

    def __init__(
        self,
        input_dim: int,
        num_heads: int,
        head_dim: int,
        dropout: float = 0.0,
        scaled: bool = False,
        identity: bool = True,
    ) -> None:
        super().__init__()
        positive(num_heads=num_heads, head_dim=head_dim)
        self.heads, size = (num_heads, head_dim), num_heads * head_dim
        self.scale = head_dim**-0.5 if scaled else 1.0
        self.W_Q, self.W_K, self.W_V = (nn.Linear(input_dim, size, bias=False) for _ in range(3))
        self.W_Res = nn.Identity() if identity and input_dim == size else nn.Linear(input_dim, size, bias=False)
        self.dropout = Dropout(dropout)

    def forward(self, e: Tensor) -> Tensor:
        Q, K, V = (W(e).unflatten(-1, self.heads).transpose(1, 2) for W in (self.W_Q, self.W_K, self.W_V))
        alpha = self.dropout(torch.softmax(Q @ K.mT * self.scale, dim=-1))  # [batch, heads, n, n]
        attended = (alpha @ V).transpose(1, 2).flatten(2)
        return torch.relu(attended + self.W_Res(e))
