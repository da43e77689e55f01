"""Static files of a log as a server hands them out: a web server that has a member's folder, or a member's own API.

Nothing that comes from there is believed; whoever reads verifies it against a checkpoint (``ledger/tiles/reader``).
"""

from __future__ import annotations

from typing import Final, Self
from urllib.parse import urlsplit

from shuiqiao.base.errors import InvalidInput
from shuiqiao.client.http import HttpClient
from shuiqiao.client.operation import PREFIX

TILES_PATH: Final = f"{PREFIX}/ledger/tiles"
"""Where a member's API has the static files of its log, for those who may read it."""


class HttpTiles:
    """Static files under a URL; whoever opens it closes it.

    ::

        with HttpTiles("https://bureau.example/log") as tiles:
            tiles.get("checkpoint", max_bytes=16_384)
    """

    def __init__(self, url: str, *, token: str = "", pin: bytes | None = None) -> None:
        """url: of the folder; with a token, of a member's API. pin: SHA-256 of the server's public key.

        Raises InvalidInput ``client.url_invalid``.
        """
        server, path = split_url(url)
        if token and path:
            raise InvalidInput("client.url_invalid", f"{url[:200]!r} is not the address of an API: https://host:port")
        self._client = HttpClient(server, token=token, pin=pin)
        self._prefix = TILES_PATH if token else path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._client.close()

    def get(self, path: str, *, max_bytes: int) -> bytes | None:
        """Return the bytes of a file, None where there is no such file; raises what ``HttpClient.find`` raises."""
        return self._client.find(f"{self._prefix}/{path}", max_bytes=max_bytes)


def split_url(url: str, *, may_ask: bool = False) -> tuple[str, str]:
    """Return the server of a URL, and its path without the last slash; with its question, where it may have one.

    Raises InvalidInput ``client.url_invalid`` for a URL with a fragment, or with a question that it may not have.
    """
    try:
        found = urlsplit(url)
    except ValueError as error:
        raise InvalidInput("client.url_invalid", f"{url[:200]!r} is not a URL: {error}") from error
    if found.fragment or (found.query and not may_ask):
        raise InvalidInput("client.url_invalid", f"{url[:200]!r} does not have the form https://host:port/path")
    question = f"?{found.query}" if found.query else ""
    return f"{found.scheme}://{found.netloc}", (found.path if question else found.path.rstrip("/")) + question
