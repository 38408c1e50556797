"""A password hasher that takes as long as a test wants."""

from __future__ import annotations

import os
import threading

from django.contrib.auth.hashers import MD5PasswordHasher

begun, let_go = threading.Semaphore(0), threading.Event()
niceness: list[int] = []


class WaitingHasher(MD5PasswordHasher):
    """Hashes once ``let_go`` is set; ``begun`` counts who has come so far, ``niceness`` how far
    their threads stand back.
    """

    def encode(self, password: str, salt: str) -> str:
        niceness.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        begun.release()
        assert let_go.wait(120)
        return super().encode(password, salt)
