"""Where each member is reached, and whether this home asks there: its settings first, then the ledger [PEER-6].

``peers`` in node.toml names an address for a member before this home has any block, or in the place of the one on the
ledger; the owner of this home wrote it, so it may be private. An address that a member put on the ledger itself is
asked only where it is public, and only at public addresses that its name leads to: no member makes this home's server
ask what stands beside it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shuiqiao.base.errors import Denied, InvalidInput, Unavailable
from shuiqiao.members.endpoint import Endpoint, decode_endpoint, endpoint_of_text, is_private_host
from shuiqiao.members.roster import endpoint_key

if TYPE_CHECKING:
    from shuiqiao.base.ids import MemberId
    from shuiqiao.client.connection import Address
    from shuiqiao.ledger.model import StateView


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Where a member is reached. is_listed: this home's own settings say so, so a private address is meant."""

    endpoint: Endpoint
    is_listed: bool

    def may_connect(self, address: Address) -> bool:
        """Tell whether an address that the endpoint's name leads to is asked; it is the one that is connected to."""
        return self.is_listed or all(map(_is_public, (address, *_carried(address))))


_NEVER_PUBLIC: Final = tuple(
    map(ipaddress.ip_network, ("192.0.0.0/24", "64:ff9b:1::/48", "fec0::/10", "5f00::/16")),
)
"""Of protocols, of a network's own translation, of a site, of its segments: Python takes some of these for global."""

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE: Final = ipaddress.ip_network("::/96")
_IPV4_BITS: Final = 0xFFFF_FFFF


def _is_public(address: Address) -> bool:
    if any(address in network for network in _NEVER_PUBLIC if network.version == address.version):
        return False
    return address.is_global and not address.is_multicast


def _carried(address: Address) -> tuple[Address, ...]:
    """Return the IPv4 addresses that a gateway makes of an IPv6 one: it leads where they do (RFC 6052, 3056, 4380)."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or address in _COMPATIBLE:
        found.append(ipaddress.IPv4Address(int(address) & _IPV4_BITS))
    return tuple(each for each in found if each is not None)


class PeerDirectory:
    """The addresses of the other members.

    Example: ``PeerDirectory(listed=settings.peers, state=engine.state).find(MemberId("bank-east")).endpoint.url``
    """

    def __init__(self, *, listed: Mapping[str, str], state: Callable[[], StateView | None]) -> None:
        """listed: member to address, as node.toml has them. state: gives None where nothing is known of the ledger yet.

        Raises InvalidInput ``node.settings_invalid``.
        """
        self._listed = {member: _listed(member, text) for member, text in listed.items()}
        self._state = state

    def has(self, member: MemberId) -> bool:
        """Tell whether some address of a member is known."""
        return member in self._listed or self._on_ledger(member) is not None

    def find(self, member: MemberId) -> Reach:
        """Return where a member is reached now.

        Raises Unavailable ``peer.endpoint_unknown``, Denied ``peer.endpoint_private``.
        """
        listed = self._listed.get(member)
        if listed is not None:
            return Reach(endpoint=listed, is_listed=True)
        found = self._on_ledger(member)
        if found is None:
            raise Unavailable(
                "peer.endpoint_unknown", f"neither the ledger nor node.toml says where {member} is reached"
            )
        if is_private_host(found.host):
            raise Denied(
                "peer.endpoint_private",
                f"{member} says it is reached at {found.url}, a private address that node.toml does not list",
            )
        return Reach(endpoint=found, is_listed=False)

    def _on_ledger(self, member: MemberId) -> Endpoint | None:
        state = self._state()
        value = None if state is None else state.get(endpoint_key(member))
        return None if value is None else decode_endpoint(value["url"], pin=value["pin"])


def _listed(member: str, text: str) -> Endpoint:
    try:
        return endpoint_of_text(text)
    except InvalidInput as error:
        raise InvalidInput("node.settings_invalid", f"peers.{member}: {error.message}") from error
