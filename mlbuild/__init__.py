"""mlbuild: a build system for machine learning."""

__version__ = "0.1.0"
