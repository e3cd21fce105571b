"""Check what a model gives for the first batch."""

from torch import Tensor, nn


def check_logits(model: nn.Module, logits: Tensor, num_rows: int) -> None:
    """Raise ValueError, which names the model's file, for logits of a wrong shape or type.

    Another shape would be broadcast against the labels, without an error and to nonsense.
    """
    name, several = type(model).__module__, hasattr(model, "members")
    method = "members" if several else "forward"
    if not isinstance(logits, Tensor) or logits.shape[:1] != (num_rows,) or logits.dim() != 1 + several:
        got = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        asked = (
            f"the members' logits for each row, [{num_rows}, k]" if several else f"one logit for each row, [{num_rows}]"
        )
        raise ValueError(f"{name}: {method} must return {asked}, not {got}")
    if not logits.is_floating_point():
        raise ValueError(f"{name}: {method} must return floating-point logits, not {logits.dtype}")
    if not logits.isfinite().all():
        raise FloatingPointError(f"{name}: the logits of the first batch are not finite")
    if not logits.requires_grad:
        raise ValueError(f"{name}: the logits depend on no parameter")


def check_gradients(model: nn.Module) -> None:
    """Raise ValueError for parameters that take no part in the first batch's logits."""
    without = [name for name, each in model.named_parameters() if each.requires_grad and each.grad is None]
    if without:
        raise ValueError(f"{type(model).__module__}: no gradient reaches {', '.join(without)}")
