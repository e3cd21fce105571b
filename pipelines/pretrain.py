"""Train the model whose embeddings other models start from."""

import io
from pathlib import Path

from pipelines.data.catalog import get_dataset
from pipelines.project import code
from pipelines.project.cli import DatasetOption, ParamsOption, run
from pipelines.project.files import write_json, written_whole
from pipelines.project.metric import METRICS
from pipelines.project.params import load_params
from pipelines.project.paths import Paths


def main(dataset: DatasetOption, params: ParamsOption = Path("params.yaml")) -> None:
    """Train the model whose embeddings other models start from.

    `training.pretrained` names the model; if it is null, nothing is trained.
    `pretrain` in params.yaml is its setting.

    Writes into data/pretrained/DATASET/ the weights of the best validation
    epoch, summary.json and recipe.json. The recipe changes if anything that
    made the weights changes. Later stages depend on the recipe, not on the
    weights, because their last digits differ between kinds of processor.
    """
    config, paths = load_params(params), Paths(params.parent)
    get_dataset(dataset, paths.root)
    name, folder = config.training.pretrained, paths.pretrained(dataset)
    from pipelines.training.start import check_pretrain  # torch takes seconds to import

    check_pretrain(config)
    if name is None:
        for file in ("summary.json", "recipe.json"):
            write_json(folder / file, {"pretrained": None})
        print("training.pretrained is null: nothing to train")
        return
    import torch

    from pipelines.training.cell import fingerprint, load_cell
    from pipelines.training.epochs import Epoch, best_epoch
    from pipelines.training.process import prepare_process

    prepare_process()

    cell = load_cell(name, dataset, config, paths)
    setting = {f"{part}.{key}": value for part, values in config.pretrain for key, value in values.items()}
    origin = cell.made_by()
    metric = config.training.metric

    def report(epoch: Epoch) -> None:
        value = epoch.valid[metric]
        print(f"epoch {epoch.epoch}  {epoch.seconds:.1f} s  valid {metric} {METRICS[metric].format(value)}", flush=True)

    model, epochs = cell.train(setting, cell.seed("pretrain"), report)
    code.check()
    content = io.BytesIO()  # as torch raises no OSError for a full disk
    torch.save(model.state_dict(), content)
    with written_whole(folder / f"{name}.pt") as partial:
        partial.write_bytes(content.getbuffer())
    best = best_epoch(epochs, metric)
    reached = {"best_epoch": best.epoch, **best.valid}
    write_json(folder / "summary.json", {"pretrained": name, **reached, "made_by": origin.model_dump()})
    write_json(folder / "recipe.json", {"pretrained": name, "fingerprint": fingerprint(cell, {}, setting)})


if __name__ == "__main__":
    run(main)
