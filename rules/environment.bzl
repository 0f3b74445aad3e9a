"""python_environment: the packages that scripts run with, from a lock file."""

def _python_environment(ctx):
    python = "python@" + ctx.attr.python if ctx.attr.python else "python"
    requirements = ctx.file("requirements.txt")
    ctx.run(
        mnemonic = "lock",
        argv = [ctx.tool(python), "-I", ctx.attr._lock, ctx.files.lock[0], requirements],
    )
    packages = ctx.tree("packages")
    ctx.run(
        mnemonic = "install",
        argv = [
            ctx.tool(python),
            "-I",
            ctx.attr._install,
            "--uv",
            ctx.tool("uv"),
            "--python",
            ctx.tool(python),
            "--requirements",
            requirements,
            "--out",
            packages,
        ],
        # Every wheel is checked against its hash, so how it gets here is not part of the key.
        network = True,
        caller_env = ["*_PROXY", "*_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "UV_*"],
        timeout = ctx.attr.timeout,
    )
    return struct(files = [packages], packages = packages, python = python)

python_environment = rule(
    implementation = _python_environment,
    doc = """The Python packages of a lock file, installed as one immutable tree.

Every package is pinned and has hashes; only wheels are installed. Where they come from is a setting
of each machine (`UV_DEFAULT_INDEX` and its like). This makes a lock:

```sh
uv pip compile --universal --generate-hashes requirements.in -o requirements.lock
```

```python
python_environment(
    name = "env",
    lock = "requirements.lock",
)
```
""",
    attrs = {
        "lock": attr.label(mandatory = True, doc = "A requirements.txt in which every requirement is pinned and has hashes."),
        "python": attr.string(doc = "The interpreter's version, such as `3.11`; by default the one that runs mlbuild."),
        "timeout": attr.string(default = "30m", doc = "When to give up installing."),
        "_lock": attr.label(default = "@rules//tools:lock.py"),
        "_install": attr.label(default = "@rules//tools:install.py"),
    },
)
