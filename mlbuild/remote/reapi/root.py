"""Root: the input root of a job, and the Command and Action messages over it.

It has the places that a sandbox of this host has: `/work` with the inputs, `/out`, `/checkpoint`,
`/context.json`, `/etc`, tools where they are mounted, and the files of an image.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from mlbuild.core.redact import is_secret
from mlbuild.errors import HostError
from mlbuild.exec import view
from mlbuild.exec.base import Job
from mlbuild.exec.host import platform_id
from mlbuild.exec.launcher import GRACE
from mlbuild.exec.numerics import cpu_class
from mlbuild.exec.root import Root, root_of
from mlbuild.exec.sandbox import Sandbox
from mlbuild.remote.reapi.folder import Blob, Folder, Parcel
from mlbuild.remote.reapi.packer import Packer
from mlbuild.remote.reapi.platform import properties
from mlbuild.remote.reapi.script import CONTEXT, CONTEXT_HERE, HERE, TOLD, Scene, script_of
from mlbuild.remote.reapi.server import Server
from mlbuild.remote.reapi.tools import add_tool, seen_at
from mlbuild.shared import reapi_messages as wire

OUT, CHECKPOINT = "out", "checkpoint"
_SCRIPT = "mlbuild-enter"
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_PLATFORM, _COMMAND, _ACTION = map(wire.message, ("Platform", "Command", "Action"))
_SLACK = 60  # seconds beyond the time of a command before the server itself ends it


@dataclass(frozen=True, slots=True)
class Consignment:
    """All that a server must have to execute a job."""

    action: Blob
    command: Blob
    root: Parcel

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """Everything, what names others last."""
        return (*self.root.blobs, self.command, self.action)


def consignment_of(
    job: Job, sandbox: Sandbox, *, server: Server, packer: Packer, etc: str
) -> Consignment:
    """Return what is to be sent for `job`, whose small inputs lie in `sandbox`.

    `etc` is the absolute path of a prepared `/etc`. Raises InputChanged, InputError, and HostError
    for what cannot be executed elsewhere.
    """
    image = root_of(job)
    root = _inputs(job, sandbox, packer)
    if image:
        _add_image(root, image, packer)
    else:
        root.put("etc", packer.tree(etc, os.path.basename(etc)))
    if server.tools == "shipped":
        for tool in job.tools.values():
            add_tool(root, tool, packer=packer)
    seen = _view(job, server, image)
    root.put(CONTEXT, packer.content(view.context(job, seen)))
    environment = view.environment(job, seen, _caller_env(job)) | {"PWD": seen.work}
    script = script_of(
        [view.text(word, seen) for word in job.run.argv],
        environment,
        _scene(job, server, image, tops=(*root.files, *root.folders, *root.links, _SCRIPT)),
        timeout=job.run.timeout,
    )
    root.put(_SCRIPT, packer.content(script, executable=True))
    return _messages(job, packer.packed(root), server=server, packer=packer)


def _inputs(job: Job, sandbox: Sandbox, packer: Packer) -> Folder:
    """Return an input root with the folders that every action has."""
    root = Folder()
    root.folders["work"] = packer.scanned(sandbox.work)
    root.folders[OUT] = packer.scanned(sandbox.out)
    if job.checkpoint:
        root.folders[CHECKPOINT] = packer.scanned(job.checkpoint)
    staged = {one.path: one for one in job.inputs}
    for whole in sandbox.wholes:
        one = staged[whole.path]
        tree = one.content.kind == "t"
        item = packer.tree(one.place, one.content.digest.hash) if tree else packer.input(one)
        root.put(f"work/{whole.path}", item)
    return root


def _add_image(root: Folder, image: Root, packer: Packer) -> None:
    """Add the files of an image, all but what stands at the top by contract."""
    for name in image.shown:
        place = f"{image.files}/{name}"
        if os.path.islink(place):
            root.links[name] = os.readlink(place)
        elif os.path.isdir(place):
            root.put(name, packer.tree(place, f"{image.name}/{name}"))


def _view(job: Job, server: Server, image: Root | None) -> view.View:
    """Return where the action sees things on a worker."""
    here = "" if server.hermetic else HERE
    shipped = server.tools == "shipped"
    return view.View(
        work=f"{here}/work",
        out=f"{here}/{OUT}",
        context=f"{here}/{CONTEXT if server.hermetic else CONTEXT_HERE}",
        home=f"{here}/tmp/home",  # noqa: S108 - the worker's own
        temporary=f"{here}/tmp",  # noqa: S108
        checkpoint=f"{here}/{CHECKPOINT}" if job.checkpoint else "",
        cache="",
        tools={name: seen_at(tool, here, shipped=shipped) for name, tool in job.tools.items()},
        image_env=image.env if image else {},
    )


def _scene(job: Job, server: Server, image: Root | None, *, tops: tuple[str, ...]) -> Scene:
    """Return what a worker must be for the result to be that of the key."""
    run = job.run
    bitwise = run.determinism == "bitwise"
    if bitwise and run.gpus:
        raise HostError(
            f"`{job.action.owner}` must repeat to the last bit on a GPU, and nothing tells which "
            "GPU a worker has",
            hints=("run it with another executor",),
        )
    return Scene(
        sealed=server.hermetic,
        offline=server.hermetic and not run.network,
        platform="" if image else platform_id(),
        machine=_MACHINES.get(image.architecture, image.architecture) if image else "",
        processor=cpu_class() if bitwise else "",
        tops=tops,
    )


def _caller_env(job: Job) -> Mapping[str, str]:
    """Return the caller's variables; refuse to send secrets: a server keeps what it is sent."""
    for name, value in job.caller_env.items():
        if is_secret(name, value):
            raise HostError(
                f"`{job.action.owner}` gets your variable `{name}`, which holds a secret, and a "
                "Remote Execution server keeps all that it is sent",
                hints=(f"build it here first: `mlbuild {job.action.owner} --executor sandbox`",),
            )
    return job.caller_env


def _messages(job: Job, root: Parcel, *, server: Server, packer: Packer) -> Consignment:
    """Return the Command and the Action over an input root."""
    platform = _PLATFORM()
    for name, value in properties(server.platform, job.run, name=server.name, gpus=server.gpus):
        platform.properties.add(name=name, value=value)
    command = _COMMAND(
        arguments=["/bin/sh", _SCRIPT],
        output_paths=sorted([OUT, TOLD, *([CHECKPOINT] if job.checkpoint else [])]),
        platform=platform,
    )
    command.environment_variables.add(name="PATH", value="/usr/local/bin:/usr/bin:/bin")
    sent = packer.message(command)
    action = _ACTION(
        command_digest=sent.spot.digest(),
        input_root_digest=root.top.spot.digest(),
        do_not_cache=not server.server_cache,
        platform=platform,
    )
    if job.run.timeout:
        action.timeout.seconds = ceil(job.run.timeout + GRACE) + _SLACK
    return Consignment(packer.message(action), sent, root)
