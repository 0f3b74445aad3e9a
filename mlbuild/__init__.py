"""mlbuild: a build system for machine learning.

For programs and notebooks: `Workspace(".").build("//...")` and `load("//models:lenet")`.
"""

__version__ = "0.1.0"
__all__ = ["Built", "Loaded", "Workspace", "__version__", "load"]

TYPE_CHECKING = False  # checkers of types take it for true; `typing` would cost start-up time
if TYPE_CHECKING:
    from mlbuild.face import Built, Loaded, Workspace, load


def __getattr__(name: str) -> object:
    """Load what programs use when they use it: the command line, which starts here, does not."""
    if name not in __all__:
        raise AttributeError(f"module `mlbuild` has no attribute `{name}`")
    from mlbuild import face  # noqa: PLC0415 - start-up

    found: object = getattr(face, name)
    return found
