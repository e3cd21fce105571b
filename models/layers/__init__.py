"""Hold the parts that models share. Shapes: batch rows, n fields, m features, P = n(n−1)/2 pairs, K = embed_dim."""
