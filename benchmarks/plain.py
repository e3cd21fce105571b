"""Define the models in plain PyTorch, as one would write them from their papers' equations.

They show what factorbench gains over such code. Shapes: batch rows, n fields, P = n(n−1)/2 pairs, K = embed_dim. All
map global feature ids `[batch, n]` to `[batch]`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Linear(nn.Module):
    """Compute w_0 + Σ_i w_i."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.weight = nn.Embedding(num_features, 1)
        self.bias = nn.Parameter(torch.zeros(()))
        nn.init.zeros_(self.weight.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.bias + self.weight(x).sum((1, 2))


def embedding_table(num_features: int, dim: int) -> nn.Embedding:
    """Create a table of vectors drawn from N(0, 0.01²)."""
    table = nn.Embedding(num_features, dim)
    nn.init.normal_(table.weight, std=0.01)
    return table


def bi_interaction(V: Tensor) -> Tensor:
    """Compute Σ_{i<j} V_i ⊙ V_j = ½ [(Σ_i V_i)² − Σ_i V_i²]. Shape: `[batch, n, K]` → `[batch, K]`."""
    return 0.5 * (V.sum(1) ** 2 - (V**2).sum(1))


def mlp(input_dim: int, hidden_dims: Sequence[int], batch_norm: bool = False) -> nn.Sequential:
    """Stack linear layers with ReLU and a linear last unit."""
    layers: list[nn.Module] = []
    for hidden_dim in hidden_dims:
        layers += [nn.Linear(input_dim, hidden_dim), *([nn.BatchNorm1d(hidden_dim)] if batch_norm else []), nn.ReLU()]
        input_dim = hidden_dim
    return nn.Sequential(*layers, nn.Linear(input_dim, 1))


class FM(nn.Module):
    """Compute ŷ = w_0 + Σ_i w_i + Σ_{i<j} ⟨V_i, V_j⟩ (Rendle 2010)."""

    def __init__(self, field_dims: Sequence[int], embed_dim: int) -> None:
        super().__init__()
        self.linear = Linear(sum(field_dims))
        self.embedding = embedding_table(sum(field_dims), embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + bi_interaction(self.embedding(x)).sum(1)


class DeepFM(nn.Module):
    """Compute ŷ = FM + MLP(V_1 … V_n) (Guo et al. 2017)."""

    def __init__(self, field_dims: Sequence[int], embed_dim: int, hidden_dims: Sequence[int]) -> None:
        super().__init__()
        self.linear = Linear(sum(field_dims))
        self.embedding = embedding_table(sum(field_dims), embed_dim)
        self.mlp = mlp(len(field_dims) * embed_dim, hidden_dims)

    def forward(self, x: Tensor) -> Tensor:
        V = self.embedding(x)
        return self.linear(x) + bi_interaction(V).sum(1) + self.mlp(V.flatten(1)).squeeze(1)


class NFM(nn.Module):
    """Feed the sum of all interactions to an MLP (He & Chua 2017).

    ŷ = w_0 + Σ_i w_i + MLP(Σ_{i<j} V_i ⊙ V_j), with batch norm on the sum and the hidden layers.
    """

    def __init__(self, field_dims: Sequence[int], embed_dim: int, hidden_dims: Sequence[int]) -> None:
        super().__init__()
        self.linear = Linear(sum(field_dims))
        self.embedding = embedding_table(sum(field_dims), embed_dim)
        self.batch_norm = nn.BatchNorm1d(embed_dim)
        self.mlp = mlp(embed_dim, hidden_dims, batch_norm=True)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.batch_norm(bi_interaction(self.embedding(x)))
        return self.linear(x) + self.mlp(pooled).squeeze(1)


class Pairs(nn.Module):
    """Multiply V_i ⊙ V_j for all i < j. Shape: `[batch, n, K]` → `[batch, P, K]`."""

    def __init__(self, num_fields: int) -> None:
        super().__init__()
        self.i, self.j = torch.triu_indices(num_fields, num_fields, offset=1)

    def forward(self, V: Tensor) -> Tensor:
        return V[:, self.i] * V[:, self.j]


class Attention(nn.Module):
    """Compute T_ij = softmax_ij(hᵀ relu(W (V_i ⊙ V_j) + b) / τ). Shape: `[batch, P, K]` → `[batch, P, 1]`."""

    def __init__(self, embed_dim: int, attention_dim: int, temperature: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(embed_dim, attention_dim)
        self.h = nn.Linear(attention_dim, 1, bias=False)
        self.temperature = temperature

    def forward(self, products: Tensor) -> Tensor:
        return torch.softmax(self.h(torch.relu(self.hidden(products))) / self.temperature, dim=1)


class AFM(nn.Module):
    """Weigh interactions by attention (Xiao et al. 2017). ŷ = w_0 + Σ_i w_i + pᵀ Σ_{i<j} T_ij V_i ⊙ V_j."""

    def __init__(self, field_dims: Sequence[int], embed_dim: int, attention_dim: int) -> None:
        super().__init__()
        self.linear = Linear(sum(field_dims))
        self.embedding = embedding_table(sum(field_dims), embed_dim)
        self.pairs = Pairs(len(field_dims))
        self.attention = Attention(embed_dim, attention_dim, temperature=1.0)
        self.p = nn.Linear(embed_dim, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        products = self.pairs(self.embedding(x))
        pooled = (self.attention(products) * products).sum(1)
        return self.linear(x) + self.p(pooled).squeeze(1)


class FFM(nn.Module):
    """Compute ŷ = w_0 + Σ_i w_i + Σ_{i<j} ⟨V_{i,f_j}, V_{j,f_i}⟩ (Juan et al. 2016)."""

    def __init__(self, field_dims: Sequence[int], embed_dim: int) -> None:
        super().__init__()
        n = len(field_dims)
        self.linear = Linear(sum(field_dims))
        self.embedding = embedding_table(sum(field_dims), n * embed_dim)
        self.shape = (n, n, embed_dim)
        self.i, self.j = torch.triu_indices(n, n, offset=1)

    def forward(self, x: Tensor) -> Tensor:
        V = self.embedding(x).view(-1, *self.shape)
        return self.linear(x) + (V[:, self.i, self.j] * V[:, self.j, self.i]).sum((1, 2))


class Interactions(nn.Module):
    """Multiply the two aspects of IFM (Hong, Huang and Chen 2019, eq. 11).

    F_ij = T_ij V_i ⊙ V_j, with dropout of the products, and I_ij = Dᵀ (U_{f_i} ⊙ U_{f_j}).
    Shape: `[batch, n, K]` → I ⊙ F `[batch, P, K]`.
    """

    def __init__(self, num_fields: int, embed_dim: int, attention_dim: int, dropout: float) -> None:
        super().__init__()
        field_embed_dim, temperature = 26, 10.0
        self.pairs = Pairs(num_fields)
        self.attention = Attention(embed_dim, attention_dim, temperature)
        self.dropout = nn.Dropout(dropout)
        self.U = nn.Parameter(torch.randn(num_fields, field_embed_dim))
        self.D = nn.Linear(field_embed_dim, embed_dim, bias=False)

    def forward(self, V: Tensor) -> Tensor:
        products = self.pairs(V)
        F = self.attention(products) * self.dropout(products)
        return self.D(self.pairs(self.U[None])) * F


class IFM(nn.Module):
    """Compute ŷ = w_0 + Σ_i w_i + Σ_{i<j} ⟨I_ij, F_ij⟩ (eq. 9)."""

    def __init__(self, field_dims: Sequence[int], embed_dim: int, attention_dim: int, dropout: float) -> None:
        super().__init__()
        self.linear = Linear(sum(field_dims))
        self.embedding = embedding_table(sum(field_dims), embed_dim)
        self.interactions = Interactions(len(field_dims), embed_dim, attention_dim, dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.interactions(self.embedding(x)).sum((1, 2))


class INN(nn.Module):
    """Compute ŷ = w_0 + Σ_i w_i + MLP(I_12 ⊙ F_12, …) (eq. 14–15)."""

    def __init__(
        self,
        field_dims: Sequence[int],
        embed_dim: int,
        attention_dim: int,
        dropout: float,
        hidden_dims: Sequence[int],
    ) -> None:
        super().__init__()
        n = len(field_dims)
        self.linear = Linear(sum(field_dims))
        self.embedding = embedding_table(sum(field_dims), embed_dim)
        self.interactions = Interactions(n, embed_dim, attention_dim, dropout)
        self.mlp = mlp(n * (n - 1) // 2 * embed_dim, hidden_dims)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.mlp(self.interactions(self.embedding(x)).flatten(1)).squeeze(1)


class DeepIFM(nn.Module):
    """Compute ŷ = IFM + MLP(V_1 … V_n)."""

    def __init__(
        self,
        field_dims: Sequence[int],
        embed_dim: int,
        attention_dim: int,
        dropout: float,
        hidden_dims: Sequence[int],
    ) -> None:
        super().__init__()
        self.linear = Linear(sum(field_dims))
        self.embedding = embedding_table(sum(field_dims), embed_dim)
        self.interactions = Interactions(len(field_dims), embed_dim, attention_dim, dropout)
        self.mlp = mlp(len(field_dims) * embed_dim, hidden_dims)

    def forward(self, x: Tensor) -> Tensor:
        V = self.embedding(x)
        return self.linear(x) + self.interactions(V).sum((1, 2)) + self.mlp(V.flatten(1)).squeeze(1)
