"""The pages and static files as they lie in their folders, and the one name for all of them.

There is no build step: the files of ``static/`` are served as they are, under ``/static/<build>/``, where ``<build>`` is
the hash of them all. So relative imports between modules just work, everything may be cached for ever, and a page can
tell from a frame's ``build`` that it has become old. A gateway tells that name, and needs to know no route for it.
"""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

HERE: Final = Path(__file__).parent
GZIP_BYTES_MIN: Final = 512
MEDIA_TYPES: Final = MappingProxyType(
    {
        ".css": "text/css; charset=utf-8",
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".svg": "image/svg+xml",
    }
)


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it goes over the wire: plain and, where that is shorter, compressed once for everybody."""

    body: bytes
    gzipped: bytes | None
    media_type: str
    etag: str


@dataclass(frozen=True, slots=True)
class Site:
    """Everything there is to serve, read once when the application is made. ``build`` names this very set."""

    build: str
    static: Mapping[str, Asset]
    pages: Mapping[str, str]


def build_of_static(folder: Path = HERE) -> str:
    """Return the hash that names the present set of pages and static files: viewers reload when it changes."""
    digest = hashlib.sha256()
    for path in _files(folder):
        body = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()}\n{len(body)}\n".encode())
        digest.update(body)
    return digest.hexdigest()[:16]


def read_site(folder: Path = HERE) -> Site:
    """Read the pages and the static files of ``folder``."""
    build = build_of_static(folder)
    static: dict[str, Asset] = {}
    pages: dict[str, str] = {}
    for path in _files(folder):
        if path.parent.name == "pages":
            pages[path.stem] = path.read_text("utf-8").replace("{{static}}", f"/static/{build}")
        else:
            name = path.relative_to(folder / "static").as_posix()
            static[name] = _asset(path.read_bytes(), MEDIA_TYPES[path.suffix])
    return Site(build, MappingProxyType(static), MappingProxyType(pages))


def _files(folder: Path) -> list[Path]:
    found = [path for part in ("pages", "static") for path in (folder / part).rglob("*")]
    return sorted(path for path in found if path.suffix in MEDIA_TYPES)


def _asset(body: bytes, media_type: str) -> Asset:
    # A fixed time in the gzip header, so that equal files are equal bytes on every server.
    gzipped = gzip.compress(body, 9, mtime=0) if len(body) >= GZIP_BYTES_MIN else None
    return Asset(body, gzipped, media_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
