"""``python -m lambda_wire``: the same as ``lambda-wire``."""

from __future__ import annotations

import sys

from lambda_wire.cli import main

if __name__ == "__main__":
    sys.exit(main())
