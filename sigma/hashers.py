"""How passwords are hashed."""

from __future__ import annotations

from django.contrib.auth.hashers import Argon2PasswordHasher


class OneLaneHasher(Argon2PasswordHasher):
    """Django's Argon2, the same work and memory on one core: its eight lanes would take every core
    from the API at once. Older hashes are opened as they are, and made anew at the next sign-in.
    """

    parallelism = 1
