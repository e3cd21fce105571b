"""Define the product layers of ipnn, opnn and pnn (Qu et al. 2016). l_p^n = W_p^n ⊙ p, n = 1 … D_1."""

import torch
from torch import Tensor, nn

from models.layers.checks import positive


class InnerProducts(nn.Module):
    """Weigh the inner products of the embeddings.

    l_p^n = Σ_i Σ_j θ_i^n θ_j^n ⟨f_i, f_j⟩, so that W_p^n = θ^n θ^nᵀ and l_p^n = ‖Σ_i θ_i^n f_i‖².
    θ is drawn from N(0, 2/(n + D_1)). NOTE: the paper's list of all l_p leaves out the square of the norm; its
    derivation has it. Shape: embeddings `[batch, n, K]` → `[batch, D_1]`.
    """

    def __init__(self, num_fields: int, hidden_dim: int) -> None:
        super().__init__()
        positive(hidden_dims=hidden_dim)
        self.theta = nn.Parameter(torch.randn(num_fields, hidden_dim) * (2 / (num_fields + hidden_dim)) ** 0.5)

    def forward(self, f: Tensor) -> Tensor:
        p = f @ f.mT  # [batch, n, n], smaller than the Σ_i θ_i^n f_i, [batch, D_1, K]
        W_p = self.theta[:, None] * self.theta  # [n, n, D_1]
        return p.flatten(1) @ W_p.flatten(0, 1)


class OuterProducts(nn.Module):
    """Weigh the sum of the embeddings' outer products.

    l_p^n = W_p^n ⊙ f_Σ f_Σᵀ = f_Σᵀ W_p^n f_Σ with the sum pooling f_Σ = Σ_i f_i, so that p = Σ_i Σ_j f_i f_jᵀ.
    W_p is drawn from N(0, 2/(K² + D_1)). Shape: embeddings `[batch, n, K]` → `[batch, D_1]`.
    """

    def __init__(self, embed_dim: int, hidden_dim: int) -> None:
        super().__init__()
        positive(embed_dim=embed_dim, hidden_dims=hidden_dim)
        scale = (2 / (embed_dim**2 + hidden_dim)) ** 0.5
        self.W_p = nn.Parameter(torch.randn(hidden_dim, embed_dim, embed_dim) * scale)

    def forward(self, f: Tensor) -> Tensor:
        f_sum = f.sum(1)
        return torch.einsum("bk,dkl,bl->bd", f_sum, self.W_p, f_sum)
