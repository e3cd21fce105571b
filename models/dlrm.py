"""Define DLRM, an MLP on inner products of embeddings (Naumov et al. 2019)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.embeddings import FeatureEmbedding
from models.layers.fields import why_no_pairs
from models.layers.networks import Dropout, mlp
from models.layers.pairs import pair_effects
from models.registry import register_model


@register_model
class DeepLearningRecommendation(nn.Module):
    """Feed the inner products of all pairs of embeddings to an MLP.

    ŷ = MLP([⟨V_1, V_2⟩ x_1 x_2, …, ⟨V_{n−1}, V_n⟩ x_{n−1} x_n]) (Naumov et al. 2019, interaction "dot"). Code read: the
    authors' repository dlrm and FuxiCTR's `model_zoo/DLRM`, with the MLP that BARS (Zhu et al. 2022) found for Frappe.
    V starts at N(0, 0.01²), the MLP at torch's initial values.

    NOTE: the paper has one more vector, which an MLP makes of all numbers of a row; the MLP on top sees it, and its
    inner products. Here a field of numbers has an embedding, times the number. On Frappe BARS used the interaction
    "cat", which without numbers is `dnn`. `batch_norm` is that of BARS; the paper and its code have none.
    """

    family = "deep"

    ones: Tensor

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 10,
        hidden_dims: Sequence[int] = (400, 400, 400),
        mlp_dropout: float = 0.4,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        num_pairs = len(field_dims) * (len(field_dims) - 1) // 2
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.register_buffer("ones", torch.ones(num_pairs, embed_dim), persistent=False)
        self.mlp = mlp(num_pairs, hidden_dims, mlp_dropout, batch_norm)

    decline = staticmethod(why_no_pairs)

    def forward(self, batch: Batch) -> Tensor:
        products = pair_effects(self.embedding(batch), self.ones, Dropout(0.0))  # ⟨V_i, V_j⟩ x_i x_j, [batch, P]
        return self.mlp(products).squeeze(-1)
