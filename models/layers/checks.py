"""Check sizes."""


def positive(**sizes: float) -> None:
    """Raise ValueError that names the first argument that is not above zero."""
    for name, size in sizes.items():
        if not size > 0:
            raise ValueError(f"{name} must be positive, got {size}")
