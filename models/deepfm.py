"""Define DeepFM (Guo et al., IJCAI 2017) in the size of the IFM paper's baseline."""

from collections.abc import Sequence

from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.embeddings import FeatureEmbedding, LinearTerms
from models.layers.networks import ConcatenatedLinear, Dropout, mlp
from models.layers.pairs import bi_interaction
from models.registry import register_model


@register_model
class DeepFM(nn.Module):
    """Add an FM and an MLP that share their embeddings.

    ŷ = y_FM + y_DNN (Guo et al. 2017, eq. 1), y_FM = w_0 + Σ_i w_i x_i + Σ_{i<j} ⟨V_i, V_j⟩ x_i x_j (eq. 2). y_DNN is
    an MLP with ReLU on the concatenation of the same V_i x_i (eq. 3–4).
    w starts at zero, V at N(0, 0.01²), the MLP at torch's initial values.

    NOTE: one hidden layer of 100 units gives the #PARAM of the IFM paper. Guo et al. have 400, 400, 400, and no w_0.
    `dropout` is the dropout rate of the pooled interaction vector, as in `fm`; Guo et al. do not have it.
    """

    family = "deep"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 256,
        hidden_dims: Sequence[int] = (100,),
        dropout: float = 0.0,
        mlp_dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.linear = LinearTerms(field_dims)
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.dropout = Dropout(dropout)
        self.mlp = mlp(len(field_dims) * embed_dim, hidden_dims, mlp_dropout, linear=ConcatenatedLinear)

    def forward(self, batch: Batch) -> Tensor:
        V = self.embedding(batch)
        y_FM = self.linear(batch) + self.dropout(bi_interaction(V)).sum(-1)
        y_DNN = self.mlp(V).squeeze(-1)
        return y_FM + y_DNN
