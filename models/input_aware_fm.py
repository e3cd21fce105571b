"""Define the input-aware FM, whose features weigh more or less in each row (Yu, Wang and Yuan, IJCAI 2019)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.embeddings import FeatureEmbedding, LinearTerms, written_out
from models.layers.networks import ConcatenatedLinear, Dropout, hidden_layers
from models.layers.pairs import bi_interaction
from models.registry import register_model


@register_model
class InputAwareFM(nn.Module):
    """Weigh each feature of an FM by a factor that a network computes from the row.

    ŷ = w_0 + Σ_i m_i w_i x_i + Σ_{i<j} ⟨m_i V_i, m_j V_j⟩ x_i x_j with m = n softmax(P h), where h are the hidden
    layers of an MLP on [V_1 x_1 … V_n x_n] (the factor estimating network) and n the number of fields, so that the
    factors of a row have the mean 1. Sources: Yu et al. 2019, An Input-aware Factorization Machine for Sparse
    Prediction, which also is called IFM; the authors' repository Input-aware-Factorization-Machine, with the sizes of
    its code for Frappe. `dropout` is the dropout rate of the pooled interaction vector, as in `fm`. w starts at zero, V
    at N(0, 0.01²), the network at torch's initial values.

    NOTE: the authors' code has the dropout rates 0.2, 0.3 and 0.3 in the three hidden layers, and an L2 weight of 0.01
    on the network. Here all have the same rate, and the network has no L2 weight. A field with x_i = 0 counts among the
    n fields; in the paper's rows there are none.
    """

    family = "factorization machine"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 256,
        dropout: float = 0.2,
        hidden_dims: Sequence[int] = (512, 258, 128),
        mlp_dropout: float = 0.3,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        positive(len_hidden_dims=len(hidden_dims))
        n = len(field_dims)
        self.linear = LinearTerms(field_dims)
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.hidden = hidden_layers(n * embed_dim, hidden_dims, mlp_dropout, batch_norm, ConcatenatedLinear)
        self.P = nn.Linear(hidden_dims[-1], n, bias=False)
        self.dropout = Dropout(dropout)

    def forward(self, batch: Batch) -> Tensor:
        V = self.embedding(batch)
        m = batch.num_fields * torch.softmax(self.P(self.hidden(V)), dim=-1)  # [batch, n]
        first_order = self.linear.bias + (m * self.linear.terms(batch)).sum(-1)
        return first_order + self.dropout(bi_interaction(m[..., None] * written_out(V))).sum(-1)
