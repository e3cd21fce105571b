"""Define the factorization machine (Rendle 2010), with dropout as in the IFM paper."""

from collections.abc import Sequence

from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.embeddings import FeatureEmbedding, LinearTerms
from models.layers.networks import Dropout
from models.layers.pairs import bi_interaction
from models.registry import register_model


@register_model
class FactorizationMachine(nn.Module):
    """Model each interaction as an inner product of embeddings.

    ŷ = w_0 + Σ_i w_i x_i + Σ_{i<j} ⟨V_i, V_j⟩ x_i x_j (Rendle 2010, eq. 1).

    NOTE: `dropout` is the dropout rate of the pooled interaction vector Σ_{i<j} (V_i ⊙ V_j) x_i x_j. `batch_norm`
    normalises that vector before dropout, as in the code released with NFM and AFM. Rendle has neither.
    """

    family = "factorization machine"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 256,
        dropout: float = 0.3,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.linear = LinearTerms(field_dims)
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.batch_norm = nn.BatchNorm1d(embed_dim) if batch_norm else nn.Identity()
        self.dropout = Dropout(dropout)

    def forward(self, batch: Batch) -> Tensor:
        interactions = bi_interaction(self.embedding(batch))  # [batch, K]
        return self.linear(batch) + self.dropout(self.batch_norm(interactions)).sum(-1)
