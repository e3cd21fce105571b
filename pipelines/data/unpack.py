"""Unpacking what is wanted from a fetched file."""

import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from pipelines.data.catalog import Source
from pipelines.project.files import written_whole

MAX_MEMBER_BYTES = 1 << 32  # unpacked; the largest file that the catalogue wants has about a hundredth of it
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others unpack without a bound on memory
DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, UnicodeDecodeError, OSError)


def unpack(source: Source, file: Path, folder: Path) -> list[Path]:
    """Put the wanted members of a fetched archive, or the file itself, straight into `folder`.

    Raises ValueError, which names archive and member, when the archive is damaged or lacks one, and for a member that
    is a link, too large or not deflated; OSError.
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
            archive.open(wanted(archive, member)) as content,
            written_whole(path) as partial,
            partial.open("wb") as output,
        ):
            shutil.copyfileobj(content, output)
    except KeyError as error:
        raise ValueError(f"{file}: the archive has no member {member}") from error
    except DAMAGE as error:
        if isinstance(error, OSError) and error.filename:  # the file can't be read or written: not the content's fault
            raise
        raise ValueError(f"{file}: can't unpack {member}: {error}") from error
    return path


def wanted(archive: zipfile.ZipFile, member: str) -> zipfile.ZipInfo:
    """What the archive says of a member. Raises KeyError when there is none, BadZipFile for one not to be unpacked.

    zipfile unpacks no more than the size that is checked here.
    """
    info = archive.getinfo(member)
    if stat.S_ISLNK(info.external_attr >> 16):
        raise zipfile.BadZipFile("it is a symbolic link")
    if info.compress_type not in METHODS:
        raise zipfile.BadZipFile(f"compression method {info.compress_type} is none of stored and deflated")
    if info.file_size > MAX_MEMBER_BYTES:
        raise zipfile.BadZipFile(f"it has {info.file_size:,} bytes unpacked; the limit is {MAX_MEMBER_BYTES:,}")
    return info
