"""The doors to the outside: one package per door."""
