"""The parts that the models share. Shapes: batch rows, n fields, m features, P = n(n−1)/2 pairs, K = embed_dim."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from models import kernels, pair_kernels
from models.kernels import Embeddings

Placement = Literal["logits", "hidden"]


def use_kernels(model: nn.Module, on: bool = True) -> None:
    """Compute with `models.kernels`, which give the same in less time, with sparse gradients of the weights that there
    are for each feature. A new model does not: its gradients are dense, as any optimizer takes them."""
    for module in model.modules():
        if hasattr(module, "kernels"):
            module.kernels = on  # type: ignore[assignment]


def positive(**sizes: float) -> None:
    """Raises ValueError that names the first argument that is not above zero."""
    for name, size in sizes.items():
        if not size > 0:
            raise ValueError(f"{name} must be positive, got {size}")


class WithKernels(nn.Module):
    """Weights for each feature, of which a batch touches a few."""

    kernels = False

    def rows_of(self, weight: Tensor, x: Tensor) -> Tensor:
        """weight[x]: `[m, …]` → `[batch, n, …]`."""
        if self.kernels:
            return kernels.spread(*self.touched(weight, x))
        # Not weight[x], whose gradient differs from run to run with two threads.
        return nn.functional.embedding(x, weight.flatten(1) if weight.dim() > 1 else weight[:, None]).view(
            *x.shape, *weight.shape[1:]
        )

    def touched(self, weight: Tensor, x: Tensor) -> Embeddings:
        """The rows of the features that occur in x, and where they do."""
        where = kernels.occurrences(x)
        return Embeddings(kernels.touched_rows(weight, where.ids), where)


class LinearTerms(WithKernels):
    """w_0 + Σ_i w_i x_i, the first-order part of Rendle 2010 (eq. 1). Starts at zero.

    Shape: x `[batch, n]` of global feature ids, values `[batch, n]` or None (all ones) → `[batch]`.
    """

    def __init__(self, field_dims: Sequence[int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(sum(field_dims)))
        self.bias = nn.Parameter(torch.zeros(()))

    def terms(self, x: Tensor, values: Tensor | None = None) -> Tensor:
        """The w_i x_i, `[batch, n]`."""
        weight = self.rows_of(self.weight, x)
        return weight if values is None else weight * values

    def forward(self, x: Tensor, values: Tensor | None = None) -> Tensor:
        if self.kernels and values is None:
            return self.bias + kernels.field_sum(*self.touched(self.weight, x))
        return self.bias + self.terms(x, values).sum(-1)


class FeatureEmbedding(WithKernels):
    """V_i x_i: one K-vector a feature, drawn from N(0, 0.01²).

    Shape: x `[batch, n]` of global feature ids, values `[batch, n]` or None (all ones) → `[batch, n, K]`.
    """

    def __init__(self, field_dims: Sequence[int], embed_dim: int) -> None:
        super().__init__()
        positive(embed_dim=embed_dim)
        self.weight = nn.Parameter(torch.randn(sum(field_dims), embed_dim) * 0.01)

    def forward(self, x: Tensor, values: Tensor | None = None) -> Tensor:
        embedding = self.rows_of(self.weight, x)
        return embedding if values is None else embedding * values[..., None]

    def distinct(self, x: Tensor, values: Tensor | None = None) -> Tensor | Embeddings:
        """The same for the functions that need each feature's vector but once. Plain without kernels, or with values:
        x_i V_i then differs from row to row."""
        if not self.kernels or values is not None:
            return self(x, values)
        return self.touched(self.weight, x)


class FieldAwareEmbedding(WithKernels):
    """V_{i,f} x_i: n K-vectors a feature, one for each field f it meets (Juan et al. 2016), drawn from N(0, 0.01²).

    Shape: x `[batch, n]` of global feature ids, values `[batch, n]` or None (all ones) → `[batch, n, n, K]`, in which
    [:, i, j] is V_{i,f_j} x_i.
    """

    def __init__(self, field_dims: Sequence[int], embed_dim: int) -> None:
        super().__init__()
        positive(embed_dim=embed_dim)
        self.num_fields, self.embed_dim = len(field_dims), embed_dim
        self.vectors = nn.Parameter(torch.randn(sum(field_dims), self.num_fields * embed_dim) * 0.01)

    def forward(self, x: Tensor, values: Tensor | None = None) -> Tensor:
        embedding = self.rows_of(self.vectors, x)
        embedding = embedding if values is None else embedding * values[..., None]
        return embedding.unflatten(-1, (self.num_fields, self.embed_dim))

    def distinct(self, x: Tensor, values: Tensor | None = None) -> Tensor | Embeddings:
        """As `FeatureEmbedding.distinct`."""
        if not self.kernels or values is not None:
            return self(x, values)
        vectors, where = self.touched(self.vectors, x)
        return Embeddings(vectors.unflatten(-1, (self.num_fields, self.embed_dim)), where)


def field_pairs(num_fields: int) -> Tensor:
    """The P pairs i < j of fields, `[2, P]`, in the order (0, 1), (0, 2), …, (n−2, n−1)."""
    return torch.triu_indices(num_fields, num_fields, offset=1)


def written_out(V: Tensor | Embeddings) -> Tensor:
    """The embeddings at their places, `[batch, n, K]`."""
    return kernels.spread(V.table, V.where) if isinstance(V, Embeddings) else V


def pair_products(embedding: Tensor) -> Tensor:
    """The pair-wise interaction layer, {(V_i ⊙ V_j) x_i x_j} (IFM, eq. 8), or {(V_{i,f_j} ⊙ V_{j,f_i}) x_i x_j}.

    Shape: `[batch, n, K]` or `[batch, n, n, K]` → `[batch, P, K]`, pairs as in `field_pairs`.
    """
    n = embedding.shape[1]
    if embedding.dim() == 4:
        i, j = field_pairs(n)
        return embedding[:, i, j] * embedding[:, j, i]
    return torch.cat([embedding[:, i : i + 1] * embedding[:, i + 1 :] for i in range(n - 1)], dim=1)


def bi_interaction(V: Tensor | Embeddings) -> Tensor:
    """Σ_{i<j} V_i x_i ⊙ V_j x_j = ½ [(Σ_i V_i x_i)² − Σ_i (V_i x_i)²] (He & Chua 2017, eq. 4).

    Shape: `[batch, n, K]` → `[batch, K]`.
    """
    if isinstance(V, Embeddings):
        return kernels.bi_interaction(V)
    return 0.5 * (V.sum(1).square() - V.square().sum(1))


class Dropout(nn.Module):
    """Each element is zero with probability p, else divided by 1 − p, while training (Srivastava et al. 2014).

    One random byte an element decides, which is faster than a random float: p is rounded to a multiple of 1/256.
    Raises ValueError for a p outside of [0, 1]. Shape: any, unchanged.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"dropout must be between 0 and 1, got {p}")
        self.p = p
        self.num_dropped = round(p * 256)  # of the 256 values of a byte
        self.scale = 256 / max(1, 256 - self.num_dropped)

    @property
    def drops(self) -> bool:
        return self.training and self.num_dropped > 0

    def kept(self, *shape: int, device: torch.device | None = None) -> Tensor:
        """1 for the elements to keep and 0 for those to drop, in bytes.

        What is drawn for [a + b, …] is what is drawn for [a, …] and then for [b, …].
        """
        numel = math.prod(shape[1:])
        words = torch.empty(shape[0], (numel + 7) // 8, dtype=torch.int64, device=device).random_(-(2**63), None)
        random_bytes = words.view(torch.uint8)[:, :numel].view(shape)
        if self.num_dropped == 256:
            return torch.zeros_like(random_bytes)
        return torch.ge(random_bytes, self.num_dropped, out=torch.empty_like(random_bytes))

    def forward(self, x: Tensor) -> Tensor:
        if not self.drops:
            return x
        return x * self.kept(*x.shape, device=x.device).to(x.dtype).mul_(self.scale)

    def of_pairs(self, products: Tensor) -> Tensor:
        """The same for `[batch, P, K]`, drawn pair after pair, as the kernels do."""
        return self(products.transpose(0, 1)).transpose(0, 1)


class PairAttention(nn.Module):
    """The feature aspect T_ij = softmax_ij(hᵀ Relu(W (V_i ⊙ V_j) x_i x_j + b) / τ) (IFM, eq. 5).

    `temperature_placement` "hidden" is the variant of the code released with the paper, which divides W (V_i ⊙ V_j) by
    τ and leaves the logits as they are. W and b start at N(0, 2/(K + K_a)), h at N(0, 1). Raises ValueError for a size
    or τ that is not positive. Shape: pair products `[batch, P, K]`, or the embeddings → `[batch, P]`; a row sums to 1.
    """

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

    def forward(self, products: Tensor | Embeddings) -> Tensor:
        if isinstance(products, Embeddings):
            logits = pair_kernels.pair_logits(products, columns(products), self.network)
        else:
            logits = torch.relu(products @ self.W / self.divide_hidden + self.b) @ self.h
        return self.softmax(logits)

    @property
    def network(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.W / self.divide_hidden, self.b, self.h

    def softmax(self, logits: Tensor) -> Tensor:
        return torch.softmax(logits / self.divide_logits, dim=-1)


def attend(
    attention: PairAttention, V: Tensor | Embeddings, M: Tensor, dropout: Dropout, pairs: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The attention T_ij to the pair-wise interactions, and what each gives, M_ij (V_i ⊙ V_j) x_i x_j.

    T sees the interactions before dropout, M after it. Shape: M `[P, K]` or `[P, d, K]`, pairs as in `field_pairs`
    (None: all of them) → T `[batch, P]`, and `[batch, P]` or `[batch, P, d]`.
    """
    if isinstance(V, Embeddings):
        logits, effects = pair_kernel(V, M, dropout, pairs, attention.network)
        return attention.softmax(logits), effects
    products = pair_products(V) if pairs is None else V[:, pairs[0]] * V[:, pairs[1]]
    return attention(products), effects_of(products, M, dropout)


def pair_effects(V: Tensor | Embeddings, M: Tensor, dropout: Dropout) -> Tensor:
    """What each pair-wise interaction gives, as in `attend`."""
    if isinstance(V, Embeddings):
        return pair_kernel(V, M, dropout)[1]
    return effects_of(pair_products(V), M, dropout)


def effects_of(products: Tensor, M: Tensor, dropout: Dropout) -> Tensor:
    products = dropout.of_pairs(products)
    return (products * M).sum(-1) if M.dim() == 2 else torch.einsum("bpk,pdk->bpd", products, M)


def pair_kernel(
    V: Embeddings, M: Tensor, dropout: Dropout, pairs: Tensor | None = None, attention: Any = None
) -> tuple[Tensor, Tensor]:
    units = M[:, None] if M.dim() == 2 else M
    logits, effects = pair_kernels.pair_effects(V, columns(V, pairs), units, *dropout_of(V, dropout), attention)
    return logits, effects.squeeze(-1) if M.dim() == 2 else effects


def columns(V: Embeddings, pairs: Tensor | None = None) -> pair_kernels.Fields:
    pairs = field_pairs(V.where.index.shape[1]) if pairs is None else pairs
    return tuple((i, j) for i, j in pairs.T.tolist())


def dropout_of(V: Embeddings, dropout: Dropout) -> tuple[pair_kernels.Kept | None, float]:
    """Draws `[P, batch, K]` of elements to keep, and what to multiply them by; None and 1 when nothing is dropped."""
    batch, K = len(V.where.index), V.table.shape[-1]
    if not dropout.drops:
        return None, 1.0
    return lambda P: dropout.kept(P, batch, K, device=V.table.device), dropout.scale


def pool_pairs(V: Tensor | Embeddings, dropout: Dropout, T: Tensor | None = None) -> Tensor:
    """Σ_{i<j} T_ij (V_i ⊙ V_j) x_i x_j, with dropout on the products; T `[batch, P]`, None for ones → `[batch, K]`."""
    if isinstance(V, Embeddings):
        return pair_kernels.pooled_products(V, columns(V), T, *dropout_of(V, dropout))
    products = dropout.of_pairs(pair_products(V))
    return products.sum(1) if T is None else torch.einsum("bp,bpk->bk", T, products)


def pooled_sum(V: Tensor | Embeddings, dropout: Dropout) -> Tensor:
    """Σ_k of Σ_{i<j} (V_i ⊙ V_j) x_i x_j, with dropout on the pooled vector: → `[batch]`."""
    if isinstance(V, Embeddings) and not dropout.drops:  # each pair's part is a number
        return pair_kernels.pair_dots(V, columns(V)).sum(-1)
    return dropout(pool_pairs(V, Dropout(0.0))).sum(-1)


def attentional_pooling(
    attention: PairAttention | None, V: Tensor | Embeddings, p: Tensor, dropout: Dropout, batch_norm: nn.Module
) -> Tensor:
    """pᵀ Σ_{i<j} T_ij (V_i ⊙ V_j) x_i x_j (Xiao et al. 2017, eq. 6), dropout on the products, batch norm on the pooled
    vector; T_ij = 1 without attention. Shape: p `[K]` → `[batch]`."""
    if isinstance(batch_norm, nn.Identity):  # Σ T_ij pᵀ (…), so that each pair's part is a number
        num_pairs = math.comb(V.shape[1] if isinstance(V, Tensor) else V.where.index.shape[1], 2)
        M = p.expand(num_pairs, -1)
        if attention is None:
            return pair_effects(V, M, dropout).sum(-1)
        T, effect = attend(attention, V, M, dropout)
        return (T * effect).sum(-1)
    T = attention and attention(V if isinstance(V, Embeddings) else pair_products(V))
    return batch_norm(pool_pairs(V, dropout, T)) @ p


class FieldAspect(nn.Module):
    """The field aspect F_{f_i, f_j} = Dᵀ (U_{f_i} ⊙ U_{f_j}) (IFM, eq. 6), U and D drawn from N(0, 1).

    Raises ValueError for a size that is not positive. Shape: → `[P, K]`.
    """

    def __init__(self, num_fields: int, embed_dim: int, field_embed_dim: int) -> None:
        super().__init__()
        positive(field_embed_dim=field_embed_dim)
        self.U = nn.Parameter(torch.randn(num_fields, field_embed_dim))
        self.D = nn.Parameter(torch.randn(field_embed_dim, embed_dim))
        self.num_fields = num_fields

    def forward(self) -> Tensor:
        i, j = field_pairs(self.num_fields)
        return (self.U[i] * self.U[j]) @ self.D


class Linear(nn.Linear):
    """torch's, which kernels compute in half the time."""

    kernels = False

    def forward(self, input: Tensor) -> Tensor:
        return kernels.linear(input, self.weight, self.bias) if self.kernels else super().forward(input)


class ConcatenatedLinear(nn.Linear):
    """A linear layer on the concatenation of a row's embeddings: W [V_1 x_1 … V_n x_n] + b.

    Shape: `[batch, n, K]` → `[batch, units]`.
    """

    def forward(self, V: Tensor | Embeddings) -> Tensor:  # type: ignore[override]
        if isinstance(V, Embeddings):
            return kernels.concatenated_linear(V, self.weight, self.bias)
        return super().forward(V.flatten(1))


def mlp(
    input_dim: int,
    hidden_dims: Sequence[int],
    dropout: float = 0.0,
    batch_norm: bool = False,
    linear: type[nn.Linear] = Linear,
) -> nn.Sequential:
    """Hidden layers, each linear, batch norm (if asked for), ReLU and dropout; then a linear unit.

    `linear` is the class of the first layer. Weights as torch draws them. Raises ValueError for a size that is not
    positive. Shape: `[…, input_dim]` → `[…, 1]`.
    """
    layers: list[nn.Module] = []
    for hidden_dim in hidden_dims:
        positive(hidden_dims=hidden_dim)
        layers += [linear(input_dim, hidden_dim)]
        layers += [nn.BatchNorm1d(hidden_dim)] if batch_norm else []
        layers += [nn.ReLU()] + ([Dropout(dropout)] if dropout else [])
        input_dim, linear = hidden_dim, Linear
    return nn.Sequential(*layers, linear(input_dim, 1))
