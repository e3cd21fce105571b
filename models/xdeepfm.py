"""Define xDeepFM, a compressed interaction network beside an MLP (Lian et al., KDD 2018)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.embeddings import FeatureEmbedding, LinearTerms, written_out
from models.layers.networks import ConcatenatedLinear, mlp
from models.registry import register_model


@register_model
class ExtremeDeepFM(nn.Module):
    """Add linear terms, a compressed interaction network and an MLP.

    ŷ = w_0 + Σ_i w_i x_i + w_dnnᵀ h_L + w_cinᵀ p⁺ (Lian et al. 2018). The rows of X⁰ are the embeddings V_i x_i, those
    of layer k are X^k_h = Σ_i Σ_j W^{k,h}_ij X^{k−1}_i ⊙ X⁰_j, and p⁺ has the sum Σ_d X^k_{h,d} of each row of each
    layer. The MLP is on the same embeddings. Code read: FuxiCTR's `model_zoo/xDeepFM`, whose sizes are those found for
    Frappe by BARS (Zhu et al. 2022), and the authors' repository xDeepFM. V starts at N(0, 0.01²), w at zero, W^k at
    torch's initial values of a linear layer, as all other weights.

    NOTE: FuxiCTR adds biases to X^k, the paper does not. In the authors' code half of a layer's rows go to p⁺ and the
    other half to the next layer; here, as in the paper's equations and FuxiCTR, all rows go to both.
    """

    family = "crosses"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 10,
        cin_dims: Sequence[int] = (64,),
        hidden_dims: Sequence[int] = (400, 400, 400),
        mlp_dropout: float = 0.2,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        n = len(field_dims)
        positive(len_cin_dims=len(cin_dims))
        self.linear = LinearTerms(field_dims)
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.W = nn.ParameterList()
        for num_rows, num_new in zip((n, *cin_dims[:-1]), cin_dims, strict=True):
            positive(cin_dims=num_new)
            bound = (num_rows * n) ** -0.5
            self.W.append(nn.Parameter(torch.empty(num_new, num_rows * n).uniform_(-bound, bound)))
        self.w_cin = nn.Linear(sum(cin_dims), 1, bias=False)
        self.mlp = mlp(n * embed_dim, hidden_dims, mlp_dropout, batch_norm, linear=ConcatenatedLinear)

    def forward(self, batch: Batch) -> Tensor:
        V = self.embedding(batch)
        X_0 = X_k = written_out(V)  # [batch, n, K]
        p = []
        for W_k in self.W:
            products = X_k[:, :, None] * X_0[:, None]  # [batch, rows of layer k − 1, n, K]
            X_k = W_k @ products.flatten(1, 2)
            p.append(X_k.sum(-1))
        y_cin, y_dnn = self.w_cin(torch.cat(p, dim=1)), self.mlp(V)
        return self.linear(batch) + (y_cin + y_dnn).squeeze(-1)
