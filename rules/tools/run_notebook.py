"""Runs a notebook in a kernel of its own; writes it with its outputs, the same bytes every time.

usage: run_notebook.py --packages TREE --folder DIR --notebook IN --out OUT [--path=NAME=PATH]...
       run_notebook.py --kernel DIR WORDS...

Started by run_python.py, which lets it import `nbclient` and `ipykernel`. The kernel is this
program once more, so that it sees what a script would. DIR, where the notebook stands, is
importable there. The params of $MLBUILD_CONTEXT are assigned after the cell with the tag
`parameters`, or before all cells; so is each path.
"""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import argparse
import json
import keyword
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

FLAGS = ("-S", "-s", "-P", "-B")  # as run_python.py has them
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
OVERWRITTEN = re.compile(r"[^\n]*\r(?!\n)")  # by a progress bar, say
ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")
SOCKET_PATH = 90  # characters; a Unix socket's path has at most 107


def main() -> None:
    """Run the notebook, or be its kernel."""
    if sys.argv[1:2] == ["--kernel"]:
        be_kernel(sys.argv[2], sys.argv[3:])
        return
    options = parse_options()
    try:
        import ipykernel  # type: ignore[import-not-found]  # noqa: F401, PLC0415
        import nbclient  # type: ignore[import-not-found]  # noqa: F401, PLC0415
    except ImportError as error:
        sys.exit(
            f"a notebook needs the packages `nbclient` and `ipykernel`: {error}; "
            "add them to the lock of its environment"
        )
    variables = os.environ  # noqa: TID251 - a program of its own: nothing else hands it down
    with open(variables["MLBUILD_CONTEXT"], encoding="utf-8") as file:
        params = json.load(file)["params"]
    with open(options.notebook, encoding="utf-8") as file:
        content = json.load(file)
    paths = dict(path.split("=", 1) for path in options.path)
    content["cells"] = with_parameters(content["cells"], assignments(params, paths))
    executed = normalised(
        execute(content, options.packages, folder=options.folder), out=variables["MLBUILD_OUT"]
    )
    with open(options.out, "w", encoding="utf-8", newline="\n") as file:
        json.dump(executed, file, indent=1, ensure_ascii=False, sort_keys=True)
        file.write("\n")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    for name in ("packages", "folder", "notebook", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--path", action="append", default=[])
    return parser.parse_args()


def assignments(params: Mapping[str, Any], paths: Mapping[str, str]) -> str:
    """Return the source that assigns all parameters. Ends the program for one that is no name."""
    for name in [*params, *paths]:
        if not name.isidentifier() or keyword.iskeyword(name):
            sys.exit(f"the parameter `{name}` cannot be the name of a variable")
    both = sorted(set(params) & set(paths))
    if both:
        sys.exit(f"`{both[0]}` is given twice: in `params` and in `paths`")
    return "\n".join(f"{name} = {value!r}" for name, value in [*params.items(), *paths.items()])


def with_parameters(cells: Sequence[Mapping[str, Any]], source: str) -> list[Mapping[str, Any]]:
    """Return the cells with one that assigns the parameters, where there are any."""
    if not source:
        return list(cells)
    tagged = (at for at, one in enumerate(cells) if "parameters" in one["metadata"].get("tags", []))
    at = next(tagged, -1) + 1
    injected: dict[str, Any] = {
        "cell_type": "code",
        "execution_count": None,
        "id": "parameters",
        "metadata": {"tags": ["injected-parameters"]},
        "outputs": [],
        "source": source,
    }
    return [*cells[:at], injected, *cells[at:]]


def execute(content: Mapping[str, Any], packages: str, *, folder: str) -> Mapping[str, Any]:
    """Return the notebook with the outputs of its cells. Ends the program where a cell fails."""
    import nbformat  # type: ignore[import-not-found]  # noqa: PLC0415
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager  # type: ignore[import-not-found]  # noqa: PLC0415
    from jupyter_client.manager import AsyncKernelManager  # type: ignore[import-not-found]  # noqa: PLC0415
    from nbclient import NotebookClient  # noqa: PLC0415
    from nbclient.exceptions import CellExecutionError, DeadKernelError  # type: ignore[import-not-found]  # noqa: PLC0415

    starter = os.path.join(os.path.dirname(os.path.abspath(__file__)), "run_python.py")
    words = [sys.executable, *FLAGS, starter, packages, os.path.abspath(__file__)]
    words += ["--kernel", folder, "-f", "{connection_file}"]

    class OwnKernel(KernelSpecManager):  # type: ignore[misc]
        def get_kernel_spec(self, kernel_name: str) -> Any:
            return KernelSpec(argv=words, display_name=kernel_name, language="python")

    class Talking(NotebookClient):  # type: ignore[misc]
        """Says what cells print at once, so that it is seen while the notebook runs."""

        def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
            if msg["msg_type"] == "stream":
                sys.stdout.write(msg["content"]["text"])
                sys.stdout.flush()
            return super().process_message(msg, cell, cell_index)

    # Sockets that are files need no network, not even that of this host.
    with tempfile.TemporaryDirectory() as place:
        kernel = AsyncKernelManager(
            kernel_name="python3",
            kernel_spec_manager=OwnKernel(),
            connection_file=os.path.join(place, "kernel.json"),
            transport="ipc" if len(place) < SOCKET_PATH else "tcp",
        )
        notebook = nbformat.from_dict(content)
        client = Talking(
            notebook, km=kernel, timeout=None, record_timing=False, store_widget_state=False
        )
        begun = []
        client.on_cell_execute = lambda cell, cell_index: begun.append(cell)  # noqa: ARG005
        try:
            client.execute()
        except CellExecutionError:
            sys.exit(failure(begun[-1]))
        except DeadKernelError:
            sys.exit(f"the kernel died in {named(begun[-1]) if begun else 'the first cell'}")
    found: Mapping[str, Any] = json.loads(nbformat.writes(notebook))
    return found


def failure(cell: Mapping[str, Any]) -> str:
    """Return how a cell failed."""
    errors = [one for one in cell["outputs"] if one["output_type"] == "error"]
    if not errors:
        return f"{named(cell)} failed"
    error = errors[-1]
    traceback = ESCAPE.sub("", "\n".join(error["traceback"]))
    return f"{traceback}\n\n{named(cell)} failed: {error['ename']}: {error['evalue']}"


def named(cell: Mapping[str, Any]) -> str:
    """Return how a cell is called: by its number in the file, all kinds counted."""
    number = cell["id"].rpartition("-")[2]
    return "the cell of parameters" if number == "parameters" else f"cell {number}"


def normalised(notebook: Mapping[str, Any], *, out: str) -> Mapping[str, Any]:
    """Return the notebook without what differs from run to run, such as `out`, where it wrote."""
    count = 0
    cells = []
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            cells.append(cell)
            continue
        ran = cell["execution_count"] is not None
        count += ran
        number = count if ran else None
        outputs = [
            {**one, "execution_count": number} if "execution_count" in one else one
            for one in joined(cell["outputs"])
        ]
        tags = {name: cell["metadata"][name] for name in ("tags",) if name in cell["metadata"]}
        source = "".join(cell["source"])
        if cell["id"] == "parameters":
            source = source.replace(out, "$MLBUILD_OUT")
        cells.append(
            {
                **cell,
                "execution_count": number,
                "metadata": tags,
                "outputs": outputs,
                "source": source.splitlines(keepends=True),
            }
        )
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return {**notebook, "cells": cells, "metadata": metadata}


def joined(outputs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return outputs with one text for each stream between others.

    How the pieces of stdout and stderr arrive is a matter of luck.
    """
    found: list[Mapping[str, Any]] = []
    streams: dict[str, str] = {}
    for output in [*outputs, None]:
        if output is not None and output["output_type"] == "stream":
            streams[output["name"]] = streams.get(output["name"], "") + "".join(output["text"])
            continue
        found += [
            {
                "name": name,
                "output_type": "stream",
                "text": ADDRESS.sub("at 0x0", OVERWRITTEN.sub("", streams[name])),
            }
            for name in sorted(streams, reverse=True)
        ]
        streams = {}
        if output is not None:
            found.append(without_addresses(output))
    return found


def without_addresses(output: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an output whose text, such as `<Axes at 0x7f…>`, names no place in memory."""
    text = output.get("data", {}).get("text/plain")
    if text is None:
        return output
    plain = ADDRESS.sub("at 0x0", "".join(text))
    return {**output, "data": {**output["data"], "text/plain": plain}}


def be_kernel(folder: str, words: list[str]) -> None:
    """Serve as the kernel, seeing what a script in `folder` would see."""
    from ipykernel.kernelapp import IPKernelApp  # type: ignore[import-not-found]  # noqa: PLC0415

    sys.path[0] = os.path.abspath(folder)  # was the folder of this program
    sys.argv = [sys.argv[0], *words, "--HistoryManager.enabled=False"]
    IPKernelApp.launch_instance()


if __name__ == "__main__":
    main()
