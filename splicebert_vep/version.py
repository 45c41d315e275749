"""The version of the program, which provenance and plugins name; the package itself imports everything."""

__version__ = "0.1.0"
