"""Delivering: claim what is pending, send it at the platform's pace, record what came of it."""
