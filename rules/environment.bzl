"""python_environment: the packages that scripts run with, from a lock file."""

# What is installed is `cache = "result"`: packages are large and have servers of their own, so each
# machine that needs their bytes installs from the lock. What their bytes will be, and with it every
# key that depends on them, the shared cache tells all others.

# What reaches uv from the caller: where packages come from. Every file is checked against its
# hash, so how it gets here is not part of the key.
_CALLER = ["*_PROXY", "*_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "UV_*"]

def _listed(ctx, platform, sources):
    """Returns the canonical list of a lock's packages, made by the action `lock`."""
    words = []
    for group in ctx.attr.groups:
        words += ["--group", group]
    for extra in ctx.attr.extras:
        words += ["--extra", extra]
    if ctx.attr.allow_unpinned:
        words += ["--unpinned"]
    if ctx.attr.requirements and ctx.files.requirements[0].basename == "pyproject.toml":
        words += ["--project", ctx.files.requirements[0]]
    if sources:
        words += ["--sources", sources]
    requirements = ctx.file("requirements.txt")
    ctx.run(
        mnemonic = "lock",
        argv = [ctx.tool("python"), "-I", ctx.attr._lock, ctx.files.lock[0], requirements, "--platform", platform] + words,
        inputs = ctx.files._lock_parts,
    )
    return requirements

def _install(ctx, listed, out, python, base, platform):
    """Unpacks the wheels of a list, each of which has a result of its own."""
    quiet = {"MLBUILD_LOCK": ctx.files.lock[0].path}
    if ctx.attr.allow_yanked:
        quiet["MLBUILD_ALLOW_YANKED"] = "1"
    words = ["--uv", ctx.tool("uv"), "--python", ctx.tool("python") if base else ctx.tool(python)]
    words += ["--list", listed, "--out", out]
    if base:
        words += ["--like", platform]
    if ctx.attr.allow_unpinned:
        words += ["--whole"]
    ctx.run(
        mnemonic = "install",
        cache = "result",
        argv = [ctx.tool("python"), "-I", ctx.attr._install] + words,
        inputs = ctx.files._install_parts,
        each = None if ctx.attr.allow_unpinned else listed,
        share = not ctx.attr.allow_unpinned,
        network = True,
        caller_env = _CALLER,
        quiet_env = quiet,
        timeout = ctx.attr.timeout,
    )

def _build(ctx, sources, out, python):
    """Fetches source distributions, then builds and installs them without a network."""
    fetched = ctx.tree("sources")
    ctx.run(
        mnemonic = "fetch",
        cache = "result",
        argv = [ctx.tool("python"), "-I", ctx.attr._fetch_sources, sources, fetched],
        inputs = ctx.files._fetch_parts,
        each = sources,
        network = True,
        caller_env = _CALLER,
        quiet_env = {"MLBUILD_LOCK": ctx.files.lock[0].path},
        timeout = ctx.attr.timeout,
    )
    requires = ctx.attr.build_environment.packages if ctx.attr.build_environment else "-"
    ctx.run(
        mnemonic = "build",
        cache = "result",
        argv = [
            ctx.tool("python"),
            "-I",
            ctx.attr._build,
            "--uv",
            ctx.tool("uv"),
            "--python",
            ctx.tool(python),
            "--sources",
            fetched,
            "--requires",
            requires,
            "--out",
            out,
        ],
        inputs = ctx.files._install_parts + [ctx.attr._install],
        timeout = ctx.attr.timeout,
    )

def _python_environment(ctx):
    base = ctx.attr.base
    if base and not (type(base) == "struct" and hasattr(base, "root")):
        fail("the `base` of a python_environment is a container_environment")
    if base and (ctx.attr.python or ctx.attr.allow_unpinned or ctx.attr.allow_sdist):
        fail("with a `base`, the image's Python counts, and every package needs a wheel: `python`, `allow_unpinned` and `allow_sdist` cannot be given")
    if ctx.attr.allow_unpinned and ctx.attr.allow_sdist:
        fail("`allow_sdist` needs a lock with hashes, so it does not go with `allow_unpinned`")
    python = "python@" + ctx.attr.python if ctx.attr.python else "python"
    platform = ctx.file("platform.json")
    ctx.run(
        mnemonic = "probe",
        argv = [base.python if base else ctx.tool(python), "-I", ctx.attr._probe, platform],
        root = base.root if base else None,
    )
    sources = ctx.file("sources.txt") if ctx.attr.allow_sdist else None
    listed = _listed(ctx, platform, sources)
    packages = ctx.tree("packages")
    if base:
        wheels = ctx.tree("wheels")
        _install(ctx, listed, wheels, python, base, platform)

        # Bytecode is for one version of Python: that of the image compiles it.
        ctx.run(
            mnemonic = "compile",
            cache = "result",
            argv = [base.python, "-S", "-s", "-B", ctx.files._install_parts[0], wheels, packages],
            root = base.root,
            timeout = ctx.attr.timeout,
        )
        return struct(files = [packages], packages = packages, python = base.python, root = base.root, image = base.image)
    if not ctx.attr.allow_sdist:
        _install(ctx, listed, packages, python, None, None)
        return struct(files = [packages], packages = packages, python = python)
    wheels = ctx.tree("wheels")
    built = ctx.tree("built")
    _install(ctx, listed, wheels, python, None, None)
    _build(ctx, sources, built, python)
    ctx.run(
        mnemonic = "merge",
        cache = "result",
        argv = [ctx.tool("python"), "-I", ctx.attr._merge, packages, wheels, built],
    )
    return struct(files = [packages], packages = packages, python = python)

python_environment = rule(
    implementation = _python_environment,
    doc = """The Python packages of a lock file, installed as one immutable tree.

Every package is pinned and has hashes; only wheels are installed, unless `allow_sdist` says more.
Where they come from is a setting of each machine (`UV_DEFAULT_INDEX` and its like). `mlbuild lock`
writes the lock from `requirements`; a build never resolves.

```python
python_environment(
    name = "env",
    lock = "requirements.lock",
    requirements = "requirements.in",
)
```

A project locked by uv; `groups` and `extras` say what is taken besides its dependencies:

```python
python_environment(
    name = "train_env",
    lock = "uv.lock",
    requirements = "pyproject.toml",
    groups = ["train"],
)
```
""",
    attrs = {
        "lock": attr.label(mandatory = True, doc = "A requirements.txt with hashes, a `uv.lock`, a `pylock.toml` or the lock of a script (`train.py.lock`)."),
        "requirements": attr.label(doc = "What the lock is made of: a requirements.in, the `pyproject.toml` beside a `uv.lock`, or the script. `mlbuild lock` reads it."),
        "groups": attr.string_list(doc = "Dependency groups of the project to install too. None by default, `dev` neither."),
        "extras": attr.string_list(doc = "Extras of the project to install too."),
        "python": attr.string(doc = "The interpreter's version, such as `3.12` or `3.12.4`: any CPython that uv finds. By default the one that runs mlbuild."),
        "allow_unpinned": attr.bool(doc = "Whether the lock may name packages without hashes or versions. uv resolves them while building, and the result is never shared."),
        "allow_yanked": attr.bool(doc = "Whether a package that its authors have yanked may be fetched."),
        "allow_sdist": attr.bool(doc = "Whether packages that have no wheel are built from their source, in a sandbox without a network."),
        "build_environment": attr.label(doc = "A python_environment with what building from source requires, such as setuptools."),
        "base": attr.label(doc = "A container_environment: its Python runs the scripts, in its file system, and wheels are chosen for it."),
        "timeout": attr.string(default = "30m", doc = "When to give up installing."),
        "_probe": attr.label(default = "@rules//tools:probe.py"),
        "_lock": attr.label(default = "@rules//tools:lock.py"),
        "_lock_parts": attr.label_list(default = ["@rules//tools:lock_markers.py", "@rules//tools:lock_pins.py", "@rules//tools:lock_requirements.py", "@rules//tools:lock_toml.py", "@rules//tools:probe.py"]),
        "_fetch_sources": attr.label(default = "@rules//tools:fetch_sources.py"),
        "_fetch_parts": attr.label_list(default = ["@rules//tools:index.py", "@rules//tools:install.py", "@rules//tools:packages.py"]),
        "_build": attr.label(default = "@rules//tools:build.py"),
        "_merge": attr.label(default = "@rules//tools:merge.py"),
        "_install": attr.label(default = "@rules//tools:install.py"),
        "_install_parts": attr.label_list(default = ["@rules//tools:packages.py"]),
    },
)
