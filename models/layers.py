"""The parts that the models share. Shapes: batch rows, n fields, m features, P = n(n−1)/2 pairs, K = embed_dim."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Placement = Literal["logits", "hidden"]


def positive(**sizes: float) -> None:
    """Raises ValueError that names the first argument that is not above zero."""
    for name, size in sizes.items():
        if not size > 0:
            raise ValueError(f"{name} must be positive, got {size}")


class LinearTerms(nn.Module):
    """w_0 + Σ_i w_i x_i, the first-order part of Rendle 2010 (eq. 1). Starts at zero.

    Shape: x `[batch, n]` of global feature ids, values `[batch, n]` or None (all ones) → `[batch]`.
    """

    def __init__(self, field_dims: Sequence[int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(sum(field_dims)))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, values: Tensor | None = None) -> Tensor:
        weight = nn.functional.embedding(x, self.weight[:, None]).squeeze(-1)  # weight[x], but with an ordered gradient
        return self.bias + (weight if values is None else weight * values).sum(-1)


class FeatureEmbedding(nn.Module):
    """V_i x_i: one K-vector a feature, drawn from N(0, 0.01²).

    Shape: x `[batch, n]` of global feature ids, values `[batch, n]` or None (all ones) → `[batch, n, K]`.
    """

    def __init__(self, field_dims: Sequence[int], embed_dim: int) -> None:
        super().__init__()
        positive(embed_dim=embed_dim)
        self.weight = nn.Parameter(torch.randn(sum(field_dims), embed_dim) * 0.01)

    def forward(self, x: Tensor, values: Tensor | None = None) -> Tensor:
        embedding = nn.functional.embedding(x, self.weight)
        return embedding if values is None else embedding * values[..., None]


class FieldAwareEmbedding(nn.Module):
    """V_{i,f} x_i: n K-vectors a feature, one for each field f it meets (Juan et al. 2016), drawn from N(0, 0.01²).

    Gives for each pair of fields the two vectors that meet, V_{i,f_j} x_i and V_{j,f_i} x_j. Shape: x `[batch, n]` of
    global feature ids, values `[batch, n]` or None (all ones) → two of `[batch, P, K]`.
    """

    def __init__(self, field_dims: Sequence[int], embed_dim: int) -> None:
        super().__init__()
        positive(embed_dim=embed_dim)
        self.num_fields, self.embed_dim = len(field_dims), embed_dim
        self.vectors = nn.Parameter(torch.randn(sum(field_dims), self.num_fields * embed_dim) * 0.01)

    def forward(self, x: Tensor, values: Tensor | None = None) -> tuple[Tensor, Tensor]:
        embedding = nn.functional.embedding(x, self.vectors)
        embedding = embedding if values is None else embedding * values[..., None]
        embedding = embedding.unflatten(-1, (self.num_fields, self.embed_dim))  # [batch, n, n, K]
        i, j = field_pairs(self.num_fields)
        return embedding[:, i, j], embedding[:, j, i]


def field_pairs(num_fields: int) -> Tensor:
    """The P pairs i < j of fields, `[2, P]`, in the order (0, 1), (0, 2), …, (n−2, n−1)."""
    return torch.triu_indices(num_fields, num_fields, offset=1)


def pair_products(embedding: Tensor) -> Tensor:
    """The pair-wise interaction layer, {(V_i ⊙ V_j) x_i x_j} (IFM, eq. 8).

    Shape: `[batch, n, K]` → `[batch, P, K]`, pairs as in `field_pairs`.
    """
    n = embedding.shape[1]
    return torch.cat([embedding[:, i : i + 1] * embedding[:, i + 1 :] for i in range(n - 1)], dim=1)


def bi_interaction(embedding: Tensor) -> Tensor:
    """Σ_{i<j} V_i x_i ⊙ V_j x_j = ½ [(Σ_i V_i x_i)² − Σ_i (V_i x_i)²] (He & Chua 2017, eq. 4).

    Shape: `[batch, n, K]` → `[batch, K]`.
    """
    return 0.5 * (embedding.sum(1).square() - embedding.square().sum(1))


class Dropout(nn.Module):
    """Each element is zero with probability p, else divided by 1 − p, while training (Srivastava et al. 2014).

    One random byte an element decides, which takes a sixth of the time of torch's own: p is rounded to a multiple of
    1/256. Raises ValueError for a p outside of [0, 1]. Shape: any, unchanged.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"dropout must be between 0 and 1, got {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        num_dropped = round(self.p * 256)  # of the 256 values of a byte
        if not self.training or num_dropped == 0:
            return x
        if num_dropped == 256:
            return x * 0
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= num_dropped
        return x * kept.to(x.dtype).mul_(256 / (256 - num_dropped))


class PairAttention(nn.Module):
    """The feature aspect T_ij = softmax_ij(hᵀ Relu(W (V_i ⊙ V_j) x_i x_j + b) / τ) (IFM, eq. 5).

    `temperature_placement` "hidden" is the variant of the code released with the paper, which divides W (V_i ⊙ V_j) by
    τ and leaves the logits as they are. W and b start at N(0, 2/(K + K_a)), h at N(0, 1). Raises ValueError for a size
    or τ that is not positive. Shape: pair products `[batch, P, K]` → `[batch, P]`, each row sums to 1.
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

    def forward(self, products: Tensor) -> Tensor:
        hidden = torch.relu(products @ self.W / self.divide_hidden + self.b)
        return torch.softmax(hidden @ self.h / self.divide_logits, dim=-1)


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


def mlp(input_dim: int, hidden_dims: Sequence[int], dropout: float = 0.0, batch_norm: bool = False) -> nn.Sequential:
    """Hidden layers, each linear, batch norm (if asked for), ReLU and dropout; then a linear unit.

    Weights as torch draws them. Raises ValueError for a size that is not positive. Shape: `[…, input_dim]` → `[…, 1]`.
    """
    layers: list[nn.Module] = []
    for hidden_dim in hidden_dims:
        positive(hidden_dims=hidden_dim)
        layers += [nn.Linear(input_dim, hidden_dim)]
        layers += [nn.BatchNorm1d(hidden_dim)] if batch_norm else []
        layers += [nn.ReLU()] + ([Dropout(dropout)] if dropout else [])
        input_dim = hidden_dim
    return nn.Sequential(*layers, nn.Linear(input_dim, 1))
