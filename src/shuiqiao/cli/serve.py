"""``shuiqiao serve``: one institution's server, until it is asked to stop."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from shuiqiao.cli.options import Home, Json
from shuiqiao.cli.output import print_json, say, say_rows, warn

if TYPE_CHECKING:
    from shuiqiao.api.serving import Listening


def serve(
    *,
    home: Home,
    listen: Annotated[
        str, typer.Option("--listen", help="host:port for callers with a token, else as node.toml says 监听地址.")
    ] = "",
    peer_listen: Annotated[
        str, typer.Option("--peer-listen", help="host:port for other members, else as node.toml says 成员间地址.")
    ] = "",
    json: Json = False,
) -> None:
    """Run this institution's server until SIGTERM or Ctrl-C 运行机构服务."""
    from shuiqiao.api.serving import Addresses, serve_home
    from shuiqiao.node.home.settings import Home as HomeFolder

    def tell(listening: Listening) -> None:
        result = {
            "member": listening.member,
            "role": listening.role,
            "pid": os.getpid(),
            "listen": listening.public,
            "peer_listen": listening.peers,
            "socket": str(listening.socket),
        }
        if listening.unfollowed:
            warn(
                f"{listening.unfollowed} other members cannot follow this writer: its server listens for none; name "
                "peer_listen in node.toml, or --peer-listen 其他成员无法跟随本记账者"
            )
        if json:
            print_json(result)
        else:
            say_rows({name: value for name, value in result.items() if value}, width=12)
            say("stop with Ctrl-C or SIGTERM 按 Ctrl-C 停止")

    serve_home(HomeFolder(home), addresses=Addresses(listen=listen, peer_listen=peer_listen), when_ready=tell)
