"""Define ARM-Net, which chooses the fields of interactions by row (Cai et al., SIGMOD 2021)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.embeddings import FeatureEmbedding, written_out
from models.layers.networks import ConcatenatedLinear, mlp
from models.registry import register_model

NEWTON_STEPS = 12  # until the threshold of entmax is exact


@register_model
class AdaptiveRelationModelingNetwork(nn.Module):
    """Multiply powers of exponentials, which attention sets, and feed the products to an MLP.

    Exponential neuron o of head k is y_ko = exp(Σ_i w_koi V_i x_i) with w_koi = v_koi z_koi, z_ko = α-entmax_i(q_koᵀ
    W_kᵀ V_i x_i / √K). ŷ = MLP([BN(y_11) … BN(y_HO)]). α-entmax gives zero to the fields that do not matter: α 1 is
    softmax, α 2 is sparsemax. With `ensemble` (ARM-Net+), ŷ = w_1 y_ARM + w_2 y_DNN + b with an MLP on a second table.
    Sources: Cai et al. 2021, section 3; the authors' repository ARM-Net, with the sizes of its `run.sh` for Frappe.
    Embeddings start at N(0, 0.01²), W, q and v at Xavier's uniform with gain 1.414 and w_1 = w_2 = 0.5 as in that
    code, all other weights at torch's initial values.

    NOTE: the authors' code limits values x_i to [0.001, 1]. A batch norm over a neuron normalises all its K numbers
    alike, and `batch_norm` is that of the MLPs.
    """

    family = "attention"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 10,
        num_heads: int = 8,
        num_neurons: int = 32,
        alpha: float = 2.0,
        hidden_dims: Sequence[int] = (256, 256),
        ensemble: bool = False,
        hidden_dims_2: Sequence[int] = (256, 256),
        mlp_dropout: float = 0.0,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        positive(num_heads=num_heads, num_neurons=num_neurons)
        if alpha != 1 and not 1.5 <= alpha <= 2:
            raise ValueError(f"alpha must be 1, or between 1.5 and 2, got {alpha}")
        n, K, self.alpha = len(field_dims), embed_dim, alpha
        self.embedding = nn.ModuleList(FeatureEmbedding(field_dims, K) for _ in range(2 if ensemble else 1))
        shapes = {"W": (num_heads, K, K), "q": (num_heads, num_neurons, K), "v": (num_heads, num_neurons, n)}
        self.W, self.q, self.v = (
            nn.Parameter(nn.init.xavier_uniform_(torch.empty(shape), gain=1.414)) for shape in shapes.values()
        )
        self.norm_neurons = nn.BatchNorm1d(num_heads * num_neurons)
        self.mlp = mlp(num_heads * num_neurons * K, hidden_dims, mlp_dropout, batch_norm)
        self.dnn = mlp(n * K, hidden_dims_2, mlp_dropout, batch_norm, ConcatenatedLinear) if ensemble else None
        self.w_ensemble = nn.Linear(2, 1) if ensemble else None
        if self.w_ensemble is not None:
            nn.init.constant_(self.w_ensemble.weight, 0.5)
            nn.init.zeros_(self.w_ensemble.bias)

    def forward(self, batch: Batch) -> Tensor:
        V = written_out(self.embedding[0](batch))  # [batch, n, K]
        queries = (self.q @ self.W.mT).flatten(0, 1)  # [heads · neurons, K]
        z = entmax(queries @ V.mT * V.shape[-1] ** -0.5, self.alpha)  # [batch, heads · neurons, n]
        neurons = self.norm_neurons((self.v.flatten(0, 1) * z @ V).exp())  # [batch, heads · neurons, K]
        y = self.mlp(neurons.flatten(1))
        if self.dnn is not None and self.w_ensemble is not None:
            y = self.w_ensemble(torch.cat([y, self.dnn(self.embedding[1](batch))], dim=1))
        return y.squeeze(-1)


def entmax(x: Tensor, alpha: float) -> Tensor:
    """Compute α-entmax over the last dimension (Peters, Niculae and Martins 2019).

    It is max(0, (α − 1) x − τ)^(1 / (α − 1)) with the τ whose sum is 1. Newton's steps find τ from below, as the sum
    falls with τ and is convex. The last step is part of the gradient, and makes it exact.
    """
    if alpha == 1:
        return torch.softmax(x, dim=-1)
    scaled, power = (alpha - 1) * x, 1 / (alpha - 1)
    tau = scaled.detach().amax(-1, keepdim=True) - 1
    for _ in range(NEWTON_STEPS):
        tau = newton_step(scaled.detach(), tau, power)
    return (scaled - newton_step(scaled, tau, power)).relu().pow(power)


def newton_step(x: Tensor, tau: Tensor, power: float) -> Tensor:
    """Move τ towards the value with Σ max(0, x − τ)^power = 1."""
    above = (x - tau).relu()
    slope = power * torch.where(above > 0, above.detach().pow(power - 1), 0.0).sum(-1, keepdim=True)
    return tau + (above.pow(power).sum(-1, keepdim=True) - 1) / slope
