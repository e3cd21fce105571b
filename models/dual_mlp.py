"""Define two MLPs on tables of their own (Mao et al., AAAI 2023; Li et al. 2024)."""

from collections.abc import Sequence

from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.embeddings import FeatureEmbedding
from models.layers.networks import ConcatenatedLinear, mlp
from models.registry import register_model


@register_model
class DualMLP(nn.Module):
    """Add two MLPs, each on its own table of embeddings.

    ŷ = MLP_1([V¹_1 x_1 … V¹_n x_n]) + MLP_2([V²_1 x_1 … V²_n x_n]). The second table has fewer numbers for each
    feature, and the second MLP fewer layers, so that the two differ. Sources: DualMLP of Mao et al. 2023 (FuxiCTR's
    `model_zoo/FinalMLP`), whose two MLPs share a table, and TF4CTR of Li et al. 2024 with its code (`TF4CTRv2`: SER,
    sum_fusion), which gives each MLP its own; sizes, dropout and batch norm are those of its best log on Frappe. V¹ and
    V² start at N(0, 0.01²), the MLPs at torch's initial values.

    NOTE: TF4CTR also trains each MLP with a focal loss of its own, and weighs the two logits. Here the loss is on ŷ.
    """

    family = "deep"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 16,
        hidden_dims: Sequence[int] = (400, 400, 400),
        embed_dim_2: int = 8,
        hidden_dims_2: Sequence[int] = (400, 400),
        mlp_dropout: float = 0.2,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        n, sizes = len(field_dims), ((embed_dim, hidden_dims), (embed_dim_2, hidden_dims_2))
        self.embedding = nn.ModuleList(FeatureEmbedding(field_dims, K) for K, _ in sizes)
        self.mlp = nn.ModuleList(
            mlp(n * K, dims, mlp_dropout, batch_norm, linear=ConcatenatedLinear) for K, dims in sizes
        )

    def forward(self, batch: Batch) -> Tensor:
        first, second = (mlp(V(batch)).squeeze(-1) for V, mlp in zip(self.embedding, self.mlp, strict=True))
        return first + second
