"""Define the IFM that trains on sampled interactions (Hong et al., AAAI 2019, Sampling)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers.attention import PairAttention, Placement, attend
from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.embeddings import FeatureEmbedding, LinearTerms
from models.layers.fields import FieldAspect, why_no_pairs
from models.layers.networks import Dropout
from models.layers.pairs import field_pairs
from models.registry import register_model


@register_model
class SampledIFM(nn.Module):
    """Train `ifm` (eq. 9) on a random sample of the pairs of fields.

    Each training batch uses `num_sampled` = c of the P pairs. Prediction uses all. The c pairs are drawn without
    replacement: the next is pair p with probability ‖F_p‖ / Σ ‖F_q‖, summed over the pairs not drawn yet. T is a
    softmax over the drawn pairs. In the general form G(F_X, I_X) of eq. 11–12, both aspects are on and G sums the inner
    products (eq. 13), all three over the drawn pairs. The initial values are those of `ifm`.

    NOTE: the paper samples "according to the norms". Its released code samples by squared norms, and not before 50,000
    steps. The paper does not give c for Frappe: 23 is half of its 45 pairs. No gradient flows through the draw.
    """

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 256,
        attention_dim: int = 256,
        field_embed_dim: int = 26,
        num_sampled: int = 23,
        temperature: float = 10.0,
        temperature_placement: Placement = "logits",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        positive(num_sampled=num_sampled)
        n = len(field_dims)
        self.num_fields, self.num_sampled = n, min(num_sampled, n * (n - 1) // 2)
        self.linear = LinearTerms(field_dims)
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        self.attention = PairAttention(embed_dim, attention_dim, temperature, temperature_placement)
        self.field_aspect = FieldAspect(n, embed_dim, field_embed_dim)
        self.dropout = Dropout(dropout)

    def sample(self, norms: Tensor) -> Tensor:
        """Draw c pairs by norm: the c largest of log ‖F_p‖ plus Gumbel noise."""
        gumbel = -torch.empty_like(norms).exponential_().log()
        return (norms.log() + gumbel).topk(self.num_sampled).indices

    decline = staticmethod(why_no_pairs)

    def forward(self, batch: Batch) -> Tensor:
        V, F = self.embedding(batch), self.field_aspect()
        drawn = self.sample(F.detach().norm(dim=-1)) if self.training else slice(None)
        pairs = field_pairs(self.num_fields).to(F.device)[:, drawn]
        T, effect = attend(self.attention, V, F[drawn], self.dropout, pairs)  # [batch, c] each
        return self.linear(batch) + (T * effect).sum(-1)
