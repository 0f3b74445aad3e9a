"""container_environment: a container image as the root file system of actions."""

# How a program of several modules is run: no packages of the host, its own folder importable.
_BARE = ["-S", "-s", "-P", "-B"]

def root_of(environment):
    """Returns the root file system that an environment brings, None for the host's."""
    return environment.root if type(environment) == "struct" and hasattr(environment, "root") else None

def _container_environment(ctx):
    given = [name for name in ["archive", "dockerfile", "image"] if getattr(ctx.attr, name)]
    if len(given) != 1:
        fail("a container_environment has one of `archive`, `image` and `dockerfile`")
    root = ctx.tree("image")
    if ctx.attr.dockerfile:
        _built(ctx, root)
    elif ctx.attr.image:
        _pulled(ctx, root)
    else:
        ctx.run(
            mnemonic = "unpack",
            cache = "result",
            argv = _program(ctx, ctx.attr._main) + [ctx.files.archive[0], root],
            inputs = ctx.files._parts,
            timeout = ctx.attr.timeout,
        )
    return struct(files = [root], root = root, image = root, python = ctx.attr.python)

def _program(ctx, main):
    """Returns the words that run one of the programs in rules/tools/image."""
    return [ctx.tool("python")] + _BARE + [ctx.attr._run, "-", main]

def _pulled(ctx, root):
    """Fetches an image by its digest, which `lock` knows where the image is named by a tag."""
    name, at, digest = ctx.attr.image.partition("@")
    if not at:
        if not ctx.attr.lock:
            fail("`%s` may be another image tomorrow: write `%s@sha256:…`, or " % (name, name) +
                 "`lock = \"//:mlbuild.lock\"` and run `mlbuild lock`")
        digest = ctx.file("digest")
        ctx.run(
            mnemonic = "lock",
            argv = _program(ctx, ctx.attr._lock) + [ctx.files.lock[0], name, digest],
        )
        if ":" in name.split("/")[-1]:
            name = name.rpartition(":")[0]
    ctx.run(
        mnemonic = "pull",
        cache = "result",
        argv = _program(ctx, ctx.attr._pull) + [digest, root],
        inputs = ctx.files._parts,
        # Every byte is held against the digest, so where it comes from is not part of the key.
        network = True,
        quiet_env = {"MLBUILD_IMAGE": name},
        caller_env = ["*_PROXY", "*_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "DOCKER_CONFIG"],
        timeout = ctx.attr.timeout,
    )

def _built(ctx, root):
    """Has a Docker Engine build a Dockerfile."""
    dockerfile = ctx.file("Dockerfile")
    base = root_of(ctx.attr.base)
    ctx.run(
        mnemonic = "dockerfile",
        argv = _program(ctx, ctx.attr._dockerfile) + [ctx.files.dockerfile[0], dockerfile] +
               (["--base"] if base else []),
    )
    original = ctx.files.dockerfile[0]
    folder = original.path.removesuffix(original.basename)
    words = ["--dockerfile", dockerfile] + (["--base", base] if base else [])
    words += ["--network"] if ctx.attr.network else []
    for file in ctx.files.srcs:
        name = file.path.removeprefix(folder) if file.is_source else file.short_path
        words.append([name + "=", file])
    ctx.run(
        mnemonic = "build",
        cache = "result",
        argv = _program(ctx, ctx.attr._build) + [root] + words,
        inputs = ctx.files._parts,
        # The engine is reached through its socket, which is one of the caller's things.
        network = True,
        caller_env = ["DOCKER_HOST"],
        # What its commands do is theirs: two builds may differ, so nobody else gets this one.
        share = False,
        timeout = ctx.attr.timeout,
    )

container_environment = rule(
    implementation = _container_environment,
    doc = """A container image that scripts and commands run in: in Docker, or in the sandbox.

The image is unpacked and becomes the root file system of every action that names it as its
`environment` (a script) or `container` (a genrule). Where a Docker Engine answers, such an action is
a container; elsewhere the sandbox shows the same files, and the outputs are equal.

```python
container_environment(
    name = "image",
    archive = "image.tar",
)
```

From a registry, by digest; or by a tag, whose digest `mlbuild lock` writes into `mlbuild.lock`:

```python
container_environment(
    name = "slim",
    image = "python@sha256:1d18f0fb2a2fe9bf5ee4d2ac1b1b0b8a2b8a8f5d3c5a1e0b7e6f5d4c3b2a1908",
)

container_environment(
    name = "tagged",
    image = "python:3.11-slim",
    lock = "//:mlbuild.lock",
)
```

Built by a Docker Engine. The context is `srcs` and nothing else; there is no network while it is
built, unless `network = True`. Each FROM names a digest, or `base`, which is another image:

```python
container_environment(
    name = "tools",
    dockerfile = "Dockerfile",
    base = ":image",
    srcs = ["tool.py"],
)
```
""",
    attrs = {
        "archive": attr.label(doc = "What `docker save` wrote, or an OCI layout: a .tar, a .tar.gz or a folder."),
        "image": attr.string(doc = "An image of a registry: `name@sha256:…`, or with `lock` a tag, `name:tag`."),
        "lock": attr.label(doc = "The `mlbuild.lock` that holds the digest of a tag."),
        "dockerfile": attr.label(doc = "A Dockerfile. A Docker Engine builds it; the result is never shared."),
        "srcs": attr.label_list(doc = "The files that the Dockerfile copies, by their paths from its folder."),
        "base": attr.label(doc = "The container_environment that `FROM base` means."),
        "network": attr.bool(doc = "Whether commands of the Dockerfile may use the network; part of the key."),
        "python": attr.string(default = "python3", doc = "The interpreter of the image: a name on its PATH, or an absolute path. Python 3.10 or newer."),
        "timeout": attr.string(default = "30m", doc = "When to give up."),
        "_run": attr.label(default = "@rules//tools:run_python.py"),
        "_main": attr.label(default = "@rules//tools:image/image.py"),
        "_pull": attr.label(default = "@rules//tools:image/image_pull.py"),
        "_lock": attr.label(default = "@rules//tools:image/image_lock.py"),
        "_dockerfile": attr.label(default = "@rules//tools:image/image_dockerfile.py"),
        "_build": attr.label(default = "@rules//tools:image/image_build.py"),
        "_parts": attr.label_list(default = [
            "@rules//tools:image/image.py",
            "@rules//tools:image/image_archive.py",
            "@rules//tools:image/image_layers.py",
            "@rules//tools:image/image_registry.py",
        ]),
    },
)
