"""Serve a bundle over HTTP, by ONNX Runtime and Polars, without torch.

    factorbench export --bundle DIR
    python examples/serve.py DIR
    curl localhost:8000/predict -d '[{"user": "u1", "item": "i7", "price": 9.9}]'

The rows have the columns of the bundle's fields; null is missing. GET /openapi.json has their types. Needs the extra
[serve].
"""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnxruntime
import polars as pl
import typer
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from pipelines.data.fields import Fitted
from pipelines.data.fresh import features_of_fresh, list_places, names_by_field, padded, sources_of

MOST_ROWS, MOST_BYTES = 1000, 1 << 20  # of a request


def make_app(folder: Path) -> FastAPI:
    """Make the application of a bundle that has been exported."""
    about = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    fields, fitted = about["fields"], {field: Fitted(**each) for field, each in about["fitted"].items()}
    kinds = {field: fitted[field].column.kind if field in fitted else "category" for field in fields}
    places = list_places(fields, fitted)
    sources = sources_of(fields, fitted)
    texts = {sources[field] for field, kind in kinds.items() if kind != "number"}
    missing = {"", *about["layout"]["missing"]}

    def cell(value: float | str | None) -> str | None:
        text = str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()
        return None if value is None or text in missing else text

    Number = Annotated[float | None, AfterValidator(cell)]
    Text = Annotated[str | None, Field(coerce_numbers_to_str=True), AfterValidator(cell)]
    columns = {column: Text if column in texts else Number for column in sources.values()}
    for place in places:
        join = fitted[fields[place]].column.separator.join
        columns[sources[fields[place]]] = Annotated[
            Text | Annotated[list[str], AfterValidator(join)], AfterValidator(cell)
        ]
    row: Any = TypedDict("row", columns)  # pyright: ignore[reportArgumentType]
    batch: Any = Annotated[list[row], Field(min_length=1, max_length=MOST_ROWS)]
    rows = TypeAdapter(batch)
    names = names_by_field(pl.read_parquet(folder / "vocabulary.parquet"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / "model.onnx", options)
    app = FastAPI(title=f"{about['model']} on {about['dataset']}", docs_url=None, redoc_url=None)
    body_schema = {"type": "array", "minItems": 1, "maxItems": MOST_ROWS, "items": TypeAdapter(row).json_schema()}
    content = {"required": True, "content": {"application/json": {"schema": body_schema}}}

    @app.post("/predict", openapi_extra={"requestBody": content})
    async def predict(request: Request) -> dict[str, list[float]]:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_BYTES:
                raise HTTPException(413, f"a request has at most {MOST_BYTES:,} bytes")
        try:
            table = pl.DataFrame(rows.validate_json(bytes(body)), dict.fromkeys(columns, pl.String))
            ids, values, lists = features_of_fresh(table, fields, fitted, names)
        except ValidationError as error:
            wrong: list[Any] = error.errors(include_url=False, include_context=False, include_input=False)
            raise HTTPException(422, wrong[:10]) from error
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        given = {"ids": ids, "values": values}
        if lists is not None:
            given["lists"] = padded(ids[:, places], lists, sum(about["field_dims"]))
        (found,) = session.run(["probability"], given)
        return {"probability": np.asarray(found).tolist()}

    return app


def main(bundle: Path, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve a bundle; only this machine reaches the default address."""
    if not (bundle / "model.onnx").is_file():
        raise SystemExit(f"no {bundle / 'model.onnx'}: run factorbench export --bundle {bundle}")
    uvicorn.run(make_app(bundle), host=host, port=port, access_log=False)


if __name__ == "__main__":
    typer.run(main)
