"""What may be said unprompted: message templates."""
