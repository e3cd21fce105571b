"""Define the field-vectorized factorization machine (Sun et al., WWW 2021)."""

from collections.abc import Sequence

from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.embeddings import FeatureEmbedding, LinearTerms
from models.layers.fields import FreeFieldAspect, why_no_pairs
from models.layers.networks import Dropout
from models.layers.pairs import pair_effects
from models.registry import register_model


@register_model
class FieldVectorizedFM(nn.Module):
    """Weigh each interaction by one vector for its two fields.

    ŷ = w_0 + Σ_i w_i x_i + Σ_{i<j} ⟨V_i ⊙ F_{f_i f_j}, V_j⟩ x_i x_j: FvFM of Sun et al. 2021, `fmfm` with diagonal
    matrices. It is also `ifm_full` without the feature aspect. Code read: FvFM in the authors' repository FmFM, and
    FuxiCTR's `model_zoo/FmFM` ("vectorized"). V starts at N(0, 0.01²), F at N(0, 1), w at zero.

    NOTE: in the authors' code the linear part is FiLV of `fwfm`. It is Σ_i w_i x_i in the paper's equation and in
    FuxiCTR. `dropout` is the dropout rate of the products V_i ⊙ V_j, as in `ifm`; Sun et al. have none.
    """

    family = "factorization machine"

    def __init__(self, field_dims: Sequence[int], *, embed_dim: int = 10, dropout: float = 0.0) -> None:
        super().__init__()
        self.linear = LinearTerms(field_dims)
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.field_aspect = FreeFieldAspect(len(field_dims), embed_dim, variance=1.0)
        self.dropout = Dropout(dropout)

    decline = staticmethod(why_no_pairs)

    def forward(self, batch: Batch) -> Tensor:
        V, F = self.embedding(batch), self.field_aspect()
        return self.linear(batch) + pair_effects(V, F, self.dropout).sum(-1)
