"""Benches: speed as ratios within one run on one machine. `make bench` runs them and writes docs/reference/performance.md."""
