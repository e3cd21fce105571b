"""The data sets: where each comes from, under which licence, and how its log becomes labelled rows."""

from dataclasses import dataclass
from typing import Literal

from pipelines.project.cli import one_of


@dataclass(frozen=True)
class Source:
    """One file to fetch.

    `checksum` is `ALGORITHM:HEX`; `git-blob` is the SHA-1 that git gives the content. `members` are the files
    wanted from a zip archive; none means that the file itself is wanted.
    """

    url: str
    checksum: str
    members: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Dataset:
    """One entry of the catalogue.

    A log (`format` other than libfm) has positives only: `prepare` adds negatives by replacing the feature of field
    `replace` with one that does not occur in the log together with the row's features of the fields `given`.
    `published_rmse` is Table 2 of the IFM paper, where this is its data.
    """

    name: str
    title: str
    licence: str
    citation: str
    format: Literal["frappe", "tags.dat", "tags.csv", "libfm", "synthetic"]
    fields: tuple[str, ...]
    sources: tuple[Source, ...] = ()
    replace: str = ""
    given: tuple[str, ...] = ()
    published_rmse: tuple[tuple[str, float], ...] = ()

    @property
    def family(self) -> str:
        """The name that all releases share: the paper's settings differ by family."""
        return self.name.split("-")[0]


FRAPPE_FIELDS = (
    "user", "item", "daytime", "weekday", "isweekend", "homework", "cost", "weather", "country", "city",
)  # fmt: skip
PUBLISHED = {"embed_dim": 256, "max_epochs": 100}  # with which the figures of `published_rmse` were made
FRAPPE_RMSE = (
    ("fm", 0.3321), ("deepfm", 0.3308), ("ffm", 0.3304), ("nfm", 0.3171), ("afm", 0.3118),
    ("ifm_sampling", 0.3085), ("ifm", 0.3080), ("inn", 0.3071),
)  # fmt: skip
MOVIELENS_RMSE = (
    ("fm", 0.4671), ("deepfm", 0.4662), ("ffm", 0.4568), ("nfm", 0.4549), ("afm", 0.4430),
    ("ifm", 0.4213), ("inn", 0.4188),
)  # fmt: skip
FRAPPE_LICENCE = "research use only, no commercial use, no redistribution; must be cited"
FRAPPE_CITATION = (
    "Baltrunas et al., Frappe: Understanding the Usage and Perception of Mobile App Recommendations In-The-Wild, "
    "arXiv:1505.03014, 2015"
)
MOVIELENS_LICENCE = "research use only, no commercial use or redistribution without permission; must be cited"
MOVIELENS_CITATION = "Harper and Konstan, The MovieLens Datasets: History and Context, ACM TiiS 5(4):19, 2015"
NFM_CITATION = "; split by He and Chua, Neural Factorization Machines for Sparse Predictive Analytics, SIGIR 2017"
NFM_URL = "https://raw.githubusercontent.com/hexiangnan/neural_factorization_machine/master/data"


def movielens(name: str, release: str, md5: str, member: str, licence: str = MOVIELENS_LICENCE) -> Dataset:
    """The tag applications of one MovieLens release."""
    return Dataset(
        name=name,
        title=f"MovieLens tags, release {release}",
        licence=licence,
        citation=MOVIELENS_CITATION,
        format="tags.dat" if member.endswith(".dat") else "tags.csv",
        fields=("user", "movie", "tag"),
        sources=(Source(f"https://files.grouplens.org/datasets/movielens/{release}.zip", f"md5:{md5}", (member,)),),
        replace="tag",
        given=("user", "movie"),
    )


def nfm_split(folder: str, train: str, valid: str, test: str) -> tuple[Source, ...]:
    """The train, validation and test file released with NFM, each with its git blob id."""
    parts = (("train", train), ("validation", valid), ("test", test))
    return tuple(Source(f"{NFM_URL}/{folder}/{folder}.{part}.libfm", f"git-blob:{blob}") for part, blob in parts)


DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="frappe",
            title="Frappe app usage in context",
            licence=FRAPPE_LICENCE,
            citation=FRAPPE_CITATION,
            format="frappe",
            fields=FRAPPE_FIELDS,
            sources=(
                Source(
                    "https://raw.githubusercontent.com/irecsys/CARSKit/master/context-aware_data_sets/Mobile_Frappe.zip",
                    "sha256:4adc616de57170f282397f6e6e30215f97fa7ad1b7f40bd12ef5dceaaf3e9b4e",
                    ("Mobile_Frappe/frappe/frappe.csv",),
                ),
            ),
            replace="item",
            given=("user",),
            published_rmse=FRAPPE_RMSE,
        ),
        Dataset(
            name="frappe-nfm",
            title="Frappe, the split released with NFM, as in the IFM paper",
            licence=FRAPPE_LICENCE,
            citation=FRAPPE_CITATION + NFM_CITATION,
            format="libfm",
            fields=FRAPPE_FIELDS,
            sources=nfm_split(
                "frappe",
                "176b2aaf1f63dd13d3e66a5c17c8ec8186e91893",
                "50b9c04bcf58dcb46d0b0070d3d6f88b45c9baab",
                "d7cdd03f0e2415c97618de617f20bedd50e8fce7",
            ),
            published_rmse=FRAPPE_RMSE,
        ),
        movielens("movielens", "ml-10m", "ce571fd55effeba0271552578f2648bd", "ml-10M100K/tags.dat"),
        movielens("movielens-20m", "ml-20m", "cd245b17a1ae2cc31bb14903e1204af3", "ml-20m/tags.csv"),
        movielens("movielens-25m", "ml-25m", "6b51fb2759a8657d3bfcbfc42b592ada", "ml-25m/tags.csv"),
        movielens("movielens-32m", "ml-32m", "d472be332d4daa821edc399621853b57", "ml-32m/tags.csv"),
        Dataset(
            name="movielens-nfm",
            title="MovieLens tags, the split released with NFM, as in the IFM paper",
            licence=MOVIELENS_LICENCE,
            citation=MOVIELENS_CITATION + NFM_CITATION,
            format="libfm",
            fields=("user", "movie", "tag"),
            sources=nfm_split(
                "ml-tag",
                "45c9017ca7cb14b3df2b7378f3a935577a8a102f",
                "0950186b80ca3158f40c3734e28d236785ad77ac",
                "aef8f29a1a396d6ea34e692d26eec9bba2f7ae8b",
            ),
            published_rmse=MOVIELENS_RMSE,
        ),
        Dataset(
            name="synthetic",
            title="A generated log with planted field interactions",
            licence="Apache-2.0, as factorbench, which generates it",
            citation="none needed",
            format="synthetic",
            fields=("user", "item", "daytime", "weekday", "weather", "city", "device"),
            replace="item",
            given=("user",),
        ),
    )
}


def get_dataset(name: str) -> Dataset:
    """The entry called `name`. Raises ValueError that lists the names."""
    return DATASETS[one_of("data set", name, DATASETS)]
