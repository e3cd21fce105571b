"""Define EDCN, crosses and deep layers that share information (Chen et al., DLP-KDD 2021)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.embeddings import FeatureEmbedding, written_out
from models.layers.networks import hidden_layers
from models.registry import register_model


@register_model
class EnhancedDeepAndCross(nn.Module):
    """Join a cross and a deep layer after each step, and gate both anew.

    With s_0 = [V_1 x_1 … V_n x_n], step l parts s_l into x_l = g_l ⊙ s_l and h_l = g'_l ⊙ s_l (regulation), where the
    gate of field i is softmax_i(γ_l / τ), the same for the K numbers of its embedding. Then come the cross x'_l = x_0
    (x_lᵀ w_l) + b_l + x_l, the deep layer h'_l = relu(W_l h_l + b'_l), and the bridge s_{l+1} = x'_l ⊙ h'_l. ŷ = wᵀ
    [x'_L, h'_L, s_{L+1}] + b after the last step L. Sources: Chen et al. 2021, bridge module and regulation module;
    FuxiCTR's `model_zoo/EDCN`, with the sizes that BARS (Zhu et al. 2022) found for Frappe; DeepCTR's EDCN.
    `batch_norm` is on x_l and h_l, as in FuxiCTR. Embeddings start at N(0, 0.01²), γ at one, b_l at zero, all other
    weights at torch's initial values.

    NOTE: of the paper's four bridges this is the Hadamard product, its best. FuxiCTR leaves out + x_l of the cross.
    """

    family = "crosses"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 10,
        num_cross_layers: int = 3,
        temperature: float = 5.0,
        mlp_dropout: float = 0.3,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        positive(num_cross_layers=num_cross_layers, temperature=temperature)
        L, n, d = num_cross_layers, len(field_dims), len(field_dims) * embed_dim
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.gamma = nn.Parameter(torch.ones(L, 2, n))  # of the cross and of the deep layer
        self.temperature, self.embed_dim = temperature, embed_dim
        norm = nn.BatchNorm1d if batch_norm else nn.Identity
        self.norm_x, self.norm_h = (nn.ModuleList(norm(d) for _ in range(L)) for _ in range(2))
        self.w_cross = nn.ModuleList(nn.Linear(d, 1, bias=False) for _ in range(L))
        self.b = nn.Parameter(torch.zeros(L, d))
        self.deep = nn.ModuleList(hidden_layers(d, [d], mlp_dropout) for _ in range(L))
        self.w = nn.Linear(3 * d, 1)

    def forward(self, batch: Batch) -> Tensor:
        s = written_out(self.embedding(batch)).flatten(1)  # [batch, d]
        x_0 = x = h = s
        layers = zip(self.norm_x, self.norm_h, self.w_cross, self.b, self.deep, strict=True)
        for step, (norm_x, norm_h, w_l, b_l, deep) in enumerate(layers):
            gates = torch.softmax(self.gamma[step] / self.temperature, dim=-1).repeat_interleave(self.embed_dim, 1)
            x, h = norm_x(gates[0] * s), norm_h(gates[1] * s)
            x_0 = x if step == 0 else x_0
            x, h = x_0 * w_l(x) + b_l + x, deep(h)
            s = x * h
        return self.w(torch.cat([x, h, s], dim=1)).squeeze(-1)
