"""Every setting of ``node.toml``, typed, with its unit and its default.

Only ``member``, ``role`` and ``suite`` are needed; ``engine`` is ``embedded`` where none is named. Unknown settings are
refused, so that a misspelt one is not ignored in silence.
"""

from __future__ import annotations

import codecs
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from shuiqiao.base.encoding import decode_toml, typed
from shuiqiao.base.environment import DATABASE_URL_VARIABLE
from shuiqiao.base.errors import Conflict, Denied, InvalidInput, Unavailable
from shuiqiao.base.files import read_regular
from shuiqiao.base.ids import MemberId
from shuiqiao.base.wire import MemberName
from shuiqiao.crypto.model import SuiteName
from shuiqiao.members.endpoint import MAX_ENDPOINT_CHARACTERS, PIN_BYTES
from shuiqiao.members.genesis import decode_genesis
from shuiqiao.members.model import MAX_GENESIS_BYTES, MAX_MEMBERS, Role

MAX_SETTINGS_BYTES = 65_536
DEFAULT_LISTEN = "127.0.0.1:8600"
MAX_PUBLIC_URLS = 32

_LISTENING: Final = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})")
_MAX_PORT: Final = 65_535

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
PeerAddress = Annotated[str, msgspec.Meta(max_length=MAX_ENDPOINT_CHARACTERS + 1 + 2 * PIN_BYTES)]
PublicUrls = Annotated[
    tuple[Annotated[str, msgspec.Meta(max_length=MAX_ENDPOINT_CHARACTERS)], ...],
    msgspec.Meta(max_length=MAX_PUBLIC_URLS),
]
PeerAddresses = Annotated[dict[MemberName, PeerAddress], msgspec.Meta(max_length=MAX_MEMBERS)]


class NodeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What node.toml may hold."""

    member: str
    """This institution's member id, as the genesis has it."""
    role: Role
    """What this institution is, as the genesis has it."""
    suite: SuiteName
    """The network's cipher suite, as the genesis has it."""
    engine: Literal["embedded", "cometbft"] = "embedded"
    """How transactions are ordered: by the one writer that the genesis names, or by validators through CometBFT."""
    admitted: bool = False
    """True for an institution that the genesis does not name, because it is or was admitted by vote."""
    verifier_processes: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0
    """Worker processes that verify signatures; 0 verifies in the writer's own thread."""
    block_linger_ms: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 2
    """How long the writer waits for company before it closes a block, in milliseconds."""
    p2p_port: Port = 0
    """Port on which a validator's CometBFT node meets its peers; 0 where this member is none."""
    runs_cometbft: bool = True
    """Whether a validator's server starts the CometBFT node beside it; false where something else starts it."""

    tiles_folder: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    """Folder to which the log is published as static files, from the home if it is relative; empty: it is not."""
    tiles_interval_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 60
    """How often a running node publishes what is new, in seconds."""
    peers: PeerAddresses = {}
    """Where other members' servers are reached, ``{ tax-bureau = "https://host:port#pin in hex" }``: before the ledger
    says it, or in its place. Only addresses named here may be private; the one of the writer makes a follower's home
    open over HTTP."""

    entry_delay_min: Annotated[int, msgspec.Meta(ge=0, le=600)] = 0
    """After how many minutes at most, drawn at random, a bureau's grants of consent and a bank's applications enter the
    ledger, so that its readers do not link by time what is one enterprise's; 0: at once."""

    assessments_required: bool = False
    """Whether data are shared with no member for whom the registers have no valid assessment; without it that is only
    told, by ``shuiqiao audit --obligations``."""

    backup_folder: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    """Folder into which the server backs this home up, from the home if it is relative; empty: it does not."""
    backup_interval_h: Annotated[int, msgspec.Meta(ge=1, le=8_760)] = 24
    """How long after a backup the next one is taken, in hours."""
    backups_kept: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 7
    """How many of its own backups the server keeps in that folder; older ones are removed."""

    listen: Annotated[str, msgspec.Meta(max_length=300)] = DEFAULT_LISTEN
    """Where the server listens for callers with a token, as host:port; [::1]:8600 for IPv6."""
    public_urls: PublicUrls = ()
    """Under which addresses callers reach ``listen`` through something else, as ``["https://bank.example"]``: a reverse
    proxy, a forwarded port, a name that the certificate does not have. Enterprises log in at these, at what ``listen``
    says, and at the names of ``tls_certificate`` with the port of ``listen``; at no other."""
    peer_listen: Annotated[str, msgspec.Meta(max_length=300)] = ""
    """Where the server listens for other members, as host:port; empty: for none."""
    tls_certificate: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    """Certificate chain (PEM) of both addresses, from the home if it is relative; empty: no TLS, for loopback alone."""
    tls_key: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    """Private key (PEM, not encrypted, its owner's alone) of the certificate, from the home if it is relative."""

    invoice_trust_folder: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    """Folder of the root certificates, those between and the revocation lists by which seals and signatures of
    e-invoices are verified over the API, from the home if it is relative; empty: none is trusted."""

    secure_listen: Annotated[str, msgspec.Meta(max_length=300)] = ""
    """Where a bureau's server waits for banks that compute a score with it, and a bank's for banks that ask what it has
    lent, as host:port: the host of ``peer_listen``'s address as others know it, and the first of ``secure_workers``
    ports. Empty: nobody is waited for. It needs the extra ``mpc`` of this package, as a bank that asks does, which
    listens nowhere."""
    secure_workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    """With how many members at a time scores are computed, each in a process of its own of about 130 MB."""
    secure_timeout_ms: Annotated[int, msgspec.Meta(ge=1_000, le=120_000)] = 10_000
    """How long the other side of a computation may be silent, in milliseconds."""

    train_least_firms: Annotated[int, msgspec.Meta(ge=2, le=20_000)] = 100
    """Firms that a cohort which a model is trained on has at least, and by which two cohorts of one bank at one bureau
    differ at least; a bank, its bureau and the regulator each go by their own."""

    opentelemetry_endpoint: Annotated[str, msgspec.Meta(max_length=300)] = ""
    """Where the server sends traces, as http://host:port/v1/traces of an OpenTelemetry collector; empty: nowhere. It
    needs the extra ``opentelemetry`` of this package."""

    @property
    def is_validator(self) -> bool:
        """Whether this home runs a validator of a CometBFT network."""
        return self.p2p_port != 0


_OF_A_SERVER = {
    "assessments_required": False,
    "entry_delay_min": 0,
    "listen": DEFAULT_LISTEN,
    "public_urls": (),
    "peer_listen": "",
    "tls_certificate": "",
    "tls_key": "",
    "opentelemetry_endpoint": "",
}


@dataclass(frozen=True, slots=True)
class Home:
    """The paths of one institution's home folder."""

    folder: Path

    @property
    def settings(self) -> Path:
        """node.toml."""
        return self.folder / "node.toml"

    @property
    def genesis(self) -> Path:
        """The public genesis."""
        return self.folder / "genesis.json"

    @property
    def member_file(self) -> Path:
        """What this institution shows of itself: who it is, and its public keys with their proofs."""
        return self.folder / "member.toml"

    @property
    def keys(self) -> Path:
        """Encrypted key files."""
        return self.folder / "keys"

    @property
    def passphrase(self) -> Path:
        """Where ``init`` keeps the passphrase that it makes: beside the home, so that a copy of it opens no key."""
        folder = Path(os.path.realpath(self.folder))
        return folder.parent / f"{folder.name}.passphrase"

    @property
    def ledger(self) -> Path:
        """Segments, index and checkpoints."""
        return self.folder / "ledger"

    @property
    def cometbft(self) -> Path:
        """A validator's CometBFT folder: its configuration, its two keys, its blocks."""
        return self.folder / "cometbft"

    @property
    def socket(self) -> Path:
        """Where this home's server listens for its owner; not there, or nobody behind it, while none runs."""
        return self.folder / "api.sock"

    @property
    def server_lock(self) -> Path:
        """Held by the process that serves this home, and naming it."""
        return self.folder / "node.lock"

    def tiles(self, settings: NodeSettings) -> Path | None:
        """Where the log is published to, None if it is not."""
        return self.folder / settings.tiles_folder if settings.tiles_folder else None

    def invoice_trust(self, settings: NodeSettings) -> Path | None:
        """Where the certificates are that e-invoices are verified by, None if none is trusted."""
        return self.folder / settings.invoice_trust_folder if settings.invoice_trust_folder else None

    @property
    def vault(self) -> Path:
        """Private records."""
        return self.folder / "vault"

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.folder / "shuiqiao.db"


def encode_settings(settings: NodeSettings) -> str:
    """Return node.toml text for settings; what is as it is by default is mostly left out."""
    names = [
        name
        for name in settings.__struct_fields__
        if (settings.is_validator or not name.endswith("_port"))
        and (settings.admitted or name != "admitted")
        and (not settings.runs_cometbft or name != "runs_cometbft")
        and (settings.tiles_folder or not name.startswith("tiles_"))
        and (settings.peers or name != "peers")
        and (settings.backup_folder or not name.startswith("backup"))
        and (settings.invoice_trust_folder or name != "invoice_trust_folder")
        and (name not in _OF_A_SERVER or getattr(settings, name) != _OF_A_SERVER[name])
    ]
    lines = [f"{name} = {_toml(getattr(settings, name))}" for name in names]
    return "\n".join(lines) + "\n"


def split_address(address: str) -> tuple[str, int]:
    """Return the host, without brackets, and the port where a server listens; raises ``api.address_invalid``.

    E.g. ``split_address("[::1]:8600") == ("::1", 8600)``; port 0 is any free one.
    """
    parts = _LISTENING.fullmatch(address)
    if parts is None or int(parts[3]) > _MAX_PORT:
        raise InvalidInput("api.address_invalid", f"{address[:100]!r} does not have the form host:port")
    return parts[1] or parts[2], int(parts[3])


def home_prepared(home: Home) -> Conflict:
    """Return the refusal of a founding member's home that has its keys and waits for the genesis."""
    return Conflict(
        "node.home_prepared",
        f"{home.folder} has keys already, which wait for the genesis of a network",
        next_step=f"shuiqiao init --home {home.folder} --genesis genesis.json",
    )


def load_settings(home: Home) -> NodeSettings:
    """Read node.toml; raises Unavailable ``node.home_missing``, InvalidInput ``node.settings_invalid``.

    Conflict ``node.home_prepared`` for a home without its genesis yet.

    A file beyond MAX_SETTINGS_BYTES is refused whole: half of it might be valid and mean something else.
    """
    if not home.settings.is_file():
        if home.member_file.exists():
            raise home_prepared(home)
        raise Unavailable(
            "node.home_missing",
            f"{home.folder} is not a home: it has no node.toml",
            next_step=f"shuiqiao init --home {home.folder}",
        )
    data = read_regular(home.settings, max_bytes=MAX_SETTINGS_BYTES)
    if len(data) > MAX_SETTINGS_BYTES:
        raise InvalidInput("node.settings_invalid", f"{home.settings} is larger than {MAX_SETTINGS_BYTES} bytes")
    try:
        return typed(decode_toml(data.decode("utf-8-sig")), NodeSettings)
    except (UnicodeDecodeError, InvalidInput, msgspec.ValidationError) as error:
        raise InvalidInput("node.settings_invalid", f"{home.settings}: {error}") from error


def database_of(home: Home) -> str | Path:
    """Return the database this home uses: the URL in the environment, or its own SQLite file.

    Raises InvalidInput ``node.database_url_invalid`` for a URL that is not UTF-8; every other variable is a path or a
    flag.
    """
    url = os.environ.get(DATABASE_URL_VARIABLE, "")
    try:
        url.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput("node.database_url_invalid", f"{DATABASE_URL_VARIABLE} is not UTF-8") from error
    return url or home.database


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{name} = {_toml(each)}' for name, each in value.items())} }}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else json.dumps(str(value), ensure_ascii=False)


def load_genesis(path: Path) -> bytes:
    """Return genesis bytes from a file.

    Raises Unavailable ``node.genesis_missing``, and what ``decode_genesis`` raises, with the file named.
    """
    try:
        # An editor's byte order mark is none of the bytes whose hash is the network's id.
        data = read_regular(path, max_bytes=MAX_GENESIS_BYTES).removeprefix(codecs.BOM_UTF8)
        decode_genesis(data)
    except InvalidInput as error:
        raise error.within(f"the genesis {path}") from error
    except OSError as error:
        raise Unavailable(
            "node.genesis_missing",
            f"the genesis {path} cannot be read: {error.strerror}",
            next_step="name the network's public genesis.json with --genesis",
        ) from error
    return data


def require_member(settings: NodeSettings, genesis: bytes) -> None:
    """Return if the genesis names this suite and engine, and this member in this role unless it was admitted later.

    Raises InvalidInput ``node.member_foreign`` or ``node.engine_foreign``.
    """
    agreed = decode_genesis(genesis)
    members = {member.id: member for member in agreed.members}
    member = members.get(MemberId(settings.member))
    is_named = settings.admitted if member is None else member.role is settings.role
    if not is_named or agreed.suite is not settings.suite:
        raise InvalidInput(
            "node.member_foreign",
            f"node.toml names {settings.member} ({settings.role}, {settings.suite}), which the genesis "
            f"({agreed.suite}) does not: {', '.join(members)}",
        )
    if settings.engine != agreed.engine:
        raise InvalidInput(
            "node.engine_foreign", f"node.toml names engine {settings.engine}, the genesis {agreed.engine}"
        )


def require_role(settings: NodeSettings, *roles: Role) -> None:
    """Return if a home is of an institution of one of these roles; raises Denied ``node.role_wrong``."""
    if settings.role not in roles:
        role = " or a ".join(roles)
        raise Denied("node.role_wrong", f"{settings.member} is a {settings.role}; this is for a {role}")
