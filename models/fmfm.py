"""Define the field-matrixed factorization machine (Sun et al., WWW 2021)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.embeddings import FeatureEmbedding, LinearTerms, written_out
from models.layers.fields import why_no_pairs
from models.layers.networks import Dropout
from models.registry import register_model


@register_model
class FieldMatrixedFM(nn.Module):
    """Map one embedding of each pair by a matrix for its two fields.

    ŷ = w_0 + Σ_i w_i x_i + Σ_{i<j} ⟨V_i M_{f_i f_j}, V_j⟩ x_i x_j (Sun et al. 2021). With the identity for all M it is
    an FM, with scaled identities `fwfm`, with diagonal matrices `fvfm`. Code read: FmFM in the authors' repository of
    that name, and FuxiCTR's `model_zoo/FmFM`. V starts at N(0, 0.01²), w at zero, M as Xavier's normal, which FuxiCTR
    uses.

    NOTE: in the authors' code the linear part is FiLV of `fwfm`, M starts at N(0, 0.01²), and the embeddings of a field
    may have a size of their own. `dropout` is the dropout rate of the terms of ⟨V_i M, V_j⟩; Sun et al. have none.
    """

    family = "factorization machine"

    def __init__(self, field_dims: Sequence[int], *, embed_dim: int = 10, dropout: float = 0.0) -> None:
        super().__init__()
        n, K = len(field_dims), embed_dim
        self.linear = LinearTerms(field_dims)
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.M = nn.Parameter(torch.randn(n * (n - 1) // 2, K, K) * K**-0.5)
        self.dropout = Dropout(dropout)

    decline = staticmethod(why_no_pairs)

    def forward(self, batch: Batch) -> Tensor:
        V = written_out(self.embedding(batch)).transpose(0, 1)  # [n, batch, K]
        n = len(V)
        M = self.M.split([n - 1 - i for i in range(n - 1)])  # of the pairs (i, i + 1), …, (i, n − 1)
        terms = torch.cat([(V[i] @ M_i) * V[i + 1 :] for i, M_i in enumerate(M)])  # [P, batch, K]
        return self.linear(batch) + self.dropout(terms).sum((0, 2))
