"""Run by root, the tests must still show that a user without any rights can run the project."""

import subprocess
import sys
from pathlib import Path

import pytest


def python_for_nobody(folder: Path) -> str:
    """Return an interpreter that a user without rights may run; ours can lie in a private home."""
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            probe = subprocess.run(
                [python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"],
                user="nobody",
                cwd=folder,
                capture_output=True,
                check=False,
            )
        except OSError:
            continue
        if probe.returncode == 0:
            return python
    pytest.skip("no Python 3.11 or newer that an ordinary user may run is on this machine")
