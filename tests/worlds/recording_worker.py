"""A worker of a secure link that writes down what it sends to the other side, before TLS."""

from __future__ import annotations

import os
from pathlib import Path

from shuiqiao.privacy.secure import channel
from shuiqiao.privacy.secure.worker import run_worker


def run_recording(*arguments: str) -> None:
    """Be a worker. What it sends goes to a file in the folder that RECORDED names, called by its rank too."""
    place = Path(os.environ["RECORDED"]) / arguments[0]
    send = channel.Frames.send

    def recorded(self: channel.Frames, key: str, data: bytes) -> None:
        with place.open("ab") as file:
            file.write(data)
        send(self, key, data)

    channel.Frames.send = recorded
    run_worker(*arguments)
