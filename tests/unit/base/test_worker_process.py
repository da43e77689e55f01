"""What a confined worker may use: beyond it, it fails or is ended by the system."""

from __future__ import annotations

import signal
import subprocess
import sys

CONFINED = "from shuiqiao.base.worker_process import allow_cpu, confine_worker\nconfine_worker(memory_bytes=1 << 28)\n"


def run(program):
    return subprocess.run([sys.executable, "-c", CONFINED + program], capture_output=True, text=True, check=False)


def test_memory_beyond_the_limit_is_not_given():
    ended = run("try:\n    bytearray(1 << 28)\nexcept MemoryError:\n    print('refused')\n")
    assert (ended.returncode, ended.stdout) == (0, "refused\n")


def test_processor_time_beyond_the_limit_ends_it():
    assert run("allow_cpu(0)\nwhile True:\n    pass\n").returncode == -signal.SIGXCPU


def test_time_is_given_anew_for_each_piece_of_work():
    ended = run(
        "import resource, time\n"
        "for _ in range(3):\n"
        "    allow_cpu(1)\n"
        "    until = time.process_time() + 0.7\n"
        "    while time.process_time() < until:\n"
        "        pass\n"
        "print('done')\n"
    )
    assert (ended.returncode, ended.stdout) == (0, "done\n")


def test_no_file_is_written(tmp_path):
    program = (
        "import os, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"file = os.open({str(tmp_path / 'file')!r}, os.O_CREAT | os.O_WRONLY)\n"
        "try:\n    os.write(file, b'x')\nexcept OSError:\n    print('refused')\n"
    )
    assert run(program).stdout == "refused\n"
    assert (tmp_path / "file").stat().st_size == 0
