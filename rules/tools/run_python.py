"""Runs a user's script with the packages of an environment.

usage: run_python.py SITE_TREE|-|+ SCRIPT ARGS...

The script sees what `python SCRIPT ARGS...` would show it in a virtual environment that holds the
packages of SITE_TREE, with the working directory importable too; nothing of the host's packages.
With `+` it sees the interpreter's own packages: those of an image.

With MLBUILD_SEED, the generators of `random`, NumPy and PyTorch begin with that seed as soon as the
script imports them; with MLBUILD_DETERMINISM=bitwise, PyTorch uses deterministic algorithms only.
"""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import os
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType, TracebackType

# No packages of the host, no working directory by accident, no bytecode files. `-I` is too much:
# it would ignore PYTHONHASHSEED, and the order of a script's sets would change from run to run.
FLAGS = ("-S", "-s", "-P", "-B")


def main() -> None:
    """Prepare what the script is to see, then become it."""
    if len(sys.argv) < 3:  # noqa: PLR2004 - two words must follow our own
        sys.exit("usage: run_python.py SITE_TREE|-|+ SCRIPT ARGS...")
    if sys.argv[1] == "+":  # run without FLAGS, which older versions of Python do not all know
        del sys.path[0]
    elif sys.flags.ignore_environment or not (sys.flags.no_site and sys.flags.safe_path):
        os.execv(sys.executable, [sys.executable, *FLAGS, *sys.argv])  # noqa: S606 - as above
    site_tree, script, *args = sys.argv[1:]
    packages = "" if site_tree in {"-", "+"} else os.path.abspath(site_tree)
    share_with_children(packages)
    seed_what_is_imported()
    import_from(os.path.dirname(os.path.abspath(script)), packages)
    sys.argv = [script, *args]
    run(script)


def share_with_children(packages: str) -> None:
    """Let programs that the script starts find its packages, their commands and its Python."""
    variables = os.environ  # noqa: TID251 - a program of its own: nothing else hands it down
    folders = [os.getcwd(), packages, variables.get("PYTHONPATH", "")]
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
    commands = [f"{packages}/bin" if packages else "", os.path.dirname(sys.executable)]
    variables["PATH"] = os.pathsep.join(
        [*filter(None, commands), variables.get("PATH", os.defpath)]
    )


def import_from(folder: str, packages: str) -> None:
    """Set the import path: the script's folder, the workspace, the library, the packages."""
    import site  # noqa: PLC0415 - imported late: it must not run by itself (-S)

    sys.path[:0] = list(dict.fromkeys([folder, os.getcwd()]))
    if packages:
        site.addsitedir(packages)
    # What `site` gives every script when Python starts it.
    site.setquit()
    site.setcopyright()
    site.sethelper()


def seed_what_is_imported() -> None:
    """Have generators of numbers seeded once they are imported; nothing is imported for that."""
    variables = os.environ  # noqa: TID251 - a program of its own
    seed = variables.get("MLBUILD_SEED", "")
    if seed.lstrip("-").isdigit():
        bitwise = variables.get("MLBUILD_DETERMINISM") == "bitwise"
        sys.meta_path.insert(0, Seeder(int(seed), bitwise=bitwise))


class Seeder:
    """Finds no module itself. Has those that draw numbers seeded when they have been loaded."""

    def __init__(self, seed: int, *, bitwise: bool) -> None:
        self.seed = seed
        self.bitwise = bitwise
        self.unseeded: dict[str, Callable[[ModuleType], None]] = {
            "random": self.random,
            "numpy.random": self.numpy,
            "torch": self.torch,
        }

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return what another finder finds, prepared to be seeded; None for all other modules."""
        seed = self.unseeded.pop(name, None)
        if seed is None:
            return None
        found = (one.find_spec(name, path, target) for one in sys.meta_path if one is not self)
        spec = next(filter(None, found), None)
        if spec is not None and hasattr(spec.loader, "__dict__"):
            loader = spec.loader
            assert loader is not None
            load = loader.exec_module

            def load_and_seed(module: ModuleType) -> None:
                del vars(loader)["exec_module"]
                load(module)
                seed(module)

            vars(loader)["exec_module"] = load_and_seed
        return spec

    def random(self, random: ModuleType) -> None:
        """Seed the generator that the functions of `random` share."""
        random.seed(self.seed)

    def numpy(self, random: ModuleType) -> None:
        """Seed the generator that the functions of `numpy.random` share."""
        random.seed(self.seed % 2**32)

    def torch(self, torch: ModuleType) -> None:
        """Seed the generators of all devices."""
        torch.manual_seed(self.seed)
        if self.bitwise:
            torch.use_deterministic_algorithms(True)
            torch.backends.cudnn.benchmark = False


def run(script: str) -> None:
    """Run `script` as `__main__`. Its tracebacks begin with its own lines, not with ours."""
    try:
        with open(script, "rb") as file:
            source = file.read()
    except OSError as error:
        sys.exit(f"cannot read `{script}`: {error.strerror}")
    module = ModuleType("__main__")
    module.__file__ = os.path.abspath(script)
    sys.modules["__main__"] = module
    try:
        code = compile(source, script, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        report(error, None)
    try:
        exec(code, vars(module))  # noqa: S102 - this is the purpose
    except Exception as error:  # noqa: BLE001 - whatever the script lets through
        traceback = error.__traceback__
        report(error, traceback.tb_next if traceback else None)


def report(error: Exception, traceback: TracebackType | None) -> None:
    """Show `error` as Python would, and end with its exit code."""
    sys.stdout.flush()
    sys.excepthook(type(error), error.with_traceback(traceback), traceback)
    sys.exit(1)


if __name__ == "__main__":
    main()
