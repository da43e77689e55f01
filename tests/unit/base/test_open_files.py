"""A process may have as many open files as the system gives when it is asked."""

from __future__ import annotations

import resource

from shuiqiao.base.open_files import allow_open_files


def test_what_the_system_gives_when_asked_is_asked_for_once():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[0], 512), before[1]))
        found = allow_open_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (found, before[1])
        assert allow_open_files() == found > 512
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
