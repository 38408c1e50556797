"""What benchmarks of sending share: a simulated Meta, as a process, and messages to send."""
