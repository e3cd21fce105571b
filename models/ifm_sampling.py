"""Define the IFM that trains on sampled interactions (Hong et al., AAAI 2019, Sampling)."""

import math
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

TINY = 1e-12  # least rate of a pair, as a share of the largest
NEWTON_STEPS = 40


@register_model
class SampledIFM(nn.Module):
    """Train `ifm` (eq. 9) on a random sample of the pairs of fields.

    Each training batch uses `num_sampled` = c of the P pairs. They are drawn without replacement: the next is pair p
    with probability ‖F_p‖ / Σ ‖F_q‖, summed over the pairs not drawn yet. T is a softmax over the drawn pairs. In the
    general form G(F_X, I_X) of eq. 11–12, both aspects are on and G sums the inner products (eq. 13), all three over
    the drawn pairs. The initial values are those of `ifm`.

    Prediction draws nothing. Each pair weighs about as much as in training on average: T is the softmax of
    a_p / τ + log π_p over all pairs, with π_p the chance that pair p is drawn (`chances`). With c = P, the model is
    `ifm`.

    NOTE: the paper samples "according to the norms" and does not say how the model predicts. Without log π_p, pairs
    that training never drew would take weight from the others. The released code draws by squared norms, but never uses
    the draw: it waits for step 50,000 of a counter that nothing increases. The paper does not give c for Frappe: 23 is
    half of its 45 pairs. No gradient flows through the draw or through π.
    """

    family = "interaction-aware"

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

    def chances(self, norms: Tensor) -> Tensor:
        """Approximate the chance π_p that pair p is among the c drawn.

        π_p = 1 − exp(−t ‖F_p‖), with t such that Σ π_p = c: each pair arrives at a random time, at the rate ‖F_p‖, and
        at time t, c pairs are there on average. Within 0.03 of the drawn shares for 2 ≤ c ≤ P/2, and within 0.08 for
        the other c < P. Shape: `[P]` → `[P]`, all above 0.
        """
        rates = norms.double()
        rates = (rates / rates.max().clamp(min=TINY)).clamp(min=TINY)  # pairs without norm share what others leave
        t, late = rates.new_zeros(()), math.log1p(-self.num_sampled / len(rates))
        for _ in range(NEWTON_STEPS):  # t grows to the root, as log Σ exp(−t r) is convex in t
            absent = torch.exp(-t * rates)
            t = t + (absent.mean().log() - late) * absent.sum() / (absent * rates).sum()
        return -torch.expm1(-t * rates)

    decline = staticmethod(why_no_pairs)

    def forward(self, batch: Batch) -> Tensor:
        V, F = self.embedding(batch), self.field_aspect()
        norms, pairs, log_chances = F.detach().norm(dim=-1), None, None
        if self.num_sampled < len(F) and self.training:
            drawn = self.sample(norms)
            F, pairs = F[drawn], field_pairs(self.num_fields).to(F.device)[:, drawn]
        elif self.num_sampled < len(F):
            log_chances = self.chances(norms).log().to(F.dtype)
        # [batch, P] each; in training c for P
        T, effect = attend(self.attention, batch, V, F, self.dropout, pairs, log_chances)
        return self.linear(batch) + (T * effect).sum(-1)
