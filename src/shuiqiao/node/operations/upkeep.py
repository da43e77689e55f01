"""Shows an institution's keys and publishes its log, for a message of the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from shuiqiao.client.operation import Operation, Sent, Told
from shuiqiao.client.resources import upkeep
from shuiqiao.client.resources.own_files import path_of
from shuiqiao.node.home.keys import find_passphrase, load_keys
from shuiqiao.node.home.ledger_folder import LedgerFolder
from shuiqiao.node.home.settings import load_settings
from shuiqiao.node.published.publication import (
    PublicEngine,
    publish_log,
    publish_open_log,
    published_checkpoint,
    publishing_folder,
)
from shuiqiao.node.rotation import proven_validator_key

if TYPE_CHECKING:
    from pathlib import Path

    from shuiqiao.base.progress import Progress
    from shuiqiao.client.wire import Nothing
    from shuiqiao.node.home.keys import MemberKeys
    from shuiqiao.node.home.settings import Home, NodeSettings
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.published.publication import Publication


def read_keys(institution: Institution, _asked: Nothing) -> upkeep.OwnKeys:
    """Return the public keys that this institution has in use."""
    return own_keys(institution.home, settings=institution.settings, keys=institution.keys)


def keys_at(home: Home) -> upkeep.OwnKeys:
    """Return the same of a home that is not open, after opening its private keys; raises what ``load_keys`` raises."""
    settings = load_settings(home)
    return own_keys(home, settings=settings, keys=load_keys(home, passphrase=find_passphrase(home)))


def own_keys(home: Home, *, settings: NodeSettings, keys: MemberKeys) -> upkeep.OwnKeys:
    """Return the public keys of a home."""
    return upkeep.OwnKeys(
        member=settings.member,
        role=settings.role,
        suite=settings.suite,
        signing_key=keys.signing.public_key.hex(),
        signing_key_id=keys.signing.key_id.hex(),
        sealing_key=keys.sealing.public_key.hex(),
        **proven_validator_key(home, settings=settings),
    )


def read_publication(institution: Institution, _asked: Nothing) -> upkeep.PublicationState:
    """Tell how far the log was published; raises what ``published_checkpoint`` raises."""
    folder = institution.home.tiles(institution.settings)
    found = None if folder is None else published_checkpoint(folder, parameters=institution.parameters)
    return upkeep.PublicationState(
        folder=None if folder is None else str(folder),
        interval_s=institution.settings.tiles_interval_s,
        size=None if found is None else found.size,
        root=None if found is None else found.root.hex(),
        note=None if found is None else found.note.decode(),
    )


def publish(institution: Institution, asked: upkeep.PublicationFolder) -> upkeep.Published:
    """Publish what is new of the log; raises what ``publish_open_log`` and ``publish_log`` raise."""
    home, engine = institution.home, institution.engine
    folder = publishing_folder(home) if asked.folder is None else path_of(asked.folder)
    if isinstance(engine, PublicEngine):
        return told_publication(folder, publish_open_log(engine, folder, suite=institution.suite))
    # The ledger is open in another process, and its files are read beside it.
    return told_publication(folder, publish_log(LedgerFolder.of_home(home), folder))


def publish_at(home: Home, asked: upkeep.PublicationFolder, *, progress: Progress) -> upkeep.Published:
    """Publish what is new of the log in a home, beside whatever process has it open; raises as ``publish_log``."""
    folder = publishing_folder(home) if asked.folder is None else path_of(asked.folder)
    return told_publication(folder, publish_log(LedgerFolder.of_home(home), folder, progress=progress))


def told_publication(folder: Path, found: Publication) -> upkeep.Published:
    """Return what was published as a message."""
    return upkeep.Published(
        folder=str(folder),
        origin=found.checkpoint.origin,
        size=found.checkpoint.size,
        root=found.checkpoint.root.hex(),
        published_before=found.before,
        files_written=found.files,
        cosigners=found.cosigners,
    )


def perform_by_files(operation: Operation[Sent, Told], message: Sent, *, home: Home, progress: Progress) -> Told:
    """Perform one of these operations at a home that is not open, by its files; raises what refuses it.

    ::

        perform_by_files(READ_KEYS, Nothing(), home=home, progress=no_progress).signing_key
    """
    told: Told = _BY_FILES[operation](home, message, progress)
    return told


_ByFiles = Callable[["Home", Any, "Progress"], Any]
_BY_FILES: Final[Mapping[Operation[Any, Any], _ByFiles]] = {
    upkeep.READ_KEYS: lambda home, _asked, _progress: keys_at(home),
    upkeep.PUBLISH_LOG: lambda home, asked, progress: publish_at(home, asked, progress=progress),
}
