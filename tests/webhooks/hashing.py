"""A password hasher that takes as long as a test wants."""

from __future__ import annotations

import threading

from django.contrib.auth.hashers import MD5PasswordHasher

begun, let_go = threading.Semaphore(0), threading.Event()


class WaitingHasher(MD5PasswordHasher):
    """Hashes once ``let_go`` is set; ``begun`` counts who has come so far."""

    def encode(self, password: str, salt: str) -> str:
        begun.release()
        assert let_go.wait(120)
        return super().encode(password, salt)
