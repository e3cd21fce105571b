"""Define EulerNet, interactions whose orders are learnt in the complex plane (Tian et al., SIGIR 2023)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.embeddings import FeatureEmbedding, written_out
from models.layers.networks import Dropout, Linear
from models.registry import register_model


@register_model
class EulerNet(nn.Module):
    """Multiply powers of complex features, layer after layer, beside linear layers.

    Field j starts as the complex vector r_j + i p_j = μ_j exp(i V_j x_j), r_j = μ_j cos(V_j x_j), p_j = μ_j sin(V_j
    x_j). A neuron has an explicit part, the product of powers Π_j (r_j + i p_j)^{α_j}: with the inputs' moduli λ_j and
    phases θ_j, its modulus is l = exp(Σ_j α_j ln λ_j + b) and its phase ψ = Σ_j α_j θ_j + δ. Its implicit part is
    linear in all inputs: r ← LN_r(l cos ψ + relu(W [r_1 …] + c)), p ← LN_p(l sin ψ + relu(W [p_1 …] + c)). After the
    last layer, ŷ = (wᵀ r + b) + (wᵀ p + b). Sources: Tian et al. 2023, EulerNet: Adaptive Feature Interaction
    Learning via Euler's Formula for CTR Prediction; the authors' repository EulerNet, and their code in FuxiCTR's
    `model_zoo/EulerNet`, with the sizes of its log for Frappe. `hidden_dims` are the neurons of each layer,
    `explicit_dropout` is the dropout rate of ln λ and θ, `implicit_dropout` that of r and p before W. V starts at
    N(0, 0.01²), μ at one, b and δ at N(0, 0.01²), W and w by Xavier, c at torch's initial values. α starts at the
    identity in a layer with as many neurons as inputs, and otherwise near one random input for each neuron.

    NOTE: the authors' setting for Frappe also has an L2 weight of 10⁻⁵ on the layers; here they have none.
    """

    family = "crosses"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 10,
        hidden_dims: Sequence[int] = (52,),
        explicit_dropout: float = 0.0,
        implicit_dropout: float = 0.0,
        layer_norm: bool = True,
    ) -> None:
        super().__init__()
        positive(len_hidden_dims=len(hidden_dims))
        if layer_norm and embed_dim == 1:
            raise ValueError("layer_norm needs embed_dim above 1, got 1")
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.mu = nn.Parameter(torch.ones(len(field_dims), 1))
        sizes = zip((len(field_dims), *hidden_dims[:-1]), hidden_dims, strict=True)
        dropout = (explicit_dropout, implicit_dropout)
        self.layers = nn.ModuleList(EulerInteraction(*size, embed_dim, *dropout, layer_norm) for size in sizes)
        self.w = nn.Linear(hidden_dims[-1] * embed_dim, 1)
        nn.init.xavier_normal_(self.w.weight)

    def forward(self, batch: Batch) -> Tensor:
        V = written_out(self.embedding(batch))  # [batch, n, K]
        r, p = self.mu * V.cos(), self.mu * V.sin()
        for layer in self.layers:
            r, p = layer(r, p)
        return (self.w(r.flatten(1)) + self.w(p.flatten(1))).squeeze(-1)


class EulerInteraction(nn.Module):
    """Compute a layer of neurons. Shape: r and p `[batch, inputs, K]` → `[batch, neurons, K]` each."""

    def __init__(
        self,
        inputs: int,
        neurons: int,
        embed_dim: int,
        explicit_dropout: float,
        implicit_dropout: float,
        layer_norm: bool,
    ) -> None:
        super().__init__()
        positive(hidden_dims=neurons)
        sharp = torch.softmax(torch.randn(inputs, neurons) / 0.01, dim=0)
        self.alpha = nn.Parameter(torch.eye(inputs) if inputs == neurons else sharp)
        self.b, self.delta = (nn.Parameter(torch.randn(neurons, embed_dim) * 0.01) for _ in range(2))
        self.W = Linear(inputs * embed_dim, neurons * embed_dim)
        nn.init.xavier_uniform_(self.W.weight)
        self.explicit_dropout, self.implicit_dropout = Dropout(explicit_dropout), Dropout(implicit_dropout)
        self.norm_r, self.norm_p = (nn.LayerNorm(embed_dim) if layer_norm else nn.Identity() for _ in range(2))

    def forward(self, r: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        log_modulus = self.explicit_dropout((r.square() + p.square() + 1e-8).log() / 2)  # ln λ
        phase = self.explicit_dropout(torch.atan2(p, r))  # θ
        modulus, phase = (self.alpha.T @ log_modulus + self.b).exp(), self.alpha.T @ phase + self.delta  # l and ψ
        return (
            self.norm_r(modulus * phase.cos() + self.implicit(r)),
            self.norm_p(modulus * phase.sin() + self.implicit(p)),
        )

    def implicit(self, x: Tensor) -> Tensor:
        return torch.relu(self.W(self.implicit_dropout(x).flatten(1))).unflatten(1, self.b.shape)
