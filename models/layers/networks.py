"""Drop elements, and stack hidden layers."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.kernels import products
from models.kernels.features import Embeddings
from models.layers.checks import positive


class Dropout(nn.Module):
    """Zero each element with probability p while training (Srivastava et al. 2014).

    The other elements are divided by 1 − p. One random byte decides for each element, which is faster than a random
    float; p is rounded to a multiple of 1/256. Raises ValueError for a p outside of [0, 1]. Shape: any, unchanged.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"dropout must be between 0 and 1, got {p}")
        self.p = p
        self.num_dropped = round(p * 256)  # of the 256 values of a byte
        self.scale = 256 / max(1, 256 - self.num_dropped)

    @property
    def drops(self) -> bool:
        return self.training and self.num_dropped > 0

    def kept(self, *shape: int, device: torch.device | None = None) -> Tensor:
        """Draw one byte for each element: 1 to keep it, 0 to drop it.

        Drawing [a + b, …] gives the same as drawing [a, …] and then [b, …].
        """
        numel = math.prod(shape[1:])
        words = torch.empty(shape[0], (numel + 7) // 8, dtype=torch.int64, device=device).random_(-(2**63), None)
        random_bytes = words.view(torch.uint8)[:, :numel].view(shape)
        if self.num_dropped == 256:
            return torch.zeros_like(random_bytes)
        return torch.ge(random_bytes, self.num_dropped, out=torch.empty_like(random_bytes))

    def forward(self, x: Tensor) -> Tensor:
        if not self.drops:
            return x
        return x * self.kept(*x.shape, device=x.device).to(x.dtype).mul_(self.scale)

    def of_pairs(self, products: Tensor) -> Tensor:
        """Apply dropout to `[batch, P, K]`, drawing pair after pair as the kernels do."""
        return self(products.transpose(0, 1)).transpose(0, 1)


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute x Wᵀ + b in half of torch's time; by torch where a model is exported.

    Shape: x `[batch, inputs]`, weight `[units, inputs]` → `[batch, units]`.
    """
    return (nn.functional.linear if torch.compiler.is_compiling() else products.linear)(x, weight, bias)


class Linear(nn.Linear):
    """Compute a linear layer by `linear`. Shape: `[batch, inputs]` → `[batch, units]`."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


class ConcatenatedLinear(nn.Linear):
    """Apply a linear layer to the concatenated embeddings of a row.

    W [V_1 x_1 … V_n x_n] + b. Shape: `[batch, n, K]` → `[batch, units]`.
    """

    def forward(self, V: Tensor | Embeddings) -> Tensor:  # type: ignore[override]
        if isinstance(V, Embeddings):
            return products.concatenated_linear(V, self.weight, self.bias)
        return super().forward(V.flatten(1))


def hidden_layers(
    input_dim: int,
    hidden_dims: Sequence[int],
    dropout: float = 0.0,
    batch_norm: bool = False,
    linear: type[nn.Linear] = Linear,
    activation: type[nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """Build the hidden layers of an MLP.

    A hidden layer has a linear layer, batch norm (if asked for), ReLU (or another activation) and dropout. `linear` is
    the class of the first linear layer. Weights have torch's initial values. Raises ValueError for a size that is not
    positive. Shape: `[…, input_dim]` → `[…, hidden_dims[-1]]`.
    """
    layers: list[nn.Module] = []
    for hidden_dim in hidden_dims:
        positive(hidden_dims=hidden_dim)
        layers += [linear(input_dim, hidden_dim)]
        layers += [nn.BatchNorm1d(hidden_dim)] if batch_norm else []
        layers += [activation()] + ([Dropout(dropout)] if dropout else [])
        input_dim, linear = hidden_dim, Linear
    return nn.Sequential(*layers)


def mlp(
    input_dim: int,
    hidden_dims: Sequence[int],
    dropout: float = 0.0,
    batch_norm: bool = False,
    linear: type[nn.Linear] = Linear,
    output_dim: int = 1,
    activation: type[nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """Build an MLP: `hidden_layers`, then a linear layer. Shape: `[…, input_dim]` → `[…, output_dim]`."""
    layers = hidden_layers(input_dim, hidden_dims, dropout, batch_norm, linear, activation)
    last = Linear if hidden_dims else linear
    return layers.append(last((input_dim, *hidden_dims)[-1], output_dim))
