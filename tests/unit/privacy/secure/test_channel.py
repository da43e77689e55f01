"""Frames between two ends of one TLS connection: order, limits, strangers, and an end that both notice."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from patience import PATIENCE_S
from shuiqiao.base.errors import Unavailable
from shuiqiao.privacy.secure.channel import LinkCertificate, accept, connect, listen


class Ends:
    def __init__(self, *, timeout_s=PATIENCE_S, host="127.0.0.1"):
        self.host, self.bank, self.bureau = host, LinkCertificate(), LinkCertificate()
        self.listener = listen(host, 0, ports=1)
        self.port = self.listener.getsockname()[1]
        self.timeout_s = timeout_s

    def open(self):
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(self.accept)
            ours = self.connect(self.bank)
            theirs = coming.result()
        self.ended = [threading.Event(), threading.Event()]
        for frames, event in zip((ours, theirs), self.ended, strict=True):
            frames.begin(event.set)
        return ours, theirs

    def accept(self):
        context = self.bureau.context([self.bank.der], is_server=True)
        return accept(self.listener, context, peers=[self.bank.der], timeout_s=self.timeout_s)[1]

    def connect(self, certificate, *, peer=None):
        peer = peer or self.bureau.der
        context = certificate.context([peer], is_server=False)
        return connect(self.host, self.port, context, peer=peer, timeout_s=self.timeout_s)


@pytest.fixture
def ends():
    made = Ends()
    yield made
    made.listener.close()


def test_frames_of_a_key_come_in_order_and_large_ones_whole_both_ways_at_once(ends):
    bank, bureau = ends.open()
    large = os.urandom(3_000_000)

    def talk(mine):
        for place in range(3):
            mine.send("a", bytes([place]))
            mine.send("large", large)
        return [mine.receive("large") == large for _ in range(3)] + [mine.receive("a") for _ in range(3)]

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(talk, (bank, bureau)))
    assert found == [[True, True, True, b"\0", b"\x01", b"\x02"]] * 2
    assert not bureau.is_ended
    bank.close()
    assert all(event.wait(PATIENCE_S) for event in ends.ended)
    assert bureau.is_ended
    with pytest.raises(Unavailable, match=r"privacy\.secure_peer_silent"):
        bureau.receive("a")


def test_an_address_of_the_sixth_version_stands_in_brackets():
    ends = Ends(host="[::1]")
    bank, bureau = ends.open()
    bank.send("a", b"1")
    assert bureau.receive("a") == b"1"
    bank.close()
    assert all(event.wait(PATIENCE_S) for event in ends.ended)
    ends.listener.close()


def test_a_stranger_is_turned_away_and_who_was_offered_still_gets_in(ends):
    """[SECURE-6]"""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(ends.accept)
        stranger = ends.connect(LinkCertificate())
        ended = threading.Event()
        stranger.begin(ended.set)
        with pytest.raises(Unavailable, match=r"privacy\.secure_peer_silent"):
            stranger.receive("anything")
        bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
        with bare.wrap_socket(socket.create_connection(("127.0.0.1", ends.port))) as link:
            assert is_hung_up(link)
        with socket.create_connection(("127.0.0.1", ends.port)) as link:
            link.sendall(b"GET / HTTP/1.1\r\n\r\n")
        ours, theirs = ends.connect(ends.bank), coming.result()
    over = [threading.Event(), threading.Event()]
    for frames, event in zip((ours, theirs), over, strict=True):
        frames.begin(event.set)
    ours.send("a", b"1")
    assert theirs.receive("a") == b"1"
    ours.close()
    assert all(event.wait(PATIENCE_S) for event in over)


def is_hung_up(link):
    try:
        return link.recv(1) == b""
    except OSError:
        return True


def test_a_bureau_of_another_certificate_is_not_talked_to():
    ends = Ends(timeout_s=0.3)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(ends.accept)
        with pytest.raises(Unavailable, match=r"privacy\.secure_peer_silent.*certificate verify failed"):
            ends.connect(ends.bank, peer=LinkCertificate().der)
        with pytest.raises(Unavailable, match=r"privacy\.secure_peer_silent"):
            coming.result()
    ends.listener.close()


@pytest.mark.parametrize("head", [struct.pack(">HI", 257, 0), struct.pack(">HI", 1, 64 * 2**20 + 1)])
def test_a_frame_beyond_the_limits_ends_the_link(ends, head):
    bank, bureau = ends.open()
    with bank._wire:
        bank._tls.write(head)
        bank._connection.sendall(bank._outgoing.read())
    assert all(event.wait(PATIENCE_S) for event in ends.ended)
    with pytest.raises(Unavailable, match=r"privacy\.secure_peer_silent.*a frame of"):
        bureau.receive("a")


def test_who_does_not_come_is_not_waited_for():
    ends = Ends(timeout_s=0.05)
    with pytest.raises(Unavailable, match=r"privacy\.secure_peer_silent"):
        ends.accept()
    ends.listener.close()
    with pytest.raises(Unavailable, match=r"privacy\.secure_peer_silent"):
        ends.connect(ends.bank)


def test_a_taken_port_gives_way_to_the_next(ends):
    """[SECURE-6]"""
    with listen("127.0.0.1", ends.port, ports=20) as other:
        assert ends.port < other.getsockname()[1] < ends.port + 20
    with pytest.raises(Unavailable, match=r"privacy\.secure_not_set_up"):
        listen("127.0.0.1", ends.port, ports=1)
