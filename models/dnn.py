"""Define the plain deep network of CTR benchmarks (Zhu et al., CIKM 2021)."""

from collections.abc import Sequence

from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.embeddings import FeatureEmbedding
from models.layers.networks import ConcatenatedLinear, mlp
from models.registry import register_model


@register_model
class DeepNN(nn.Module):
    """Feed the concatenated embeddings to an MLP.

    ŷ = w_Lᵀ h_L + b, h_{l+1} = relu(BN(W_l h_l + b_l)), h_0 = [V_1 x_1 … V_n x_n]. This is `wide_deep` without its wide
    part. Sources: Zhu et al. 2021 (DNN in their table) and their code, FuxiCTR's `model_zoo/DNN`; sizes, dropout and
    batch norm are the ones that they found for Frappe. V starts at N(0, 0.01²), the MLP at torch's initial values.

    NOTE: in the log of their DNN on Frappe the model has a second, equal MLP on the same table (781,892 parameters).
    """

    family = "deep"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 10,
        hidden_dims: Sequence[int] = (400, 400, 400),
        mlp_dropout: float = 0.2,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.mlp = mlp(len(field_dims) * embed_dim, hidden_dims, mlp_dropout, batch_norm, linear=ConcatenatedLinear)

    def forward(self, batch: Batch) -> Tensor:
        return self.mlp(self.embedding(batch)).squeeze(-1)
