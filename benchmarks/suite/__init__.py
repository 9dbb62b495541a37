"""What ``benchmarks/bench.py`` measures, a module for each room of the house, and how it is told."""
