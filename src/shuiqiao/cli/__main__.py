"""Lets ``python -m shuiqiao.cli`` be the command: how a process is started that needs no script on the search path."""

from __future__ import annotations

from shuiqiao.cli.door import main

if __name__ == "__main__":
    main()
