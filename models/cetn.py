"""Define CETN, three networks that see an input in different forms (Li et al., TOIS 2024)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.embeddings import FeatureEmbedding, written_out
from models.layers.networks import hidden_layers, mlp
from models.registry import register_model


@register_model
class ContrastEnhancedThroughNetwork(nn.Module):
    """Add three networks on the embeddings and their products, each weighed by a network of its own.

    The inputs are s_1, the products V_i x_i ⊙ V_j x_j of all i ≤ j, s_2, the sums of these over k, and s_3 = [V_1 x_1 …
    V_n x_n]. Hidden layers give v_1 of s_1 with ReLU, v_2 of s_2 with Mish, and v_3 of s_3 with GELU, and v_3 also
    passes through to the others: ŷ = g_1 p_1(v_1 + v_3) + g_2 p_2(v_2 + v_3) + g_3 p_3(v_3). p_s is a linear unit, and
    g_s = leaky_relu(MLP_s(s_s)) one number for each row, with leaky ReLU in the MLP. Sources: Li et al. 2023 (arXiv
    2312.09715), CETN: Contrast-enhanced Through Network for CTR Prediction, and the authors' repository CETN; sizes and
    activations are those of its log for Frappe. `hidden_dims` are the layers of v, `gate_hidden_dims` those of g. V
    starts at N(0, 0.01²), all other weights at torch's initial values.

    NOTE: the contrast of its name is left out, the network is what is left. The authors' loss also pushes v_1 + v_3 and
    v_2 + v_3 of different rows apart (Do-InfoNCE), and pulls both towards v_3 of the same row (cosine). Here the loss
    is on ŷ alone, so the three differ by the forms of the input, by their activations, and by what passes through. The
    authors choose the activations for each data set, and dropout of g apart from that of v.
    """

    family = "deep"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 20,
        hidden_dims: Sequence[int] = (400, 400),
        gate_hidden_dims: Sequence[int] = (400,),
        mlp_dropout: float = 0.1,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        positive(len_hidden_dims=len(hidden_dims))
        n, regular = len(field_dims), (mlp_dropout, batch_norm)
        num_products = n * (n + 1) // 2
        sizes = (num_products * embed_dim, num_products, n * embed_dim)
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.v = nn.ModuleList(
            hidden_layers(size, hidden_dims, *regular, activation=activation)
            for size, activation in zip(sizes, (nn.ReLU, nn.Mish, nn.GELU), strict=True)
        )
        self.g = nn.ModuleList(
            mlp(size, gate_hidden_dims, *regular, activation=nn.LeakyReLU).append(nn.LeakyReLU()) for size in sizes
        )
        self.p = nn.ModuleList(nn.Linear(hidden_dims[-1], 1) for _ in sizes)

    def forward(self, batch: Batch) -> Tensor:
        V = written_out(self.embedding(batch))  # [batch, n, K]
        products = torch.cat([V[:, i : i + 1] * V[:, i:] for i in range(batch.num_fields)], dim=1)
        s = (products.flatten(1), products.sum(-1), V.flatten(1))
        v_1, v_2, v_3 = (v(each) for v, each in zip(self.v, s, strict=True))
        v = (v_1 + v_3, v_2 + v_3, v_3)
        logits = [g(s) * p(v) for g, p, s, v in zip(self.g, self.p, s, v, strict=True)]
        return torch.cat(logits, dim=1).sum(1)
