"""What benchmarks of sending share: a simulated Meta in a process of its own, and owed messages."""
