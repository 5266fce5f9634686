"""Ratios against plain PyG loops, memory, overhead and scaling: `python -m benchmarks`; see docs/performance.md."""
