"""Define Wide & Deep (Cheng et al., DLRS 2016)."""

from collections.abc import Sequence

from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.embeddings import FeatureEmbedding, LinearTerms
from models.layers.networks import ConcatenatedLinear, mlp
from models.registry import register_model


@register_model
class WideAndDeep(nn.Module):
    """Add a linear model and an MLP on embeddings.

    ŷ = w_wideᵀ [x, φ(x)] + w_deepᵀ a^(L) + b, a^(l+1) = relu(W^(l) a^(l) + b^(l)) (Cheng et al. 2016, eq. 2–3).
    a^(0) is the concatenation of the embeddings V_i x_i, which start at N(0, 0.01²). w_wide starts at zero, the layers
    at torch's initial values. Layers of 1024, 512 and 256 units are the paper's (figure 4).

    NOTE: φ(x) is empty here. It has cross products that the authors chose by hand for their data. The paper's b is the
    sum of two here: w_0 and the bias of the last unit.
    """

    family = "deep"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 256,
        hidden_dims: Sequence[int] = (1024, 512, 256),
        mlp_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.linear = LinearTerms(field_dims)
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.mlp = mlp(len(field_dims) * embed_dim, hidden_dims, mlp_dropout, linear=ConcatenatedLinear)

    def forward(self, batch: Batch) -> Tensor:
        wide = self.linear(batch)
        deep = self.mlp(self.embedding(batch)).squeeze(-1)
        return wide + deep
