"""Define matrix factorisation over user and item as an FM (Rendle 2010, section V-A)."""

from collections.abc import Sequence

from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.embeddings import FeatureEmbedding, LinearTerms, written_out
from models.layers.fields import ITEM, USER, NamedFields, why_missing
from models.layers.networks import Dropout
from models.registry import register_model

NEEDED = (USER, ITEM)


@register_model
class MatrixFactorization(nn.Module):
    """Model the interaction of user and item alone.

    ŷ = w_0 + w_u x_u + w_i x_i + ⟨V_u, V_i⟩ x_u x_i (Rendle 2010, section V-A), u the user and i the item.
    `fields` names the fields of the data; None takes the first two as user and item. Raises ValueError for data without
    them. V starts at N(0, 0.01²), w at zero.

    NOTE: only features of user and item have weights. They cannot start from a trained FM, which has a row for each
    feature. `dropout` is the dropout rate of V_u ⊙ V_i, as in `fm`; Rendle has none.
    """

    family = "factorization machine"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        embed_dim: int = 256,
        dropout: float = 0.0,
        fields: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.named_fields = NamedFields(field_dims, NEEDED, fields)
        sizes = self.named_fields.field_dims
        self.linear = LinearTerms(sizes)
        self.embedding = nn.ModuleDict({"user_item": FeatureEmbedding(sizes, embed_dim)})
        self.dropout = Dropout(dropout)

    @staticmethod
    def decline(fields: tuple[str, ...]) -> str | None:
        """Return why data with these fields can't be used, or None."""
        return why_missing(NEEDED, fields)

    def forward(self, batch: Batch) -> Tensor:
        batch = self.named_fields(batch)
        V_u, V_i = written_out(self.embedding["user_item"](batch)).unbind(1)  # [batch, K] each
        return self.linear(batch) + self.dropout(V_u * V_i).sum(-1)
