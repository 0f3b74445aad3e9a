"""Delivery: what requested targets made, as links below mlbuild-out."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from mlbuild.core.action import Action
from mlbuild.core.digest import Digest
from mlbuild.core.plan import Plan
from mlbuild.core.result import Content, Result
from mlbuild.core.tree import Entry, Kind, Tree, tree_of
from mlbuild.errors import HostError
from mlbuild.store.checkout import checkout
from mlbuild.store.disk import DiskStore


class Delivery:
    """Links below the absolute folder `out` into the trees of a store."""

    def __init__(self, store: DiskStore, out: str) -> None:
        self._store = store
        self._out = out
        self.links: dict[str, Digest] = {}  # absolute path of a link -> the tree it shows

    def deliver(
        self, plan: Plan, results: Mapping[str, Result], labels: Iterable[str]
    ) -> dict[str, tuple[str, ...]]:
        """Link what the targets `labels` made; return their paths by label."""
        producers = plan.producers()
        actions = {action.id: action for action in plan.actions}
        delivered: dict[str, tuple[str, ...]] = {}
        linked: set[str] = set()
        for label in labels:
            target = plan.targets[label]
            for path in target.outputs:
                producer = producers.get(path)
                if producer is None or producer.folder in linked:
                    continue
                linked.add(producer.folder)
                owner = plan.targets[producer.owner]
                made = [(actions[id_], results[id_]) for id_ in owner.actions if id_ in results]
                self._link(producer.folder, set(owner.outputs), made)
            delivered[label] = target.outputs
        return delivered

    def _link(self, folder: str, wanted: set[str], made: list[tuple[Action, Result]]) -> None:
        """Make mlbuild-out/<package>/<target> the tree of what its target delivers.

        `made` are its actions' results. Their trees are in place: each has just been made, or was
        looked at closely because it is wanted.
        """
        tree: Digest | None = None
        for action, result in made:
            if len(made) == 1 or {action.artifact(path) for path, _ in result.outputs} == wanted:
                tree = result.tree
        if tree is None:
            entries = [
                entry
                for action, result in made
                for path, content in result.outputs
                if action.artifact(path) in wanted
                for entry in self._entries(path, content)
            ]
            tree = self._store.materialise(tree_of(entries))
        if tree is None:
            raise HostError(
                f"outputs of `{folder}` vanished from the store meanwhile",
                hints=("run the command again",),
            )
        place = folder.partition("/")[2]
        link = checkout(self._store, out_root=self._out, package_target=place, tree=tree)
        self.links[link] = tree

    def _entries(self, path: str, content: Content) -> Iterable[Entry]:
        """Yield the entries that an output adds to the tree of its target."""
        if content.kind != "t":
            yield Entry(path, Kind(content.kind), content.digest)
            return
        listing: Tree | None = self._store.tree(content.digest)
        if listing is None:
            raise HostError(f"the output `{path}` was lost from the store; run the command again")
        for entry in listing.entries:
            yield replace(entry, path=f"{path}/{entry.path}")
