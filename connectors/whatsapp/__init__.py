"""Meta's Cloud API: callbacks are received, stored, answered and processed; sends are posted."""
