"""dataset: data by content, from the workspace or from the network."""

def _dataset(ctx):
    if bool(ctx.attr.srcs) == bool(ctx.attr.urls):
        fail("a dataset has either `srcs` (files of the workspace) or `urls` with a `sha256`")
    files = _fetched(ctx) if ctx.attr.urls else ctx.files.srcs
    if ctx.attr.unpack:
        files = [_unpacked(ctx, file, len(files) > 1) for file in files]
    if ctx.attr.digest:
        ctx.verify(files, ctx.attr.digest)
    return struct(files = files, license = ctx.attr.license)

def _fetched(ctx):
    if not ctx.attr.sha256:
        fail("a dataset with `urls` needs the `sha256` of the file")
    name = ctx.attr.filename or ctx.attr.urls[0].split("?")[0].split("#")[0].rstrip("/").split("/")[-1]
    file = ctx.file("archive/" + name if ctx.attr.unpack else name)
    ctx.run(
        mnemonic = "fetch",
        argv = [ctx.tool("python"), "-I", ctx.attr._fetch, "--sha256", ctx.attr.sha256, "--out", file],
        # What the bytes are is decided by the sha256; where they come from is not part of the key.
        network = True,
        quiet_env = {"MLBUILD_URLS": "\n".join(ctx.attr.urls)},
        caller_env = ["*_PROXY", "*_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"],
        timeout = ctx.attr.timeout,
    )
    return [file]

def _unpacked(ctx, archive, several):
    tree = ctx.tree("files/" + archive.basename if several else "files")
    ctx.run(
        mnemonic = "unpack",
        argv = [ctx.tool("python"), "-I", ctx.attr._unpack, archive, tree, "--strip", str(ctx.attr.strip)],
    )
    return tree

dataset = rule(
    implementation = _dataset,
    doc = """Data, known by its content: files and folders of the workspace, or a download.

A download is checked against its `sha256` and kept: it happens once for all workspaces. `unpack`
makes each archive one folder.

```python
dataset(
    name = "digits",
    srcs = glob(["*.gz"]),
    license = "CC-BY-SA-3.0",
)

dataset(
    name = "reviews",
    urls = ["https://example.org/reviews-2.1.tar.gz"],
    sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    unpack = True,
    strip = 1,
)
```
""",
    attrs = {
        "srcs": attr.label_list(doc = "Files and folders of the workspace. They are used in place, never copied."),
        "digest": attr.string(doc = "What the content must be, `blake3:…`; without it, the content is recorded in each result's manifest."),
        "urls": attr.string_list(doc = "Where to download one file from; the first that answers serves."),
        "sha256": attr.string(doc = "What the downloaded file must be: 64 hex digits."),
        "filename": attr.string(doc = "The name of the downloaded file; by default the last part of the first URL."),
        "unpack": attr.bool(doc = "Whether to unpack the archive (.tar, .tar.gz, .tar.bz2, .tar.xz, .zip, .gz)."),
        "strip": attr.int(doc = "How many leading folders to drop from the paths in the archive."),
        "license": attr.string(doc = "The SPDX name of the licence."),
        "timeout": attr.string(default = "30m", doc = "When to give up a download."),
        "_fetch": attr.label(default = "@rules//tools:fetch.py"),
        "_unpack": attr.label(default = "@rules//tools:unpack.py"),
    },
)
