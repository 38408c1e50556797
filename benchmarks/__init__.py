"""Measure this system against its limits and against what one would build otherwise, in one run."""
