"""Define the field-weighted factorization machine (Pan et al., WWW 2018)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.embeddings import FeatureEmbedding, LinearTerms, written_out
from models.layers.fields import why_no_pairs
from models.layers.networks import ConcatenatedLinear, Dropout
from models.layers.pairs import pair_effects
from models.registry import register_model


@register_model
class FieldWeightedFM(nn.Module):
    """Weigh each interaction by one number for its two fields.

    ŷ = linear part + Σ_{i<j} r_{f_i f_j} ⟨V_i, V_j⟩ x_i x_j (Pan et al. 2018). The linear part has three forms, as in
    the paper: LW is w_0 + Σ_i w_i x_i; FeLV w_0 + Σ_i ⟨V_i, w_i⟩ x_i with a vector for each feature; FiLV w_0 + Σ_i
    ⟨V_i, w_{f_i}⟩ x_i with a vector for each field, the paper's choice. Code read: FwFM in the repository of FmFM, by
    the same authors, and FuxiCTR's `model_zoo/FwFM`. As in the former, V starts at N(0, 0.01²), r and w_f at N(0, 1);
    w_i starts at zero in LW and as V in FeLV, w_0 at zero.

    NOTE: `dropout` is the dropout rate of the products V_i ⊙ V_j, as in `ifm`; Pan et al. have none.
    """

    family = "factorization machine"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 10,
        linear_part: Literal["LW", "FeLV", "FiLV"] = "FiLV",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        n = len(field_dims)
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        if linear_part == "LW":
            self.linear = LinearTerms(field_dims)
        elif linear_part == "FeLV":
            self.w_0, self.w_i = nn.Parameter(torch.zeros(())), FeatureEmbedding(field_dims, embed_dim)
        else:
            self.w_f = ConcatenatedLinear(n * embed_dim, 1)  # with w_0
            nn.init.normal_(self.w_f.weight)
            nn.init.zeros_(self.w_f.bias)
        self.r = nn.Parameter(torch.randn(n * (n - 1) // 2))
        self.dropout = Dropout(dropout)
        self.linear_part, self.embed_dim = linear_part, embed_dim

    decline = staticmethod(why_no_pairs)

    def forward(self, batch: Batch) -> Tensor:
        V = self.embedding(batch)
        if self.linear_part == "LW":
            linear = self.linear(batch)
        elif self.linear_part == "FeLV":
            linear = self.w_0 + (written_out(V) * self.w_i.rows(batch)).sum((1, 2))
        else:
            linear = self.w_f(V).squeeze(-1)
        M = self.r[:, None].expand(-1, self.embed_dim)  # r ⟨V_i, V_j⟩ = Σ_k r V_ik V_jk
        return linear + pair_effects(V, M, self.dropout).sum(-1)
