"""Delivering: claim what is owed, send it at the platform's pace, record what came of it."""
