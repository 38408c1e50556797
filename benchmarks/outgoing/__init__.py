"""What benchmarks of sending share: a simulated Meta, a process of its own, and messages to send."""
