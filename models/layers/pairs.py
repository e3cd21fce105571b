"""Let features interact in pairs."""

from typing import Any

import torch
from torch import Tensor

from models.kernels import features
from models.kernels import pairs as pair_kernels
from models.kernels.distinct_pairs import Fields, Kept
from models.kernels.features import Embeddings
from models.layers.networks import Dropout


def field_pairs(num_fields: int) -> Tensor:
    """Return the pairs (0, 1), (0, 2), …, (n−2, n−1) of fields, `[2, P]`."""
    return torch.triu_indices(num_fields, num_fields, offset=1)


def pair_products(embedding: Tensor) -> Tensor:
    """Compute the pair-wise interaction layer {(V_i ⊙ V_j) x_i x_j} (IFM, eq. 8).

    For field-aware embeddings it is {(V_{i,f_j} ⊙ V_{j,f_i}) x_i x_j}.
    Shape: `[batch, n, K]` or `[batch, n, n, K]` → `[batch, P, K]`, pairs as in `field_pairs`.
    """
    n = embedding.shape[1]
    if embedding.dim() == 4:
        i, j = field_pairs(n)
        return embedding[:, i, j] * embedding[:, j, i]
    return torch.cat([embedding[:, i : i + 1] * embedding[:, i + 1 :] for i in range(n - 1)], dim=1)


def bi_interaction(V: Tensor | Embeddings) -> Tensor:
    """Sum the pair-wise interactions of each row in linear time.

    Σ_{i<j} V_i x_i ⊙ V_j x_j = ½ [(Σ_i V_i x_i)² − Σ_i (V_i x_i)²] (He & Chua 2017, eq. 4).
    Shape: `[batch, n, K]` → `[batch, K]`.
    """
    if isinstance(V, Embeddings):
        return features.bi_interaction(V)
    return 0.5 * (V.sum(1).square() - V.square().sum(1))


def pair_effects(V: Tensor | Embeddings, M: Tensor, dropout: Dropout) -> Tensor:
    """Compute the effect of each pair as `attend` does."""
    if isinstance(V, Embeddings):
        return pair_kernel(V, M, dropout)[1]
    return effects_of(pair_products(V), M, dropout)


def mean_over_present(effect: Tensor, absent: Tensor | None) -> Tensor:
    """Average the effects `[batch, P]` of the pairs that are not absent; 0 if all are."""
    if absent is None:
        return effect.mean(-1)
    return effect.masked_fill(absent, 0).sum(-1) / (~absent).sum(-1).clamp(min=1)


def effects_of(products: Tensor, M: Tensor, dropout: Dropout) -> Tensor:
    products = dropout.of_pairs(products)
    return (products * M).sum(-1) if M.dim() == 2 else torch.einsum("bpk,pdk->bpd", products, M)


def pair_kernel(
    V: Embeddings, M: Tensor, dropout: Dropout, pairs: Tensor | None = None, attention: Any = None
) -> tuple[Tensor, Tensor]:
    units = M[:, None] if M.dim() == 2 else M
    logits, effects = pair_kernels.pair_effects(V, columns(V, pairs), units, *dropout_of(V, dropout), attention)
    return logits, effects.squeeze(-1) if M.dim() == 2 else effects


def columns(V: Embeddings, pairs: Tensor | None = None) -> Fields:
    pairs = field_pairs(V.where.index.shape[1]) if pairs is None else pairs
    return tuple((i, j) for i, j in pairs.T.tolist())


def dropout_of(V: Embeddings, dropout: Dropout) -> tuple[Kept | None, float]:
    """Return how kernels drop elements: a function that draws, and a scale.

    The function takes P and draws `[P, batch, K]` of elements to keep; the scale multiplies these. Returns None and 1
    when nothing is dropped.
    """
    batch, K = len(V.where.index), V.table.shape[-1]
    if not dropout.drops:
        return None, 1.0
    return lambda P: dropout.kept(P, batch, K, device=V.table.device), dropout.scale


def pool_pairs(V: Tensor | Embeddings, dropout: Dropout, T: Tensor | None = None) -> Tensor:
    """Sum the pair-wise interactions, weighed by T, with dropout on the products.

    Σ_{i<j} T_ij (V_i ⊙ V_j) x_i x_j. Shape: T `[batch, P]`, None for ones → `[batch, K]`.
    """
    if isinstance(V, Embeddings):
        return pair_kernels.pooled_products(V, columns(V), T, *dropout_of(V, dropout))
    products = dropout.of_pairs(pair_products(V))
    return products.sum(1) if T is None else torch.einsum("bp,bpk->bk", T, products)


def pooled_sum(V: Tensor | Embeddings, dropout: Dropout) -> Tensor:
    """Sum Σ_{i<j} (V_i ⊙ V_j) x_i x_j over k, with dropout on the pooled vector. Shape: → `[batch]`."""
    if isinstance(V, Embeddings) and not dropout.drops:  # one number for each pair is enough
        return pair_kernels.pooled_dots(V, columns(V))
    return dropout(pool_pairs(V, Dropout(0.0))).sum(-1)
