"""Define TabM, cheap MLPs in one (Gorishniy, Kotelnikov and Babenko, ICLR 2025)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from models.layers.batch import Batch
from models.layers.checks import positive
from models.layers.embeddings import FeatureEmbedding, written_out
from models.layers.networks import Dropout, Linear, linear
from models.registry import register_model


@register_model
class TabM(nn.Module):
    """Average k MLPs that share their matrices, and are each trained as if alone.

    All members see e = [V_1 x_1 … V_n x_n]. In member m, a layer is h ← relu(s_m ⊙ W (r_m ⊙ h) + b_m) with a shared W
    (BatchEnsemble, Wen, Tran and Ba, ICLR 2020), and its logit is z_m = w_mᵀ h + c_m. With `structure` mini, the first
    r_m, w_m and c_m are a member's own, and b is shared. The loss of a row is the mean of the members' losses. The
    prediction is the mean of their probabilities, ŷ = logit(Σ_m σ(z_m) / k); for the squared error it is Σ_m z_m / k.
    Sources: Gorishniy et al. 2025 (arXiv 2410.24210), TabM and TabM-mini, and the authors' package `tabm`, whose
    defaults the sizes are. k is `num_members`. The first r_m has one number for each field, from N(0, 1), or −1 or 1
    where `first_scaling` is signs; all other r and s start at one. All b_m start at the same values, W, b, w and c at
    torch's initial values, V at N(0, 0.01²).

    NOTE: the authors multiply W by the one-hot code of categories. They have embeddings of numbers, and with these they
    draw the first r_m from N(0, 1), otherwise signs. In the paper's main results each member has batches of its own;
    here, as in the package and the paper's ablation, all members see the same batch.
    """

    family = "deep"
    log_odds: Tensor

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 16,
        hidden_dims: Sequence[int] = (512, 512),
        mlp_dropout: float = 0.1,
        num_members: int = 32,
        structure: Literal["full", "mini"] = "full",
        first_scaling: Literal["normal", "signs"] = "normal",
    ) -> None:
        super().__init__()
        positive(num_members=num_members, len_hidden_dims=len(hidden_dims))
        k, n = num_members, len(field_dims)
        self.embedding = FeatureEmbedding(field_dims, embed_dim)
        first = torch.randn(k, n) if first_scaling == "normal" else torch.randint(2, (k, n)) * 2.0 - 1
        self.r = nn.Parameter(first.repeat_interleave(embed_dim, dim=1))  # of the first layer
        self.layers = nn.ModuleList()
        for layer, sizes in enumerate(zip((n * embed_dim, *hidden_dims[:-1]), hidden_dims, strict=True)):
            positive(hidden_dims=sizes[1])
            self.layers.append(Shared(*sizes) if structure == "mini" else Adapted(*sizes, k, layer == 0))
        self.dropout = Dropout(mlp_dropout)
        self.output = nn.Linear(hidden_dims[-1], k)  # w and c
        self.register_buffer("log_odds", torch.tensor(True))  # of the mean probability

    def members(self, batch: Batch, loss: str) -> Tensor:
        """Return the members' logits, `[batch, k]`, and average from now on as the loss asks."""
        self.log_odds.fill_(loss == "cross_entropy")
        return self.logits(batch)

    def logits(self, batch: Batch) -> Tensor:
        e = written_out(self.embedding(batch)).flatten(1)  # [batch, n K]
        return torch.stack([self.member(m, e) for m in range(len(self.r))], dim=1)

    def member(self, m: int, e: Tensor) -> Tensor:
        h = self.r[m] * e
        for layer in self.layers:
            h = self.dropout(torch.relu(layer(h, m)))
        return h @ self.output.weight[m] + self.output.bias[m]

    def forward(self, batch: Batch) -> Tensor:
        z = self.logits(batch)
        of_mean = logsigmoid(z).logsumexp(1) - logsigmoid(-z).logsumexp(1)  # logit(Σ_m σ(z_m) / k)
        return torch.where(self.log_odds, of_mean, z.mean(1))


class Shared(Linear):
    """Compute W h + b, the same in all members. Shape: `[batch, inputs]` → `[batch, units]`."""

    def forward(self, h: Tensor, m: int) -> Tensor:  # type: ignore[override]
        return super().forward(h)


class Adapted(nn.Module):
    """Compute s_m ⊙ W (r_m ⊙ h) + b_m in member m.

    That is (s_m r_mᵀ ⊙ W) h + b_m; the first layer is without r_m. Shape: `[batch, inputs]` → `[batch, units]`.
    """

    def __init__(self, inputs: int, units: int, k: int, is_first: bool) -> None:
        super().__init__()
        shared = nn.Linear(inputs, units)
        self.W, self.b = shared.weight, nn.Parameter(shared.bias.detach().repeat(k, 1))
        self.r = None if is_first else nn.Parameter(torch.ones(k, inputs))
        self.s = nn.Parameter(torch.ones(k, units))

    def forward(self, h: Tensor, m: int) -> Tensor:
        W = self.s[m][:, None] * self.W
        return linear(h, W if self.r is None else W * self.r[m], self.b[m])
