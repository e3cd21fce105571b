"""Unpack the wanted members of fetched files."""

import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from pipelines.data.sources import Source
from pipelines.project.files import written_whole

MAX_MEMBER_BYTES = 1 << 32  # unpacked; about a hundred times the largest file of the catalogue
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # other methods unpack with unlimited memory
DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, UnicodeDecodeError, OSError)


def unpack(source: Source, file: Path, folder: Path) -> list[Path]:
    """Write the wanted members of an archive, or the file itself, to `folder`.

    Raises ValueError that names archive and member for a damaged archive and for a member that is missing, a link, too
    large or compressed by another method than deflate. Raises OSError.
    """
    if not source.members:
        with written_whole(folder / source.name) as partial:
            shutil.copyfile(file, partial)
        return [folder / source.name]
    return [unpack_member(file, member, folder / PurePosixPath(member).name) for member in source.members]


def unpack_member(file: Path, member: str, path: Path) -> Path:
    """Write one member of a zip archive to `path`. Raises ValueError that names archive and member, and OSError."""
    try:
        with (
            zipfile.ZipFile(file) as archive,
            archive.open(wanted(archive, member)) as content,
            written_whole(path) as partial,
            partial.open("wb") as output,
        ):
            shutil.copyfileobj(content, output)
    except KeyError as error:
        raise ValueError(f"{file}: the archive has no member {member}") from error
    except DAMAGE as error:
        if isinstance(error, OSError) and error.filename:  # reading or writing failed: the content may be valid
            raise
        raise ValueError(f"{file}: can't unpack {member}: {error}") from error
    return path


def wanted(archive: zipfile.ZipFile, member: str) -> zipfile.ZipInfo:
    """Return a member's archive entry. Raises KeyError for a missing member, and BadZipFile for a refused one.

    zipfile never unpacks more bytes than the size checked here.
    """
    info = archive.getinfo(member)
    if stat.S_ISLNK(info.external_attr >> 16):
        raise zipfile.BadZipFile("it is a symbolic link")
    if info.compress_type not in METHODS:
        raise zipfile.BadZipFile(f"compression method {info.compress_type} is none of stored and deflated")
    if info.file_size > MAX_MEMBER_BYTES:
        raise zipfile.BadZipFile(f"it has {info.file_size:,} bytes unpacked; the limit is {MAX_MEMBER_BYTES:,}")
    return info
