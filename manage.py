#!/usr/bin/env python3
"""Run SIGMA's management commands; ``manage.py help`` lists them."""

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line

from sigma import reachable


def main() -> None:
    """Run the command named on the command line; an engine that is away is one sentence."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sigma.settings")
    try:
        execute_from_command_line(sys.argv)
    except Exception as error:
        remedy = "" if "--traceback" in sys.argv else reachable.remedy_for(error)
        if not remedy:
            raise
        sys.exit(f"sigma: {remedy}")


if __name__ == "__main__":
    main()
