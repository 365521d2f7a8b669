"""The suite for projects without one: `pytest --pyargs fastdiff.suite`. `perf_tests/` holds the same files."""
