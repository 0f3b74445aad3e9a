"""A plan survives being kept: what is read back is equal."""

import marshal
from pathlib import Path

from mlbuild.core.label import parse_pattern
from mlbuild.core.plan import Plan, pack, unpack
from mlbuild.graph.analyze import Analyzer
from mlbuild.graph.loader import Loader
from mlbuild.graph.resolve import Resolver
from mlbuild.workspace import Workspace
from tests.harness import REPOSITORY


def planned(root: Path, code: Path) -> Plan:
    workspace = Workspace(str(root))
    resolver = Resolver(workspace, Loader(workspace, code=str(code), say=print))
    labels = resolver.select([parse_pattern("//...", package="")], print)
    return Analyzer(resolver).plan(labels)


def test_a_packed_plan_unpacks_to_an_equal_one(tmp_path: Path) -> None:
    plan = planned(REPOSITORY / "examples/lenet", tmp_path)

    kept = marshal.dumps(pack(plan))

    assert unpack(marshal.loads(kept)) == plan  # noqa: S302 - our own


def test_reading_the_same_files_twice_gives_equal_plans(tmp_path: Path) -> None:
    cold = planned(REPOSITORY / "examples/lenet", tmp_path)

    warm = planned(REPOSITORY / "examples/lenet", tmp_path)  # compiled files are known

    assert warm == cold


def test_actions_come_after_what_they_read(tmp_path: Path) -> None:
    plan = planned(REPOSITORY / "examples/lenet", tmp_path)

    made: set[str] = set()
    for action in plan.actions:
        assert not {path for path in action.inputs if path.startswith("mlbuild-out/")} - made
        made |= {action.artifact(output.path) for output in action.outputs}
