"""Define AFN, interactions whose orders are learnt (Cheng, Shen and Huang, AAAI 2020)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.embeddings import FeatureEmbedding, written_out
from models.layers.networks import ConcatenatedLinear, mlp
from models.registry import register_model

SMALLEST = 1e-5  # of |V_i x_i|, whose logarithm is taken


@register_model
class AdaptiveFactorizationNetwork(nn.Module):
    """Multiply powers of the embeddings, and feed the products to an MLP.

    A logarithmic neuron o is y_o = exp(Σ_i w_io ln|V_i x_i|) = Π_i |V_i x_i|^{w_io}, number by number, so that w_io is
    the order of field i in an interaction. ŷ = MLP([BN(y_1) … BN(y_O)]), with batch norm also on the logarithms. With
    `ensemble` (AFN+), ŷ = w_1 y_AFN + w_2 y_DNN + b with an MLP on a second table. Sources: Cheng et al. 2020,
    logarithmic transformation layer; FuxiCTR's `model_zoo/AFN`, with the sizes that BARS (Zhu et al. 2022) found for
    Frappe; the authors' repository AFN-AAAI-20. Both tables start at N(0, 0.01²), all other weights at torch's initial
    values.

    NOTE: |V_i x_i| is at least 10⁻⁵, as in FuxiCTR. The authors' code makes V positive and at least 10⁻⁴, and adds
    biases to the logarithmic neurons; its AFN+ trains each part with a loss of its own. `batch_norm` is that of the
    MLPs: the other two are always there. Batch norms over a field or a neuron normalise all its K numbers alike.
    """

    family = "crosses"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 10,
        num_neurons: int = 1000,
        hidden_dims: Sequence[int] = (400,),
        ensemble: bool = False,
        hidden_dims_2: Sequence[int] = (400, 400, 400),
        mlp_dropout: float = 0.4,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        positive(num_neurons=num_neurons)
        n, K = len(field_dims), embed_dim
        self.embedding = nn.ModuleList(FeatureEmbedding(field_dims, K) for _ in range(2 if ensemble else 1))
        self.norm_logarithms, self.norm_neurons = nn.BatchNorm1d(n), nn.BatchNorm1d(num_neurons)
        self.w = nn.Linear(n, num_neurons, bias=False)
        self.mlp = mlp(num_neurons * K, hidden_dims, mlp_dropout, batch_norm)
        self.dnn = mlp(n * K, hidden_dims_2, mlp_dropout, batch_norm, ConcatenatedLinear) if ensemble else None
        self.w_ensemble = nn.Linear(2, 1) if ensemble else None

    def forward(self, batch: Batch) -> Tensor:
        V = written_out(self.embedding[0](batch))  # [batch, n, K]
        logarithms = self.norm_logarithms(V.abs().clamp(min=SMALLEST).log())
        neurons = self.norm_neurons(self.w(logarithms.mT).mT.exp())  # [batch, neurons, K]
        y = self.mlp(neurons.flatten(1))
        if self.dnn is not None and self.w_ensemble is not None:
            y = self.w_ensemble(torch.cat([y, self.dnn(self.embedding[1](batch))], dim=1))
        return y.squeeze(-1)
