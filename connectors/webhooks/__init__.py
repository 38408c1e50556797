"""Meta's callbacks: received, stored before they are answered, processed later."""
