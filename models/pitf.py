"""Define pairwise interaction tensor factorisation (Rendle & Schmidt-Thieme 2010) as an FM.

Source: Rendle 2010, section V-C.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.embeddings import FeatureEmbedding, LinearTerms, written_out
from models.layers.fields import ITEM, TAG, USER, NamedFields, why_missing
from models.layers.networks import Dropout
from models.registry import register_model

NEEDED = (TAG, USER, ITEM)


@register_model
class PairwiseInteractionTensorFactorization(nn.Module):
    """Model the interactions of a tag with user and item.

    ŷ = w_0 + w_t x_t + ⟨V_u, V_t⟩ x_u x_t + ⟨V_i, V_t⟩ x_i x_t, for user u, item i and tag t (Rendle 2010, V-C).
    `fields` names the fields of the data; None takes the first three as user, item and tag. Raises ValueError for data
    without them. V starts at N(0, 0.01²), w at zero.

    NOTE: these are the terms of an FM that can rank tags for a given user and item; w_u, w_i and ⟨V_u, V_i⟩ cancel out.
    PITF itself has no w_t, and two vectors for each tag: one for users, one for items. Here they are one, as in an FM.
    w_0 is added because the loss is on single rows, not on pairs of tags. Only features of these fields have weights.
    They cannot start from a trained FM, which has a row for each feature. `dropout` is the dropout rate of the summed
    products, as in `fm`; PITF has none.
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
        self.linear = LinearTerms(sizes[:1])
        self.embedding = nn.ModuleDict({"tag_user_item": FeatureEmbedding(sizes, embed_dim)})
        self.dropout = Dropout(dropout)

    @staticmethod
    def decline(fields: tuple[str, ...]) -> str | None:
        """Return why data with these fields can't be used, or None."""
        return why_missing(NEEDED, fields)

    def forward(self, batch: Batch) -> Tensor:
        batch = self.named_fields(batch)
        V_t, V_u, V_i = written_out(self.embedding["tag_user_item"](batch)).unbind(1)  # [batch, K] each
        w_t = self.linear(batch.columns([0]))
        return w_t + self.dropout((V_u + V_i) * V_t).sum(-1)
