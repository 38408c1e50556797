"""What one would write first: a Django view that verifies and calls ``.delay()``, an ORM task."""
