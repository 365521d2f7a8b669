"""This repository's own pytest settings. A project that uses fastdiff adds its models and stages in such a file."""

pytest_plugins = ["pytester"]
