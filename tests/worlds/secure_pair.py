"""A bank and a bureau that compute together, each by a worker process of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import numpy as np

from patience import PATIENCE_S
from shuiqiao.base.ids import MemberId
from shuiqiao.privacy.secure.links import SecureLinks

BANK, BUREAU = MemberId("bank-a"), MemberId("tax-a")
BINDING = sha256(b"a request").digest()


class SecurePair:
    """The links of both, on this machine."""

    def __init__(self, *, workers=2):
        self.bank = SecureLinks(workers=workers, timeout_s=PATIENCE_S)
        self.bureau = SecureLinks(listen="127.0.0.1:0", workers=workers, timeout_s=PATIENCE_S)

    def lose_patience(self):
        """Wait for nothing from now on, where what is waited for never comes."""
        self.bank._timeout_s = self.bureau._timeout_s = 0.5

    def open(self):
        answer = self.bureau.accept(BANK, self.bank.offer(BUREAU))
        self.bank.connect(BUREAU, answer)
        return self

    def halves(self, function, weights, holds, *, theirs=None, their_binding=BINDING):
        """Run both halves; return what came of each, an error too. theirs: the bureau's function, another one."""
        with ThreadPoolExecutor(2) as pool:
            bank = pool.submit(self.bank.run, BUREAU, function, weights, binding=BINDING)
            bureau = pool.submit(self.bureau.run, BANK, theirs or function, holds, binding=their_binding)
            return [each.exception() or each.result() for each in (bank, bureau)]

    def outputs(self, function, weights, holds):
        halves = self.halves(function, weights, holds)
        for each in halves:
            if isinstance(each, Exception):
                raise each
        return function.combine_all(*halves)

    def workers(self):
        """Return the process ids of both workers, the bank's first."""
        return [*self.bank.worker_pids, *self.bureau.worker_pids]

    def close(self):
        self.bank.close()
        self.bureau.close()


def rows_of(random, *, rows, features=20, bins=5):
    """Return indicators of taxpayers: of each feature one bin holds."""
    holds = np.zeros((rows, features * bins), dtype=np.int64)
    holds[np.arange(rows)[:, np.newaxis], np.arange(features) * bins + random.integers(0, bins, (rows, features))] = 1
    return holds
