"""Unpacking what is wanted from a fetched file."""

import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from pipelines.catalog import Source
from pipelines.files import written_whole


def unpack(source: Source, file: Path, folder: Path) -> list[Path]:
    """Put the wanted members of a fetched archive, or the file itself, straight into `folder`.

    Raises ValueError, which names archive and member, when the archive is damaged or lacks one; OSError.
    """
    if not source.members:
        with written_whole(folder / source.name) as partial:
            shutil.copyfile(file, partial)
        return [folder / source.name]
    return [unpack_member(file, member, folder / PurePosixPath(member).name) for member in source.members]


def unpack_member(file: Path, member: str, path: Path) -> Path:
    """Write one member of a zip archive to `path`. Raises ValueError, which names both; OSError."""
    try:
        with (
            zipfile.ZipFile(file) as archive,
            archive.open(member) as content,
            written_whole(path) as partial,
            partial.open("wb") as output,
        ):
            shutil.copyfileobj(content, output)
    except KeyError as error:
        raise ValueError(f"{file}: the archive has no member {member}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise ValueError(f"{file}: can't unpack {member}: {error}") from error
    return path
