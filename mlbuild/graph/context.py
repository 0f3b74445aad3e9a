"""ctx: what a rule's implementation is given. It can only declare Artifacts and Actions."""

import re
from collections.abc import Callable
from typing import Any, Literal

from mlbuild import lang
from mlbuild.core.action import (
    OUT,
    Action,
    InputRef,
    Output,
    OutputRef,
    Run,
    ToolRef,
    Verify,
    Word,
    Write,
)
from mlbuild.core.tree import safe_name
from mlbuild.errors import InputError, did_you_mean
from mlbuild.graph.amounts import amounts_of, checked_tolerance
from mlbuild.graph.expand import Names, expand_shell, expand_words
from mlbuild.graph.fields import Fields
from mlbuild.graph.package import Target
from mlbuild.graph.schema import CACHES, LABELS, fits
from mlbuild.graph.units import seconds

_DIGEST = re.compile("blake3:[0-9a-f]{64}")
_FUNCTIONS = ("expand", "file", "run", "shell", "tool", "tree", "verify", "write")  # of ctx


class Artifact(lang.Value):
    """A file or directory in the plan, as rules see it."""

    type_name = "Artifact"
    __slots__ = ("kind", "owner", "path", "short")

    def __init__(
        self, path: str, kind: Literal["file", "tree"], short: str, owner: str = ""
    ) -> None:
        self.path = path
        self.kind = kind
        self.short = short
        self.owner = owner

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Artifact) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)

    def attributes(self) -> list[str]:
        """Return the names of the fields that rules can read."""
        return ["basename", "is_source", "is_tree", "path", "short_path"]

    def attribute(self, name: str) -> Any:
        """Return one field."""
        fields = {
            "path": self.path,
            "short_path": self.short,
            "basename": self.path.rpartition("/")[2],
            "is_tree": self.kind == "tree",
            "is_source": not self.owner,
        }
        if name not in fields:
            raise InputError(
                f"Artifact has no field `{name}`", hints=did_you_mean(name, list(fields))
            )
        return fields[name]

    def __repr__(self) -> str:
        return f"<artifact {self.path}>"


class Tool(lang.Value):
    """A tool of the host, such as an interpreter, that an action may run."""

    type_name = "Tool"

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<tool {self.name}>"


class Joined(lang.Value):
    """One word of a command made of texts and artifacts."""

    type_name = "word"

    def __init__(self, parts: Word) -> None:
        self.parts = parts


class Context(lang.Value):
    """The one argument of an implementation."""

    type_name = "ctx"

    def __init__(
        self, target: Target, value_of: Callable[[str], tuple[Any, tuple[Artifact, ...]]]
    ) -> None:
        self._target = target
        self._label = target.label
        self._folder = "/".join(
            part for part in (OUT, target.label.package, target.label.name) if part
        )
        self._declared: dict[str, Artifact] = {}
        self._made: set[str] = set()
        self._actions: list[Action] = []
        self._inputs_of_names: dict[str, tuple[Artifact, ...]] = {}
        values, files = self._resolved(value_of)
        self._fields: dict[str, Any] = {
            "label": lang.Struct({"package": self._label.package, "name": self._label.name}),
            "attr": Fields(values, lacks=f"rule `{target.rule.name}` has no attribute"),
            "files": Fields(files, lacks=f"rule `{target.rule.name}` has no attribute of labels"),
        }

    def attribute(self, name: str) -> Any:
        """Return one field of ctx."""
        found = self._fields.get(name)
        if found is None:
            if name not in _FUNCTIONS:
                raise InputError(
                    f"ctx has no `{name}`", hints=did_you_mean(name, [*self._fields, *_FUNCTIONS])
                )
            found = lang.builtin(f"ctx.{name}", getattr(self, f"_{name}"))
            self._fields[name] = found
        return found

    def attributes(self) -> list[str]:
        """Return the names of all fields."""
        return sorted({*self._fields, *_FUNCTIONS})

    def actions(self, *, after: tuple[str, ...]) -> tuple[Action, ...]:
        """Return what was declared; raise InputError for a declared output that nothing makes."""
        idle = sorted(set(self._declared) - self._made)
        if idle:
            raise InputError(
                f"rule `{self._target.rule.name}` declared the output `{idle[0]}` "
                "but no action makes it"
            )
        checks = tuple(one.id for one in self._actions if isinstance(one.does, Verify))
        return tuple(
            Action(
                one.id,
                one.owner,
                one.mnemonic,
                one.does,
                one.inputs,
                one.outputs,
                after if isinstance(one.does, Verify) else tuple(dict.fromkeys((*after, *checks))),
                one.folder,
            )
            for one in self._actions
        )

    def _resolved(
        self, value_of: Callable[[str], tuple[Any, tuple[Artifact, ...]]]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return `ctx.attr` and `ctx.files`: labels as what they name, everything else as given."""
        values: dict[str, Any] = {}
        files: dict[str, Any] = {}
        for name, attribute in self._target.rule.attributes.items():
            value = self._target.attributes[name]
            if attribute.type not in LABELS:
                values[name] = lang.from_python(value)
            elif attribute.type == "label":
                values[name], found = value_of(value) if value else (None, ())
                files[name] = lang.from_python(list(found))
            elif attribute.type == "label_list":
                pairs = [value_of(text) for text in value]
                values[name] = lang.from_python([one for one, _ in pairs])
                files[name] = lang.from_python([file for _, found in pairs for file in found])
                self._inputs_of_names.update(
                    {text: found for text, (_, found) in zip(value, pairs, strict=True)}
                )
            else:
                found_by_name = {key: value_of(text) for key, text in value.items()}
                values[name] = lang.from_python(
                    {key: one for key, (one, _) in found_by_name.items()}
                )
                files[name] = lang.from_python(
                    {key: list(found) for key, (_, found) in found_by_name.items()}
                )
        return values, files

    def _file(self, path: str) -> Artifact:
        return self._declare(path, "file")

    def _tree(self, path: str) -> Artifact:
        return self._declare(path, "tree")

    def _declare(self, path: Any, kind: Literal["file", "tree"]) -> Artifact:
        if not isinstance(path, str) or not all(map(safe_name, path.split("/"))):
            raise InputError(
                f"`{path}` cannot be an output",
                hints=("outputs are relative paths without `..`, such as `model.npz`",),
            )
        for other in self._declared:
            if path == other or path.startswith(other + "/") or other.startswith(path + "/"):
                raise InputError(f"the outputs `{other}` and `{path}` of `{self._label}` overlap")
        artifact = Artifact(f"{self._folder}/{path}", kind, path, str(self._label))
        self._declared[path] = artifact
        return artifact

    def _tool(self, name: str) -> Tool:
        return Tool(name)

    def _write(self, output: Artifact, content: Any, executable: bool = False) -> None:
        if not isinstance(content, str):
            raise InputError("ctx.write takes a string as its content")
        self._add(
            "write", Write(content, bool(executable)), inputs=(), outputs=self._makes([output])
        )

    def _verify(self, files: Any, digest: str) -> None:
        if not _DIGEST.fullmatch(digest):
            raise InputError(
                f"`{digest}` is not a digest", hints=("a digest is `blake3:` and 64 hex digits",)
            )
        paths = tuple(sorted(file.path for file in files))
        self._add("verify", Verify(digest, self._label.package), inputs=paths, outputs=())

    def _expand(self, words: Any, names: Any = None, params: Any = None) -> Any:
        texts = lang.to_python(words)
        if not fits(texts, "string_list"):
            raise InputError("ctx.expand takes a list of strings")
        known = Names(self._names(names), self._plain(params), self._declared)
        return lang.from_python([Joined(word) for word in expand_words(texts, known)])

    def _shell(self, text: str, srcs: Any, outs: Any) -> Joined:
        known = Names(self._inputs_of_names, {}, self._declared)
        inputs = [InputRef(file.path) for file in srcs]
        outputs = [OutputRef(file.short) for file in outs]
        return Joined(expand_shell(text, known, srcs=inputs, outs=outputs))

    def _run(
        self,
        argv: Any,
        inputs: Any = (),
        outputs: Any = (),
        names: Any = None,
        params: Any = None,
        env: Any = None,
        mnemonic: str = "",
        seed: int | None = None,
        resources: Any = None,
        timeout: Any = "",
        network: bool = False,
        caller_env: Any = (),
        quiet_env: Any = None,
        metrics: Artifact | None = None,
        checkpoint: bool = False,
        gate: bool = False,
        each: Artifact | None = None,
        share: bool = True,
        cache: str = "shared",
        root: Artifact | None = None,
        determinism: str = "",
        tolerance: Any = None,
    ) -> None:
        words = tuple(self._word(word) for word in argv)
        environment = tuple(
            (name, self._word(word))
            for name, word in sorted(dict(env.items() if env else ()).items())
        )
        named = self._names(names)
        refs = [part for word in (*words, *(word for _, word in environment)) for part in word]
        mine = {artifact.path: artifact for artifact in self._declared.values()}
        made = [self._declared[ref.path] for ref in refs if isinstance(ref, OutputRef)]
        made += [*outputs, *([metrics] if metrics is not None else [])]
        read = {ref.path for ref in refs if isinstance(ref, InputRef)}
        read |= {file.path for file in inputs}
        read |= {file.path for found in named.values() for file in found}
        if root is not None:
            read.add(_tree_path(root))
        made = list({file.path: file for file in made if file.path in mine}.values())
        if each is not None:
            read.add(_list_path(each, made))
        if (caller_env or quiet_env) and not network:
            raise InputError(
                "only an action with `network = True` may see variables outside its key"
            )
        cache = self._target.cache or cache
        _check_cache(cache, each=each is not None)
        amounts = amounts_of(resources)
        self._add(
            mnemonic or self._target.rule.name,
            Run(
                words,
                environment,
                params=self._plain(params),
                names=tuple((name, file.path) for name in sorted(named) for file in named[name]),
                tools=tuple(sorted({ref.name for ref in refs if isinstance(ref, ToolRef)})),
                seed=seed,
                cpus=amounts["cpus"],
                memory=amounts["memory"],
                gpus=amounts["gpus"],
                disk=amounts["disk"],
                spot=amounts["spot"],
                timeout=seconds(timeout) if timeout else 0.0,
                network=bool(network),
                caller_env=tuple(caller_env),
                quiet_env=tuple(sorted((lang.to_python(quiet_env) if quiet_env else {}).items())),
                metrics=metrics.short if metrics is not None else "",
                checkpoint=bool(checkpoint),
                gate=bool(gate),
                each=each.path if each is not None else "",
                share=bool(share),
                root=root.path if root is not None else "",
                determinism=determinism,
                tolerance=checked_tolerance(tolerance, determinism),
                cache=cache,
            ),
            inputs=tuple(sorted(read)),
            outputs=self._makes(made),
        )

    def _word(self, word: Any) -> Word:
        """Return the parts of one word: a text, an artifact, a tool, or a list of them."""
        if isinstance(word, str):
            return (word,)
        if isinstance(word, Joined):
            return word.parts
        if isinstance(word, Tool):
            return (ToolRef(word.name),)
        if isinstance(word, Artifact):
            mine = self._declared.get(word.short)
            if mine is not None and mine.path == word.path and word.short not in self._made:
                return (OutputRef(word.short),)
            return (InputRef(word.path),)
        if isinstance(word, lang.List):
            return tuple(part for item in word for part in self._word(item))
        raise InputError(f"a {lang.type_name(word)} cannot stand in a command line")

    def _names(self, names: Any) -> dict[str, tuple[Artifact, ...]]:
        """Return named inputs: each value is an artifact or a list of them."""
        found: dict[str, tuple[Artifact, ...]] = {}
        for name, value in names.items() if names is not None else ():
            files = (value,) if isinstance(value, Artifact) else tuple(value)
            if not all(isinstance(file, Artifact) for file in files):
                raise InputError(f"`names` holds something that is no artifact under `{name}`")
            found[name] = files
        return found

    def _plain(self, params: Any) -> dict[str, Any]:
        plain = lang.to_python(params) if params is not None else {}
        if type(plain) is not dict or not fits(plain, "json"):
            raise InputError("`params` is a dict of strings to plain values")
        return plain

    def _makes(self, artifacts: list[Artifact]) -> tuple[Output, ...]:
        for artifact in artifacts:
            if artifact.short in self._made:
                raise InputError(f"two actions make the output `{artifact.short}`")
            if self._declared.get(artifact.short) != artifact:
                raise InputError(f"`{artifact.path}` is not an output of `{self._label}`")
            self._made.add(artifact.short)
        return tuple(
            Output(artifact.short, artifact.kind)
            for artifact in sorted(artifacts, key=lambda one: one.short)
        )

    def _add(
        self,
        mnemonic: str,
        does: Run | Write | Verify,
        *,
        inputs: tuple[str, ...],
        outputs: tuple[Output, ...],
    ) -> None:
        label = str(self._label)
        taken = {action.id for action in self._actions}
        id_ = label if not taken else f"{label}#{mnemonic}"
        if id_ in taken:
            id_ = f"{id_}-{len(taken)}"
        self._actions.append(
            Action(id_, label, mnemonic, does, inputs, outputs, folder=self._folder)
        )


def _check_cache(cache: Any, *, each: bool) -> None:
    """Refuse a word that does not say who keeps results."""
    if cache not in CACHES:
        raise InputError(
            f"`cache` of ctx.run cannot be {lang.repr_of(lang.from_python(cache))[:60]}",
            hints=(
                'it is "shared" (with the team), "result" (but for the bytes), "local" or "off"',
            ),
        )
    if each and cache == "off":
        raise InputError('an action with `each` keeps a result for each line: `cache` is not "off"')


def _list_path(each: Any, made: list[Artifact]) -> str:
    """Return the path of the list whose lines have results of their own."""
    if not isinstance(each, Artifact) or each.kind != "file":
        raise InputError("`each` of ctx.run takes a file")
    if [one.kind for one in made] != ["tree"]:
        raise InputError("an action with `each` has one output, a tree")
    return each.path


def _tree_path(root: Any) -> str:
    """Return the path of the tree that holds a root file system."""
    if not isinstance(root, Artifact) or root.kind != "tree":
        raise InputError(
            "`root` of ctx.run takes the tree of an image",
            hints=("a container_environment has it as its field `root`",),
        )
    return root.path
