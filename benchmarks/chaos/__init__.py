"""Kill everything in turn under traffic, then count: nothing may be lost, nothing doubled."""
