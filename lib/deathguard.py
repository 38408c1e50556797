"""Become another program that ends when its starter ends, and that drops root where asked to.

A script of its own rather than a ``preexec_fn``: the starter may have threads, and this way it may
be killed with -9 and leaves nothing behind. Standard library only, started with ``-I -S``, so that
it costs 15 ms.
"""

from __future__ import annotations

import ctypes
import enum
import os
import pwd
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1


class Identity(enum.StrEnum):
    """As whom the program runs."""

    SAME = "same"
    # Root outside, ``nobody`` inside a user namespace: files stay root's, nothing is created or
    # chmodded.
    NAMESPACE = "namespace"
    # Really ``nobody``, for hosts that forbid user namespaces.
    NOBODY = "nobody"


class UnableToDropRoot(Exception):
    """The kernel refused the user namespace."""


def guarded(
    argv: Sequence[str], *, stop_signal: int = signal.SIGTERM, identity: Identity = Identity.SAME
) -> tuple[str, ...]:
    """Return the command line that runs ``argv`` and sends it ``stop_signal`` when the caller dies.

    The tie is to the calling *thread* (prctl(2), PR_SET_PDEATHSIG): call it from one that lives as
    long as the process. On systems without prctl the program runs untied.
    """
    tie = (str(os.getpid()), str(int(stop_signal)), identity.value)
    return (sys.executable, "-I", "-S", __file__, *tie, *argv)


def _enter_namespace(libc: ctypes.CDLL) -> None:
    nobody, uid, gid = pwd.getpwnam("nobody"), os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWUSER):
        raise UnableToDropRoot(os.strerror(ctypes.get_errno()))
    # user_namespaces(7): setgroups has to be denied before an unprivileged gid_map is accepted.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{nobody.pw_uid} {uid} 1\n")
    Path("/proc/self/gid_map").write_text(f"{nobody.pw_gid} {gid} 1\n")


def _become_nobody() -> None:
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)


def _arm(libc: ctypes.CDLL, parent: int, stop_signal: int) -> None:
    libc.prctl(PR_SET_PDEATHSIG, stop_signal)
    # The parent may have died before the call; then nobody would ever send the signal.
    if os.getppid() != parent:
        sys.exit(0)


def main() -> None:
    """Take ``parent-pid signal identity program arguments…`` from the command line."""
    parent, stop_signal, identity, *argv = sys.argv[1:]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if identity == Identity.NAMESPACE:
            _enter_namespace(libc)
        elif identity == Identity.NOBODY:
            _become_nobody()
        # Last, because a change of credentials clears it.
        _arm(libc, int(parent), int(stop_signal))
    os.execv(argv[0], argv)  # noqa: S606 (no shell is the point)


if __name__ == "__main__":
    main()
