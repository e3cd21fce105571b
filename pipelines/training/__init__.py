"""One model, one setting, one seed: from first weights to metrics."""
