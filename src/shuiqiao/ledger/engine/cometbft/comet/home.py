"""The folder of one CometBFT node: its configuration, the network's genesis, and its two keys.

Layout and file formats are CometBFT's own (``config/`` and ``data/``), so that its program and its tools work on them.
Only settings that differ from CometBFT's defaults are written. The validator key signs votes and is an Ed25519 key in
networks of either suite; what others verify are the cosignatures of the suite's own key.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from shuiqiao.base.durable import move_into_place, replace_file, write_file
from shuiqiao.base.encoding import decode_toml
from shuiqiao.base.errors import IntegrityError, InvalidInput, Unavailable
from shuiqiao.base.files import read_regular
from shuiqiao.base.ids import Entropy
from shuiqiao.crypto.kdf import SEED_BYTES
from shuiqiao.crypto.model import SigningKey, SuiteName
from shuiqiao.crypto.suites import get_suite

ADDRESS_BYTES: Final = 20
MAX_CHAIN_ID: Final = 50
"""CometBFT's own limit, in characters."""

_KEY_BYTES: Final = 32
_SECRET_BYTES: Final = 64
"""CometBFT writes the seed and the public key behind it."""

MAX_BLOCK_BYTES: Final = 4 * 1024 * 1024
"""Largest block, in bytes: some ten thousand usual transactions, and 70 of the longest."""

MEMPOOL_TRANSACTIONS: Final = 50_000
"""Transactions of its own that a CometBFT node keeps until a block holds them."""

MAX_FILE_BYTES: Final = 1024 * 1024
"""Longest file of the folder that is read, in bytes: a genesis of a thousand validators has 200 kB."""

Setting = str | int | bool

APP_SOCKET: Final = "abci.sock"
RPC_SOCKET: Final = "rpc.sock"
"""Where the application and CometBFT's RPC listen, in the node's folder. CometBFT runs in that folder and is given the
names alone, so that a home may lie deeper than a socket's address may be long [ABCI-29]."""

OWN_APPLICATION: Final = f"unix://{APP_SOCKET}"

_HOST_AND_PORT: Final = r"([0-9A-Za-z.-]{1,253}|\[[0-9a-f:]{2,39}\]):[0-9]{1,5}"
_P2P: Final = re.compile(rf"tcp://{_HOST_AND_PORT}")
PEER_PATTERN: Final = rf"[0-9a-f]{{40}}@{_HOST_AND_PORT}"
"""How a node names another one: its id, and where it listens for peers."""

_PEER: Final = re.compile(PEER_PATTERN)

NEVER_SIGNS: Final = (1 << 63) - 1
"""A height that no network reaches: a validator that signed it last signs nothing more, and follows."""

VALIDATOR_KEY_FILE: Final = "priv_validator_key.json"
NEXT_FILE: Final = "priv_validator_key.next.json"
SECRET_MODE: Final = 0o600
"""Of files with a private key: for their owner alone."""

_LAST_PORT: Final = 65_535
_LAST_ROUND: Final = (1 << 31) - 1
_PRECOMMIT: Final = 3
_PUBLIC_MODE: Final = 0o644
OWNER_ONLY: Final = 0o700


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKeys:
    """The two seeds of a CometBFT node, 32 bytes each: who it is among peers, and what it votes with."""

    node_seed: bytes
    validator_seed: bytes

    @classmethod
    def generate(cls, entropy: Entropy) -> NodeKeys:
        """Return fresh keys."""
        return cls(node_seed=entropy(SEED_BYTES), validator_seed=entropy(SEED_BYTES))

    @property
    def node_id(self) -> str:
        """The id by which peers know the node: hex of the key's address."""
        return address_of(public_key_of(self.node_seed)).hex()

    @property
    def validator(self) -> SigningKey:
        """The key it votes with."""
        return signing_key_of(self.validator_seed)

    @property
    def validator_key(self) -> bytes:
        """The raw public key it votes with, 32 bytes."""
        return self.validator.public_key


def signing_key_of(seed: bytes) -> SigningKey:
    """Return the Ed25519 key of a seed."""
    return get_suite(SuiteName.INTL).signing_key_from_seed(seed)


def public_key_of(seed: bytes) -> bytes:
    """Return the Ed25519 public key of a seed."""
    return signing_key_of(seed).public_key


def address_of(validator_key: bytes) -> bytes:
    """Return the 20 bytes by which CometBFT names an Ed25519 key."""
    return hashlib.sha256(validator_key).digest()[:ADDRESS_BYTES]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenesisValidator:
    """A validator from the first block on."""

    name: str
    key: bytes
    power: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a network goes, in milliseconds; the same on all its nodes.

    commit_ms: pause after a block for late votes, and so the shortest time between two blocks.
    """

    propose_ms: int = 3_000
    vote_ms: int = 1_000
    commit_ms: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeSettings:
    """What one node's configuration says.

    peers: ``node id@host:port`` of those it dials. app: our application's socket, or the name of an application that is
    built into CometBFT. sync: state-sync settings, empty for none (see ``state_sync_settings``).
    """

    moniker: str
    p2p: str
    app: str = OWN_APPLICATION
    peers: Sequence[str] = ()
    pace: Pace = field(default_factory=Pace)
    sync: Mapping[str, Setting] = field(default_factory=dict[str, "Setting"])

    @property
    def p2p_port(self) -> int:
        """The port on which it meets its peers."""
        return int(self.p2p.rpartition(":")[2])


def chain_id_of(network: bytes) -> str:
    """Return the CometBFT chain id of a network id: votes of one network count in no other [ABCI-10]."""
    return f"shuiqiao-{network.hex()}"[:MAX_CHAIN_ID]


def write_home(home: Path, *, settings: HomeSettings, keys: NodeKeys, genesis: Mapping[str, Any]) -> None:
    """Write a node's folder; a sign state that is there is kept, or the validator could sign twice [ABCI-11]."""
    write_keys(home, keys)
    write_configuration(home, settings=settings, genesis=genesis)


def write_keys(home: Path, keys: NodeKeys) -> None:
    """Make a node's folder with its two keys; ``write_configuration`` makes it one that CometBFT starts in."""
    (home / "config").mkdir(parents=True, exist_ok=True)
    (home / "data").mkdir(exist_ok=True)
    home.chmod(OWNER_ONLY)
    _write(home / "config" / "node_key.json", json.dumps({"priv_key": _private(keys.node_seed)}), mode=SECRET_MODE)
    _write(home / "config" / VALIDATOR_KEY_FILE, validator_key_text(keys.validator_seed), mode=SECRET_MODE)
    state = home / "data" / "priv_validator_state.json"
    if not state.exists():
        _write(state, json.dumps({"height": "0", "round": 0, "step": 0}), mode=SECRET_MODE)


def write_configuration(home: Path, *, settings: HomeSettings, genesis: Mapping[str, Any]) -> None:
    """Write a node's configuration and the network's genesis document into its folder."""
    for path, data in configuration_files(home, settings=settings, genesis=genesis).items():
        write_file(path, [data], mode=_PUBLIC_MODE)


def configuration_files(home: Path, *, settings: HomeSettings, genesis: Mapping[str, Any]) -> dict[Path, bytes]:
    """Return the files of a node's folder that are neither secret nor its own work."""
    texts = {"config.toml": config_text(settings), "genesis.json": json.dumps(genesis, indent=2) + "\n"}
    return {home / "config" / name: text.encode() for name, text in texts.items()}


def read_settings(home: Path, *, moniker: str) -> HomeSettings:
    """Return the settings of a node that are its own: where it listens for peers, and whom it dials.

    What else its configuration says is not read: it is the same on all nodes, and ``config_text`` says it. Raises
    IntegrityError ``ledger.comet_home_damaged``.
    """
    path = home / "config" / "config.toml"
    try:
        p2p = decode_toml(read_comet_file(path).decode())["p2p"]
        address, peers = p2p["laddr"], [each for each in p2p["persistent_peers"].split(",") if each]
    except (InvalidInput, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, repr(error)) from error
    if not isinstance(address, str) or not _P2P.fullmatch(address):
        raise _damaged(path, f"it listens for peers at {address!r}, which is not tcp://HOST:PORT")
    for peer in peers:
        if not _PEER.fullmatch(peer):
            raise _damaged(path, f"it dials {peer!r}, which is not ID@HOST:PORT")
    return HomeSettings(moniker=moniker, p2p=address, peers=peers)


def require_p2p(text: str) -> None:
    """Return if a node can be reached at ``HOST:PORT``; raises InvalidInput ``ledger.p2p_invalid``."""
    port = int(text.rpartition(":")[2]) if re.fullmatch(_HOST_AND_PORT, text) else 0
    if not 0 < port <= _LAST_PORT:
        raise InvalidInput("ledger.p2p_invalid", f"{text[:300]!r} is not HOST:PORT, e.g. 192.0.2.7:26656")


def write_last_signed(home: Path, *, height: int) -> None:
    """Make a node believe that it signed everything up to a height: CometBFT then signs above it only [ABCI-11]."""
    (home / "data").mkdir(parents=True, exist_ok=True)
    state = {"height": str(height), "round": _LAST_ROUND, "step": _PRECOMMIT}
    _write(home / "data" / "priv_validator_state.json", json.dumps(state), mode=SECRET_MODE)


def read_comet_file(path: Path) -> bytes:
    """Return the bytes of a file of a node's folder. Raises IntegrityError ``ledger.comet_home_damaged``."""
    try:
        data = read_regular(path, max_bytes=MAX_FILE_BYTES)
    except (OSError, InvalidInput) as error:
        raise _damaged(path, str(error)) from error
    if len(data) > MAX_FILE_BYTES:
        raise _damaged(path, f"it has more than {MAX_FILE_BYTES} bytes")
    return data


def read_last_signed(home: Path) -> int | None:
    """Return the height that a node believes it signed last, None where its file cannot be read."""
    try:
        return int(json.loads(read_comet_file(home / "data" / "priv_validator_state.json"))["height"])
    except (IntegrityError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def read_node_id(home: Path) -> str:
    """Return the id by which peers know the node of a folder that ``write_home`` wrote.

    Raises IntegrityError ``ledger.comet_home_damaged``.
    """
    path = home / "config" / "node_key.json"
    try:
        key = base64.b64decode(json.loads(read_comet_file(path))["priv_key"]["value"], validate=True)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    if len(key) != _SECRET_BYTES:
        raise _damaged(path, f"its key has {len(key)} bytes, not {_SECRET_BYTES}")
    return address_of(key[-_KEY_BYTES:]).hex()


def read_comet_genesis(home: Path) -> dict[str, Any]:
    """Return the CometBFT genesis document of a folder. Raises IntegrityError ``ledger.comet_home_damaged``."""
    path = home / "config" / "genesis.json"
    try:
        document = json.loads(read_comet_file(path))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(document, dict):
        raise _damaged(path, "it is no JSON object")
    return document


def _damaged(path: Path, why: str) -> IntegrityError:
    return IntegrityError(
        "ledger.comet_home_damaged",
        f"{path} cannot be read: {why[:200]}",
        next_step="restore the home from a backup",
    )


def comet_genesis(
    *, chain_id: str, time_ms: int, validators: Sequence[GenesisValidator], max_block_bytes: int = MAX_BLOCK_BYTES
) -> dict[str, Any]:
    """Return the CometBFT genesis document of a network: identical on all its nodes.

    Vote extensions are on from the first block; evidence of misbehaviour is kept for two days.
    """
    return {
        "genesis_time": _rfc3339(time_ms),
        "chain_id": chain_id,
        "initial_height": "1",
        "consensus_params": {
            "block": {"max_bytes": str(max_block_bytes), "max_gas": "-1"},
            "evidence": {"max_age_num_blocks": "100000", "max_age_duration": "172800000000000", "max_bytes": "65536"},
            "validator": {"pub_key_types": ["ed25519"]},
            "version": {"app": "0"},
            "abci": {"vote_extensions_enable_height": "1"},
        },
        "validators": [
            {
                "address": address_of(each.key).hex().upper(),
                "pub_key": {"type": "tendermint/PubKeyEd25519", "value": _base64(each.key)},
                "power": str(each.power),
                "name": each.name,
            }
            for each in validators
        ],
        "app_hash": "",
    }


def state_sync_settings(*, rpc_servers: Sequence[str], height: int, block_hash: str) -> dict[str, Setting]:
    """Return the settings by which a new node joins from a snapshot, trusting one block it was told of."""
    return {
        "enable": True,
        "rpc_servers": ",".join(rpc_servers),
        "trust_height": height,
        "trust_hash": block_hash,
        "trust_period": "168h0m0s",
        "discovery_time": "5s",
        "chunk_request_timeout": "10s",
        "chunk_fetchers": "4",
    }


def config_text(settings: HomeSettings) -> str:
    """Return the configuration of a node, in CometBFT's form."""
    pace = settings.pace
    sections: dict[str, Mapping[str, Setting]] = {
        "rpc": {"laddr": f"unix://{RPC_SOCKET}", "max_request_batch_size": 0, "max_body_bytes": 16 * 1024 * 1024},
        "p2p": {
            "laddr": settings.p2p,
            "persistent_peers": ",".join(settings.peers),
            "persistent_peers_max_dial_period": "1s",
            "pex": False,
            "addr_book_strict": False,
            "allow_duplicate_ip": True,
            "send_rate": 51_200_000,
            "recv_rate": 51_200_000,
            "max_packet_msg_payload_size": 65_536,
        },
        "mempool": {
            "type": "flood",
            # What another block made refusable is refused by its own block, which answers the caller that waits for it.
            "recheck": False,
            "size": MEMPOOL_TRANSACTIONS,
            "cache_size": 2 * MEMPOOL_TRANSACTIONS,
            "max_tx_bytes": 65_536,
            "max_txs_bytes": 256 * 1024 * 1024,
        },
        "consensus": {
            "timeout_propose": f"{pace.propose_ms}ms",
            "timeout_propose_delta": f"{pace.propose_ms // 4}ms",
            "timeout_prevote": f"{pace.vote_ms}ms",
            "timeout_prevote_delta": f"{pace.vote_ms // 2}ms",
            "timeout_precommit": f"{pace.vote_ms}ms",
            "timeout_precommit_delta": f"{pace.vote_ms // 2}ms",
            "timeout_commit": f"{pace.commit_ms}ms",
            "create_empty_blocks": False,
        },
        "tx_index": {"indexer": "null"},
        "statesync": settings.sync,
    }
    top = {"proxy_app": settings.app, "moniker": settings.moniker, "log_level": "info"}
    lines = [_setting(name, value) for name, value in top.items()]
    for section, values in sections.items():
        lines += ["", f"[{section}]", *(_setting(name, value) for name, value in values.items())]
    return "\n".join(lines) + "\n"


def _setting(name: str, value: Setting) -> str:
    # A JSON string is a TOML basic string as long as it is ASCII, which json.dumps sees to.
    return f"{name} = {json.dumps(value)}"


def validator_key_text(seed: bytes) -> str:
    """Return the file of the key that a validator votes with, in CometBFT's form."""
    key = public_key_of(seed)
    document = {
        "address": address_of(key).hex().upper(),
        "pub_key": {"type": "tendermint/PubKeyEd25519", "value": _base64(key)},
        "priv_key": _private(seed),
    }
    return json.dumps(document)


def _private(seed: bytes) -> dict[str, str]:
    return {"type": "tendermint/PrivKeyEd25519", "value": _base64(seed + public_key_of(seed))}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _rfc3339(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms // 1000, tz=UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"


def _write(path: Path, text: str, *, mode: int) -> None:
    write_file(path, [text.encode()], mode=mode)


class ValidatorKeyFiles:
    """The key that a validator votes with, and the one that takes its place, in a home that ``write_home`` wrote.

    ::

        config/priv_validator_key.json         the key in use; CometBFT reads it when it starts
        config/priv_validator_key.next.json    made, and not in use yet

    The next key is written whole before the ledger hears of it, and takes the other's place at once, while the node is
    down; a crash at any step leaves a home that can go on. The former key is gone then: no note was ever signed with
    it. What the node signed last stays as it is [ABCI-11].
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / "config"
        self._current = self._folder / VALIDATOR_KEY_FILE
        self._next = self._folder / NEXT_FILE

    def current(self) -> bytes | None:
        """Return the raw public key in use, None where its file cannot be read."""
        return _public_key(self._current)

    def next(self) -> bytes | None:
        """Return the raw public key that was made to take its place, None where there is none."""
        return _public_key(self._next)

    def current_key(self) -> SigningKey | None:
        """Return the key in use itself, to prove that its validator holds it [MEMBER-24]."""
        return _key(self._current)

    def make_next(self, entropy: Entropy) -> SigningKey:
        """Write a fresh next key and return it, or return the one that is there already."""
        found = _key(self._next)
        if found is not None:
            return found
        seed = entropy(SEED_BYTES)
        replace_file(self._next, validator_key_text(seed).encode(), mode=SECRET_MODE)
        return signing_key_of(seed)

    def switch(self) -> None:
        """Put the next key in the place of the one in use; raises Unavailable ``ledger.validator_key_kept``."""
        try:
            move_into_place(self._next, self._current)
        except OSError as error:
            raise Unavailable(
                "ledger.validator_key_kept",
                f"the new validator key could not take the place of {self._current}: {error}",
                next_step="free disk space or check the disk, then start the node: it goes on from here",
            ) from error


def _public_key(path: Path) -> bytes | None:
    key = _key(path)
    return None if key is None else key.public_key


def _key(path: Path) -> SigningKey | None:
    try:
        document = json.loads(read_comet_file(path))
        # The private part is what votes are signed with, whatever stands beside it.
        secret = base64.b64decode(document["priv_key"]["value"], validate=True)
    except (IntegrityError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return signing_key_of(secret[:SEED_BYTES]) if len(secret) == _SECRET_BYTES else None
