"""Write the models' equations as plain loops, and compare models to them."""

import inspect
from itertools import combinations

import torch

from models import registry
from models.layers.batch import Batch

torch.set_num_threads(1)  # the tensors are so small that threads would only wait for each other

FIELD_DIMS = (3, 4, 2, 5)
FRAPPE_X1 = (955, 4083, 8, 8, 3, 4, 3, 10, 81, 234)  # what FuxiCTR counts on Frappe: one feature more for unseen values
FRAPPE_X1_PADDED = tuple(size + 1 for size in FRAPPE_X1)  # its later versions also count one for missing values
TOLERANCE = {"rtol": 1e-9, "atol": 1e-9}


def random_input(num_rows=4, field_dims=FIELD_DIMS, seed=0, zeros=False):
    """Draw global feature ids and float64 values of both signs, both `[rows, fields]`.

    With zeros, some rows lack a field, some all but one, and some all.
    """
    generator = torch.Generator().manual_seed(seed)
    starts = [sum(field_dims[:field]) for field in range(len(field_dims))]
    columns = [
        torch.randint(start, start + size, (num_rows,), generator=generator)
        for start, size in zip(starts, field_dims, strict=True)
    ]
    values = torch.randn(num_rows, len(field_dims), generator=generator, dtype=torch.float64)
    if zeros:
        values[1::4, 2] = values[2::4, 1:] = values[3::4] = 0.0
    return torch.stack(columns, 1), values


def randomize(module, seed=0):
    """Draw every weight of a module from N(0, 1), so that no term is negligible.

    The module becomes float64 and is put into eval mode.
    """
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=generator)
    return module


def assert_equals_loops(module, loops, *inputs):
    """Assert that a module has the output and gradients of plain loops.

    Call the loops as `loops(weights by name, *inputs)`. Compare the gradients of all weights and float inputs.
    """
    weights = {name: parameter.detach().clone().requires_grad_() for name, parameter in module.named_parameters()}
    mine, theirs = (
        [t.detach().clone().requires_grad_(t.is_floating_point()) for t in inputs] for _ in ("module", "loops")
    )
    module.zero_grad()
    takes_batch = "batch" in inspect.signature(module.forward).parameters
    output, expected = module(Batch(*mine)) if takes_batch else module(*mine), loops(weights, *theirs)
    assert output.shape == expected.shape
    assert output.dtype == torch.float64
    torch.testing.assert_close(output, expected, **TOLERANCE)
    factors = torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (output * factors).sum().backward()
    (expected * factors).sum().backward()
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(parameter.grad, weights[name].grad, **TOLERANCE, msg=lambda m, n=name: f"{n}: {m}")
    for one, other in zip(mine, theirs, strict=True):
        if one.is_floating_point():
            torch.testing.assert_close(one.grad, other.grad, **TOLERANCE)


def by_row(equation):
    """Return loops that call `equation(weights, ids, values)` for each row to get its logit."""

    def loops(weights, x, values=None):
        values = torch.ones(x.shape, dtype=torch.float64) if values is None else values
        return torch.stack([equation(weights, ids, row) for ids, row in zip(x.tolist(), values, strict=True)])

    return loops


def linear_terms(weights, ids, values):
    """Compute w_0 + Σ_i w_i x_i."""
    total = weights["linear.bias"]
    for i, x in zip(ids, values, strict=True):
        total = total + weights["linear.weight"][i] * x
    return total


def products_of(vectors):
    """Compute V_i ⊙ V_j of all pairs i < j, as lists of numbers."""
    return [[a * b for a, b in zip(first, second, strict=True)] for first, second in combinations(vectors, 2)]


def embedded(weights, ids, values, table="embedding"):
    """Compute the vectors V_i x_i, as lists of numbers."""
    V = weights[f"{table}.weight"]
    return [[V[i, k] * x for k in range(V.shape[1])] for i, x in zip(ids, values, strict=True)]


def are_interactions(values):
    """Tell for all pairs i < j whether x_i x_j is not 0."""
    return [bool(a != 0) and bool(b != 0) for a, b in combinations(values, 2)]


def softmax(logits, there):
    """Compute the softmax over the logits that are there, and zeros for the others."""
    exponentials = [logit.exp() if is_there else logit * 0 for logit, is_there in zip(logits, there, strict=True)]
    return [e / sum(exponentials) if any(there) else e for e in exponentials]


def attention(weights, products, temperature, placement="logits", prefix="attention.", there=None):
    """Compute the attention T_ij of all pairs: softmax(hᵀ Relu(W p + b) / τ).

    With placement "hidden", τ is where the released code has it: softmax(hᵀ Relu(W p / τ + b)).
    The softmax is over the pairs that are `there` (None: all); the others have T_ij = 0.
    """
    W, b, h = (weights[prefix + name] for name in "Wbh")
    logits = []
    for product in products:
        logit = torch.zeros((), dtype=torch.float64)
        for a in range(W.shape[1]):
            weighted = sum(product[k] * W[k, a] for k in range(W.shape[0]))
            hidden = weighted / temperature + b[a] if placement == "hidden" else weighted + b[a]
            if hidden > 0:
                logit = logit + h[a] * hidden
        logits.append(logit if placement == "hidden" else logit / temperature)
    return softmax(logits, there or [True] * len(logits))


def field_aspect(weights, prefix="field_aspect."):
    """Compute F of all pairs of fields, Dᵀ (U_i ⊙ U_j), as lists of numbers."""
    U, D = weights[prefix + "U"], weights[prefix + "D"]
    return [
        [sum(U[i, r] * U[j, r] * D[r, k] for r in range(D.shape[0])) for k in range(D.shape[1])]
        for i, j in combinations(range(U.shape[0]), 2)
    ]


def dense(weights, name, inputs):
    """Compute W x + b of the linear layer `name`, unit by unit; b is 0 if it has none."""
    W, b = weights[f"{name}.weight"], weights.get(f"{name}.bias")
    products = [sum(W[unit, k] * inputs[k] for k in range(W.shape[1])) for unit in range(W.shape[0])]
    return products if b is None else [b[unit] + product for unit, product in enumerate(products)]


def relu(units):
    return [unit if unit > 0 else unit * 0 for unit in units]


def layers_of(weights, prefix):
    """List the numbers of the layers whose weights have a prefix."""
    return sorted({int(name.removeprefix(prefix).split(".")[0]) for name in weights if name.startswith(prefix)})


def relu_layers(weights, inputs, prefix):
    """Compute linear layers, each with ReLU."""
    for layer in layers_of(weights, prefix):
        inputs = relu(dense(weights, f"{prefix}{layer}", inputs))
    return inputs


def relu_network(weights, inputs, prefix="mlp."):
    """Compute linear layers with ReLU between them. Returns the first unit of the last layer."""
    return relu_outputs(weights, inputs, prefix)[0]


def relu_outputs(weights, inputs, prefix):
    """Compute linear layers with ReLU between them."""
    *hidden, last = layers_of(weights, prefix)
    for layer in hidden:
        inputs = relu(dense(weights, f"{prefix}{layer}", inputs))
    return dense(weights, f"{prefix}{last}", inputs)


def concatenated(weights, ids, values):
    """Compute [V_1 x_1 … V_n x_n] as one list of numbers."""
    return [number for vector in embedded(weights, ids, values) for number in vector]


def sigmoid(x):
    return 1 / (1 + (-x).exp())


def layer_norm(units, gain, shift):
    """Normalise numbers by their mean and their variance."""
    mean = sum(units) / len(units)
    deviation = (sum((unit - mean) ** 2 for unit in units) / len(units) + 1e-5).sqrt()
    return [g * (unit - mean) / deviation + s for unit, g, s in zip(units, gain, shift, strict=True)]


def dot(first, second):
    return sum(a * b for a, b in zip(first, second, strict=True))


def num_params(name, field_dims, fields=None, **settings):
    """Count a model's parameters, without making them."""
    with torch.device("meta"):
        model = registry.create(name, field_dims, settings, fields)
    return sum(parameter.numel() for parameter in model.parameters())


def awake(model, by=2.0):
    """Raise all biases, so that most ReLUs are on."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("bias", "shift")):
                parameter.add_(by)
    return model


def assert_all_reached(model):
    """Assert that each weight had a gradient in the last comparison with loops."""
    assert not [name for name, parameter in model.named_parameters() if not parameter.grad.any()]


def halved(model):
    """Halve all weights, for a model that multiplies many of them."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)
    return model
