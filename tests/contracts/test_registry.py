from models.registry import source_files


def test_the_source_of_a_model_is_its_file_and_the_parts_that_it_imports():
    assert [file.name for file in source_files("fm")] == [
        "fm.py",
        "layers.py",
        "kernels.py",
        "pair_kernels.py",
        "row_kernels.py",
    ]
    assert [file.name for file in source_files("pnn")] == [
        "pnn.py",
        "layers.py",
        "product_layers.py",
        "kernels.py",
        "pair_kernels.py",
        "row_kernels.py",
    ]
    assert [file.name for file in source_files("pitf")] == [
        "pitf.py",
        "layers.py",
        "named_fields.py",
        "kernels.py",
        "pair_kernels.py",
        "row_kernels.py",
    ]
