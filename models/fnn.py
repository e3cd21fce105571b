"""Define the factorisation-machine supported neural network (Zhang, Du and Wang, ECIR 2016)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.embeddings import FeatureEmbedding, LinearTerms, written_out
from models.layers.networks import mlp
from models.registry import register_model


@register_model
class FMSupportedNN(nn.Module):
    """Feed the parameters of an FM to an MLP.

    ŷ = W_3 l_2 + b_3, l_2 = tanh(W_2 l_1 + b_2), l_1 = tanh(W_1 z + b_1) (Zhang et al. 2016, eq. 1–5).
    z = (w_0, z_1, …, z_n) with z_i = (w_i, V_i) x_i has the parameters of a factorization machine. The paper trains the
    FM first: set training.pretrained to fm. Otherwise w starts at zero and V at N(0, 0.01²), as in `fm`. The other
    weights have torch's initial values. Two layers of 300 and 100 units are the released code's.

    NOTE: the released code also drops inputs, and starts W_3 at zero, so that W_1 and W_2 have no gradient at first.
    """

    family = "deep"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 256,
        hidden_dims: Sequence[int] = (300, 100),
        mlp_dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.linear = LinearTerms(field_dims)
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        layers = mlp(1 + len(field_dims) * (1 + embed_dim), hidden_dims, mlp_dropout)
        self.mlp = nn.Sequential(*(nn.Tanh() if isinstance(layer, nn.ReLU) else layer for layer in layers))

    def forward(self, batch: Batch) -> Tensor:
        w_0 = self.linear.bias.expand(batch.ids.shape[0], 1)
        z_i = torch.cat(
            [self.linear.terms(batch)[..., None], written_out(self.embedding(batch))], dim=-1
        )  # [batch, n, 1 + K]
        z = torch.cat([w_0, z_i.flatten(1)], dim=1)
        return self.mlp(z).squeeze(-1)
