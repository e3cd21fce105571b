"""Define the neural factorization machine (He & Chua 2017)."""

from collections.abc import Sequence

from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.embeddings import FeatureEmbedding, LinearTerms
from models.layers.networks import Dropout, mlp
from models.layers.pairs import bi_interaction
from models.registry import register_model


@register_model
class NeuralFM(nn.Module):
    """Feed the pooled pair-wise interactions to an MLP.

    ŷ = w_0 + Σ_i w_i x_i + hᵀ MLP(Σ_{i<j} V_i x_i ⊙ V_j x_j) (He & Chua 2017, eq. 7).
    `dropout` is the dropout rate of the bi-interaction layer, `hidden_dropout` of each hidden layer. `batch_norm` is on
    the bi-interaction and on each hidden layer before its ReLU. As in the released code, V starts at N(0, 0.01²), w at
    zero, and the weights and biases between a and b units at N(0, 2/(a + b)). The default dropout rates are the
    released code's.
    """

    family = "deep"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 256,
        hidden_dims: Sequence[int] = (256,),
        dropout: float = 0.5,
        hidden_dropout: float = 0.2,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        self.linear = LinearTerms(field_dims)
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.batch_norm = nn.BatchNorm1d(embed_dim) if batch_norm else nn.Identity()
        self.dropout = Dropout(dropout)
        self.mlp = mlp(embed_dim, hidden_dims, hidden_dropout, batch_norm)[
            :-1
        ]  # h replaces the last unit, without bias
        self.h = nn.Linear((embed_dim, *hidden_dims)[-1], 1, bias=False)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                for weight in layer.parameters():
                    nn.init.normal_(weight, std=(2 / (layer.in_features + layer.out_features)) ** 0.5)

    def forward(self, batch: Batch) -> Tensor:
        interactions = bi_interaction(self.embedding(batch))  # [batch, K]
        hidden = self.mlp(self.dropout(self.batch_norm(interactions)))
        return self.linear(batch) + self.h(hidden).squeeze(-1)
