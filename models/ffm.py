"""Define the field-aware factorization machine (Juan et al. 2016)."""

from collections.abc import Sequence

from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.embeddings import FieldAwareEmbedding, LinearTerms
from models.layers.fields import why_no_pairs
from models.layers.networks import Dropout
from models.layers.pairs import pooled_sum
from models.registry import register_model


@register_model
class FieldAwareFM(nn.Module):
    """Model each interaction with field-aware vectors.

    ŷ = w_0 + Σ_i w_i x_i + Σ_{i<j} ⟨V_{i,f_j}, V_{j,f_i}⟩ x_i x_j (Juan et al. 2016, section 3).
    Each feature has n vectors, one for each field. V starts at N(0, 0.01²), w at zero.

    NOTE: Juan et al. leave out w_0 and w_i, which the IFM paper counts. They scale each row to length 1 and draw V
    uniformly from [0, 1/√K]; on unscaled rows the first logits would be n²/8. `dropout` is the dropout rate of the
    pooled interactions, as in `fm`; Juan et al. have none.
    """

    family = "factorization machine"

    def __init__(self, field_dims: Sequence[int], *, embed_dim: int = 256, dropout: float = 0.0) -> None:
        super().__init__()
        self.linear = LinearTerms(field_dims)
        self.embedding = FieldAwareEmbedding(field_dims, embed_dim)
        self.dropout = Dropout(dropout)

    decline = staticmethod(why_no_pairs)

    def forward(self, batch: Batch) -> Tensor:
        V = self.embedding(batch)
        return self.linear(batch) + pooled_sum(V, self.dropout)
