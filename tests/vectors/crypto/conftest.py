"""A second SM2, written from the standard with nothing but integers: slow, never with real keys, but independent."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

Point = tuple[int, int] | None


class PlainSm2:
    p = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
    a = p - 3
    b = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
    n = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
    g = (
        0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
        0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
    )

    def add(self, one: Point, two: Point) -> Point:
        if one is None or two is None:
            return one or two
        if one[0] == two[0] and (one[1] + two[1]) % self.p == 0:
            return None
        if one == two:
            slope = (3 * one[0] ** 2 + self.a) * pow(2 * one[1], -1, self.p)
        else:
            slope = (two[1] - one[1]) * pow(two[0] - one[0], -1, self.p)
        x = (slope * slope - one[0] - two[0]) % self.p
        return x, (slope * (one[0] - x) - one[1]) % self.p

    def multiply(self, factor: int, point: Point) -> Point:
        result: Point = None
        while factor:
            if factor & 1:
                result = self.add(result, point)
            point = self.add(point, point)
            factor >>= 1
        return result

    def encode(self, point: Point) -> bytes:
        assert point is not None
        return b"\x04" + point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")

    def z(self, public_key: bytes, user_id: bytes) -> bytes:
        numbers = b"".join(value.to_bytes(32, "big") for value in (self.a, self.b, *self.g))
        return self.sm3((len(user_id) * 8).to_bytes(2, "big") + user_id + numbers + public_key[1:])

    def sign(self, private: int, *, e: bytes, k: int) -> bytes:
        point = self.multiply(k, self.g)
        assert point is not None
        r = (int.from_bytes(e, "big") + point[0]) % self.n
        s = pow(1 + private, -1, self.n) * (k - r * private) % self.n
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def encrypt(self, public: Point, plaintext: bytes, *, k: int) -> bytes:
        shared = self.encode(self.multiply(k, public))[1:]
        stream = b"".join(
            self.sm3(shared + counter.to_bytes(4, "big")) for counter in range(1, len(plaintext) // 32 + 2)
        )
        c2 = bytes(one ^ two for one, two in zip(plaintext, stream, strict=False))
        c3 = self.sm3(shared[:32] + plaintext + shared[32:])
        return self.encode(self.multiply(k, self.g)) + c3 + c2

    @staticmethod
    def sm3(data: bytes) -> bytes:
        return hashlib.new("sm3", data).digest()


@pytest.fixture(scope="session")
def plain_sm2() -> PlainSm2:
    return PlainSm2()


@pytest.fixture(scope="session")
def vectors() -> Any:
    folder = Path(__file__).parent
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
