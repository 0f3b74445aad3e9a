"""Environments: locks of all kinds, shared wheels, sources, other interpreters, bad input."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlbuild.exec.bubblewrap import Bubblewrap
from tests import docker
from tests.harness import REPOSITORY, Build
from tests.wheels import Index, Packed, sdist, serving, wheel

NO_SANDBOX = Bubblewrap("").available()
SHOW = """\
process(name = "show", script = "show.py", environment = ":env", outs = ["out.txt"],
        args = ["$(output out.txt)"])
"""
SCRIPT = """\
import importlib.metadata, sys
found = sorted(f"{one.name} {one.version}" for one in importlib.metadata.distributions())
print("\\n".join(found), file=open(sys.argv[1], "w"))
"""


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """Return a package index that has nothing yet."""
    (tmp_path / "index").mkdir()
    with serving(tmp_path / "index") as index:
        yield index


@pytest.fixture
def env(build: Build, index: Index, tmp_path: Path) -> Build:
    """Return a workspace whose packages come from the index, and a script that shows them."""
    build.env |= {
        "UV_DEFAULT_INDEX": index.url,
        "UV_CACHE_DIR": str(tmp_path / "uv"),
        "UV_HTTP_RETRIES": "0",
        "UV_PYTHON_DOWNLOADS": "never",
    }
    return build.file("show.py", SCRIPT)


def declare(build: Build, words: str = "", *, lock: str = "requirements.lock") -> Build:
    return build.file(
        "BUILD.ml", f'python_environment(name = "env", lock = "{lock}", {words})\n{SHOW}'
    )


def shown(build: Build) -> list[str]:
    return build.output("show/out.txt").split("\n")[:-1]


def uv_lock(*packages: tuple[Packed, str], groups: dict[str, list[str]] | None = None) -> str:
    """Return a uv.lock of a project; each package with further lines."""
    names = [packed.name for packed, _ in packages]
    grouped = {name for inner in (groups or {}).values() for name in inner}
    wanted = ", ".join(f'{{ name = "{name}" }}' for name in names if name not in grouped)
    lines = ['version = 1\nrequires-python = ">=3.9"\n']
    for packed, more in packages:
        lines.append(
            f'[[package]]\nname = "{packed.name}"\nversion = "{packed.version}"\n'
            f'source = {{ registry = "https://nowhere.example/simple" }}\n{more}'
            f'wheels = [{{ url = "https://nowhere.example/{packed.file}", '
            f'hash = "sha256:{packed.sha256}" }}]\n'
        )
    lines.append(
        '[[package]]\nname = "project"\nversion = "0"\nsource = { virtual = "." }\n'
        f"dependencies = [{wanted}]\n"
    )
    if groups:
        lines.append("[package.dev-dependencies]\n")
        for group, inner in groups.items():
            listed = ", ".join(f'{{ name = "{name}" }}' for name in inner)
            lines.append(f"{group} = [{listed}]\n")
    return "\n".join(lines)


# ---------------------------------------------------------------------------------------------
# locks


def test_an_unrelated_group_of_a_uv_lock_changes_nothing(env: Build, index: Index) -> None:
    ant, bee, cow = (wheel(index.folder, name) for name in ("ant", "bee", "cow"))
    declare(env, 'groups = ["test"]', lock="uv.lock")
    env.file("uv.lock", uv_lock((ant, ""), (bee, ""), groups={"test": ["bee"]}))
    env("//:show")
    assert shown(env) == ["ant 1.0", "bee 1.0"]

    env.file(
        "uv.lock",
        uv_lock((ant, ""), (bee, ""), (cow, ""), groups={"test": ["bee"], "docs": ["cow"]}),
    )
    done = env("//:show")

    assert "//:show" in done.cached
    assert "//:env  install" not in done.stderr


def test_a_pylock_and_the_lock_of_a_script_serve_as_well(env: Build, index: Index) -> None:
    ant, bee = wheel(index.folder, "ant"), wheel(index.folder, "bee")
    env.file(
        "pylock.toml",
        'lock-version = "1.0"\ncreated-by = "test"\nextras = []\n'
        f'[[packages]]\nname = "ant"\nversion = "1.0"\n'
        f'wheels = [{{ name = "{ant.file}", hashes = {{ sha256 = "{ant.sha256}" }} }}]\n'
        f'[[packages]]\nname = "bee"\nversion = "1.0"\nmarker = "sys_platform == \'win32\'"\n'
        f'wheels = [{{ name = "{bee.file}", hashes = {{ sha256 = "{bee.sha256}" }} }}]\n',
    )
    declare(env, lock="pylock.toml")("//:show")
    assert shown(env) == ["ant 1.0"]

    env.file(
        "tool.py.lock",
        'version = 1\nrequires-python = ">=3.9"\n[manifest]\nrequirements = [{ name = "bee" }]\n'
        f'[[package]]\nname = "bee"\nversion = "1.0"\nsource = {{ registry = "x" }}\n'
        f'wheels = [{{ url = "x/{bee.file}", hash = "sha256:{bee.sha256}" }}]\n',
    )
    declare(env, lock="tool.py.lock")("//:show")
    assert shown(env) == ["bee 1.0"]


def test_requirements_without_hashes_are_refused_with_their_line(env: Build, index: Index) -> None:
    ant = wheel(index.folder, "ant")
    wheel(index.folder, "bee")
    env.file("requirements.lock", f"{ant.line}bee==1.0\n")

    done = declare(env).run("build", "//:env")

    assert done.code == 1
    assert "requirements.lock:2: `bee==1.0` has no hash" in done.stderr


def test_what_is_not_pinned_is_built_on_demand_and_never_shared(env: Build, index: Index) -> None:
    wheel(index.folder, "ant", metadata="Requires-Dist: bee\n")
    wheel(index.folder, "bee")
    env.file("requirements.lock", "ant>=0.5\n")

    declare(env, "allow_unpinned = True")("//:show")

    assert shown(env) == ["ant 1.0", "bee 1.0"]
    told = json.loads(env.run("describe", "//:env", "--json").stdout)
    assert told["result"]["share"] is False


def test_variants_are_chosen_by_a_config(env: Build, index: Index) -> None:
    ant, bee = wheel(index.folder, "ant"), wheel(index.folder, "bee")
    env.file("cpu.lock", ant.line).file("cuda.lock", bee.line)
    env.file("mlbuild.toml", '[workspace]\nname = "test"\n[config.gpu]\ndevice = "cuda"\n')
    env.file(
        "BUILD.ml",
        'config_setting(name = "cuda", values = {"device": "cuda"})\n'
        'python_environment(name = "env", lock = select('
        '{":cuda": "cuda.lock", "//conditions:default": "cpu.lock"}))\n' + SHOW,
    )

    env("//:show")
    assert shown(env) == ["ant 1.0"]
    env("//:show", "--config", "gpu")
    assert shown(env) == ["bee 1.0"]


# ---------------------------------------------------------------------------------------------
# sharing


def test_a_second_environment_fetches_and_installs_only_what_is_new(
    env: Build, index: Index
) -> None:
    ant, bee, cow = (wheel(index.folder, name) for name in ("ant", "bee", "cow"))
    env.file("requirements.lock", ant.line + bee.line).file("other.lock", ant.line + cow.line)
    declare(env)("//:env")
    assert index.asked is not None
    index.asked.clear()

    env.file("BUILD.ml", 'python_environment(name = "another", lock = "other.lock")\n')
    done = env("//:another")

    assert done.ran == ["//:another"]
    assert {path for path in index.asked if path.startswith("/files/")} == {f"/files/{cow.file}"}
    assert not any("/ant" in path for path in index.asked)
    places = [env.root / "mlbuild-out" / "another" / "packages" / name for name in ("ant.py",)]
    assert all(place.exists() for place in places)


def test_one_lock_gives_equal_bytes_in_two_places(env: Build, index: Index, tmp_path: Path) -> None:
    ant, bee = wheel(index.folder, "ant"), wheel(index.folder, "bee")
    env.file("requirements.lock", ant.line + bee.line)
    declare(env)("//:env")
    elsewhere = env.copy(tmp_path / "far" / "away", cache=tmp_path / "another-cache")

    elsewhere("//:env")

    trees = [
        json.loads(one.run("describe", "//:env", "--json").stdout)["result"]["tree"]
        for one in (env, elsewhere)
    ]
    assert trees[0] == trees[1]


def test_environments_that_share_files_survive_the_loss_of_one(env: Build, index: Index) -> None:
    ant, bee, cow = (wheel(index.folder, name) for name in ("ant", "bee", "cow"))
    env.file("requirements.lock", ant.line + bee.line).file("other.lock", ant.line + cow.line)
    declare(env)("//:env")
    with (env.root / "BUILD.ml").open("a") as file:
        file.write('python_environment(name = "another", lock = "other.lock")\n')
    env("//:another")
    spoilt = (env.root / "mlbuild-out/another/packages/ant.py").resolve()
    spoilt.chmod(0o644)
    spoilt.write_text("VERSION = 'spoilt'\n")

    env("//:env", "//:another", "//:show")

    for name in ("env", "another"):
        assert env.output(f"{name}/packages/ant.py") == "VERSION = '1.0'\n"
    assert shown(env) == ["ant 1.0", "bee 1.0"]


# ---------------------------------------------------------------------------------------------
# sources and interpreters


def source_lock(packed: Packed) -> str:
    return (
        'lock-version = "1.0"\ncreated-by = "test"\n'
        f'[[packages]]\nname = "{packed.name}"\nversion = "{packed.version}"\n'
        f'sdist = {{ name = "{packed.file}", hashes = {{ sha256 = "{packed.sha256}" }} }}\n'
    )


def test_a_source_is_refused_unless_the_target_allows_it(env: Build, index: Index) -> None:
    env.file("pylock.toml", source_lock(sdist(index.folder, "ant")))

    done = declare(env, lock="pylock.toml").run("build", "//:env")

    assert done.code == 1
    assert "pylock.toml:4: `ant==1.0` has no wheel, only its source" in done.stderr
    assert "`allow_sdist = True`" in done.stderr


def test_a_source_is_fetched_by_its_hash_and_built_without_a_network(
    env: Build, index: Index
) -> None:
    first = (
        "import socket, urllib.request\n"
        "    try: urllib.request.urlopen(os.environ.get('INDEX', 'http://127.0.0.1:1'))\n"
        "    except OSError: pass\n"
        "    else: raise SystemExit('there is a network')"
    )
    env.file("pylock.toml", source_lock(sdist(index.folder, "ant", first=first)))

    declare(env, "allow_sdist = True", lock="pylock.toml")("//:show")

    assert shown(env) == ["ant 1.0"]


def test_a_requirements_txt_says_what_is_locked_as_its_source(env: Build, index: Index) -> None:
    ant, bee = sdist(index.folder, "ant"), wheel(index.folder, "bee")
    env.file("requirements.lock", f"--no-binary ant\n{ant.line}{bee.line}")

    declare(env, "allow_sdist = True")("//:show")

    assert shown(env) == ["ant 1.0", "bee 1.0"]


def test_a_source_that_needs_a_compiler_says_so(env: Build, index: Index) -> None:
    first = "raise SystemExit(\"error: command 'gcc' failed: No such file or directory\")"
    env.file("pylock.toml", source_lock(sdist(index.folder, "ant", first=first)))

    done = declare(env, "allow_sdist = True", lock="pylock.toml").run("build", "//:env")

    assert done.code == 1
    assert "`ant-1.0.tar.gz` needs the compiler `gcc`, which is not here" in done.stderr


def test_what_a_build_requires_comes_from_another_environment(env: Build, index: Index) -> None:
    first = "import tools; assert tools.VERSION == '1.0'"
    ant, tools = sdist(index.folder, "ant", first=first), wheel(index.folder, "tools")
    env.file("pylock.toml", source_lock(ant)).file("tools.lock", tools.line)
    declare(env, "allow_sdist = True", lock="pylock.toml")

    done = env.run("build", "//:env")
    assert "`ant-1.0.tar.gz` needs the module `tools` to be built" in done.stderr

    declare(env, 'allow_sdist = True, build_environment = ":tools"', lock="pylock.toml")
    with (env.root / "BUILD.ml").open("a") as file:
        file.write('python_environment(name = "tools", lock = "tools.lock")\n')
    env("//:show")
    assert shown(env) == ["ant 1.0"]


def other_python() -> str:
    """Return the version of a CPython here that does not run us, "" when there is none."""
    for minor in (12, 13, 10, 9):
        path = shutil.which(f"python3.{minor}")
        homes = sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python3.{minor}"))
        for place in [*homes, *([Path(path)] if path else [])]:
            done = subprocess.run([place, "-c", "print(1)"], capture_output=True, check=False)
            if done.returncode == 0 and minor != sys.version_info.minor:
                return f"3.{minor}"
    return ""


@pytest.mark.skipif(not other_python(), reason="no second CPython, and uv's are not reachable")
def test_an_environment_may_have_another_python(env: Build, index: Index) -> None:
    version = other_python()
    short = version.replace(".", "")
    own = wheel(index.folder, "ant", tag=f"cp{short}-none-any")
    env.file("requirements.lock", own.line)
    env.file("show.py", SCRIPT + "print(*sys.version_info[:2], file=open(sys.argv[1], 'a'))\n")

    declare(env, f'python = "{version}"')("//:show")

    assert shown(env) == ["ant 1.0", version.replace(".", " ")]


def test_an_interpreter_that_does_not_exist_is_an_error_that_names_those_that_do(
    env: Build,
) -> None:
    env.file("requirements.lock", "")

    done = declare(env, 'python = "3.99"').run("build", "//:env")

    assert done.code == 36
    assert "Python 3.99 is not on this host, and uv cannot fetch it" in done.stderr
    assert "there is Python 3." in done.stderr


# ---------------------------------------------------------------------------------------------
# bad input


def test_a_wrong_hash_names_the_line_and_leaves_nothing_behind(env: Build, index: Index) -> None:
    ant, bee = wheel(index.folder, "ant"), wheel(index.folder, "bee")
    wrong = bee.line.replace(bee.sha256, "0" * 64)
    env.file("requirements.lock", f"# packages\n{ant.line}{wrong}")

    done = declare(env).run("build", "//:env")

    assert done.code == 1
    assert "what was downloaded for `bee==1.0` is not what the lock names" in done.stderr
    assert "`requirements.lock:3` says `bee==1.0`" in done.stderr
    env.file("requirements.lock", f"# packages\n{ant.line}{bee.line}")
    env("//:show")
    assert shown(env) == ["ant 1.0", "bee 1.0"]


def test_a_vanished_wheel_names_the_line(env: Build, index: Index) -> None:
    ant, bee = wheel(index.folder, "ant"), wheel(index.folder, "bee")
    (index.folder / bee.file).unlink()
    env.file("uv.lock", uv_lock((ant, ""), (bee, "")))

    done = declare(env, lock="uv.lock").run("build", "//:env")

    assert done.code == 1
    assert "`bee==1.0` is not in the package index" in done.stderr
    line = env.root.joinpath("uv.lock").read_text().split("\n").index('name = "bee"') + 1
    assert f'`uv.lock:{line}` says `name = "bee"`' in done.stderr


def test_a_yanked_wheel_is_refused_unless_the_target_allows_it(env: Build, index: Index) -> None:
    ant = wheel(index.folder, "ant")
    index.yanked = {ant.file: "it eats sugar"}
    env.file("requirements.lock", ant.line)

    done = declare(env).run("build", "//:env")

    assert done.code == 1
    assert "`ant==1.0` was yanked by its authors: it eats sugar" in done.stderr
    assert "`requirements.lock:1` says `ant==1.0`" in done.stderr
    declare(env, "allow_yanked = True")("//:show")
    assert shown(env) == ["ant 1.0"]


def test_an_index_that_is_down_is_named_and_nothing_half_installed_is_used(
    env: Build, index: Index
) -> None:
    ant = wheel(index.folder, "ant")
    env.file("requirements.lock", ant.line)
    env.env["UV_DEFAULT_INDEX"] = "http://127.0.0.1:9/simple"

    done = declare(env).run("build", "//:env")

    assert done.code == 1
    assert "the package index of `ant==1.0` cannot be reached" in done.stderr
    env.env["UV_DEFAULT_INDEX"] = index.url
    env("//:show")
    assert shown(env) == ["ant 1.0"]


def test_a_lock_for_other_versions_of_python_is_refused(env: Build, index: Index) -> None:
    ant = wheel(index.folder, "ant")
    text = uv_lock((ant, "")).replace(">=3.9", ">=3.99")
    env.file("uv.lock", text)

    done = declare(env, lock="uv.lock").run("build", "//:env")

    assert done.code == 1
    assert "uv.lock:2: the lock is for Python >=3.99, and the environment has 3." in done.stderr


# ---------------------------------------------------------------------------------------------
# mlbuild lock


def locking(build: Build, *, requirements: str = "requirements.in") -> Build:
    return declare(build, f'requirements = "{requirements}"')


def test_lock_writes_what_a_build_then_uses(env: Build, index: Index) -> None:
    wheel(index.folder, "ant", metadata="Requires-Dist: bee\n")
    wheel(index.folder, "bee")
    env.file("requirements.in", "ant\n").file("requirements.lock", "")
    locking(env)

    done = env.run("lock")

    assert (done.code, done.stdout) == (0, "requirements.lock: written\n"), done.stderr
    assert index.url not in (env.root / "requirements.lock").read_text()
    env("//:show")
    assert shown(env) == ["ant 1.0", "bee 1.0"]
    assert env.run("lock").stdout == "requirements.lock: up to date\n"


def test_locked_versions_stay_until_an_upgrade_is_asked_for(env: Build, index: Index) -> None:
    wheel(index.folder, "ant")
    env.file("requirements.in", "ant\n")
    locking(env).run("lock", "//:env")
    wheel(index.folder, "ant", version="2.0")
    env.env["UV_CACHE_DIR"] += "-fresh"

    kept = env.run("lock", "--check")
    would = env.run("lock", "--check", "--upgrade-package", "ant")
    upgraded = env.run("lock", "--upgrade", "--json")

    assert (kept.code, would.code, upgraded.code) == (0, 1, 0), kept.stderr + upgraded.stderr
    assert "run `mlbuild lock`" in would.stdout
    (told,) = json.loads(upgraded.stdout)["locks"]
    assert (told["label"], told["path"], told["changed"]) == ("//:env", "requirements.lock", True)
    assert "ant==2.0" in (env.root / "requirements.lock").read_text()


def test_lock_shows_why_there_is_no_solution_and_leaves_the_lock(env: Build, index: Index) -> None:
    wheel(index.folder, "ant")
    env.file("requirements.in", "ant>=9\n").file("requirements.lock", "# as it was\n")

    done = locking(env).run("lock")

    assert done.code == 2
    assert "`requirements.lock` was not made: its requirements cannot all be met" in done.stderr
    assert any("ant" in note for note in done.stderr.split("note:")[2:])
    assert (env.root / "requirements.lock").read_text() == "# as it was\n"
    assert sorted(path.name for path in env.root.glob("*lock*")) == ["requirements.lock"]


def test_lock_says_that_an_index_is_down(env: Build) -> None:
    env.env["UV_DEFAULT_INDEX"] = "http://127.0.0.1:9/simple"
    env.file("requirements.in", "ant\n").file("requirements.lock", "")

    done = locking(env).run("lock")

    assert done.code == 36
    assert "a package index cannot be reached" in done.stderr


def test_lock_makes_the_locks_of_projects_and_scripts(env: Build, index: Index) -> None:
    wheel(index.folder, "ant")
    env.file(
        "pyproject.toml",
        '[project]\nname = "mine"\nversion = "0"\nrequires-python = ">=3.9"\n'
        'dependencies = ["ant"]\n',
    )
    env.file(
        "tool.py", '# /// script\n# requires-python = ">=3.9"\n# dependencies = ["ant"]\n# ///\n'
    )
    env.file("uv.lock", "").file("tool.py.lock", "")
    env.file(
        "BUILD.ml",
        'python_environment(name = "env", lock = "uv.lock", requirements = "pyproject.toml")\n'
        'python_environment(name = "tool", lock = "tool.py.lock", requirements = "tool.py")\n'
        + SHOW,
    )
    for name in ("uv.lock", "tool.py.lock"):
        (env.root / name).unlink()

    done = env.run("lock")

    assert done.stdout.splitlines() == ["uv.lock: written", "tool.py.lock: written"], done.stderr
    assert env.run("lock", "--check").code == 0
    env("//:show", "//:tool")
    assert shown(env) == ["ant 1.0"]


def test_a_target_that_does_not_say_what_its_lock_is_made_of_is_told_to(env: Build) -> None:
    env.file("requirements.lock", "")

    done = declare(env).run("lock", "//:env")

    assert done.code == 2
    assert "`//:env` does not say what its lock is made of" in done.stderr


# ---------------------------------------------------------------------------------------------
# mlbuild describe


def test_describe_lists_the_packages_of_an_environment(env: Build, index: Index) -> None:
    ant = wheel(index.folder, "ant", metadata="License-Expression: MIT\n")
    env.file("requirements.lock", ant.line)
    declare(env)

    before = env.run("describe", "//:env")
    after = env.run("describe", "//:env", "--build")

    assert "`--build` makes one" in before.stdout
    assert "declared  BUILD.ml:1:1" in after.stdout
    assert ["ant", "1.0", "MIT", "py3-none-any"] in [
        line.split()[:4] for line in after.stdout.splitlines()
    ]


def test_the_bill_of_materials_has_what_its_schema_requires(env: Build, index: Index) -> None:
    ant = wheel(index.folder, "ant", metadata="License: MIT License\nRequires-Dist: bee\n")
    bee = wheel(index.folder, "bee")
    env.file("requirements.lock", ant.line + bee.line)
    declare(env)("//:env")

    texts = [env.run("describe", "//:env", "--sbom").stdout for _ in range(2)]

    assert texts[0] == texts[1]
    bill = json.loads(texts[0])
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.5", 1)
    assert bill["serialNumber"].startswith("urn:uuid:")
    assert all({"type", "name"} <= set(one) for one in bill["components"])
    refs = [one["bom-ref"] for one in (bill["metadata"]["component"], *bill["components"])]
    assert len(set(refs)) == len(refs) == 3
    first = next(one for one in bill["components"] if one["name"] == "ant")
    assert first["purl"] == "pkg:pypi/ant@1.0"
    assert first["hashes"] == [{"alg": "SHA-256", "content": ant.sha256}]
    assert first["licenses"] == [{"license": {"name": "MIT License"}}]
    needs = {one["ref"]: one.get("dependsOn", []) for one in bill["dependencies"]}
    assert needs["pkg:pypi/ant@1.0"] == ["pkg:pypi/bee@1.0"]
    assert set(needs) == set(refs)


def test_describe_shows_any_target(env: Build) -> None:
    env.genrule("upper", "tr a-z A-Z")
    env("//:upper")

    told = json.loads(env.run("describe", "//:upper", "--json").stdout)

    assert (told["rule"], told["location"]) == ("genrule", "BUILD.ml:1:1")
    assert told["outputs"] == ["mlbuild-out/upper/upper.txt"]
    assert told["result"]["executor"]
    assert "packages" not in told
    assert env.run("describe", "//:upper", "--sbom").code == 2


# ---------------------------------------------------------------------------------------------
# an image as the base


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an archive of an image with a Python."""
    place = tmp_path_factory.mktemp("image") / "image.tar"
    docker.archive(docker.rootfs(), place, env=("FROM_IMAGE=yes",))
    return place


@pytest.mark.skipif(bool(NO_SANDBOX), reason=NO_SANDBOX)
def test_an_environment_may_stand_on_an_image(env: Build, index: Index, image: Path) -> None:
    env.file("requirements.lock", wheel(index.folder, "ant").line)
    (env.root / "image.tar").hardlink_to(image)
    env.env["DOCKER_HOST"] = "unix:///nowhere/docker.sock"
    env.file(
        "show.py",
        SCRIPT + "import ant, os\nprint(os.environ['FROM_IMAGE'], file=open(sys.argv[1], 'a'))\n",
    )
    declare(env, 'base = ":image"')
    with (env.root / "BUILD.ml").open("a") as file:
        file.write('container_environment(name = "image", archive = "image.tar")\n')

    env("//:env", "//:show")

    assert shown(env) == ["ant 1.0", "yes"]
    assert (env.root / "mlbuild-out/env/packages/__pycache__").is_dir()


# ---------------------------------------------------------------------------------------------
# the example


def test_the_example_builds_with_either_lock_and_its_locks_are_up_to_date(tmp_path: Path) -> None:
    shutil.copytree(
        REPOSITORY / "examples/environments",
        tmp_path / "example",
        ignore=shutil.ignore_patterns("mlbuild-out", ".mlbuild"),
    )
    build = Build(tmp_path / "example", cache=tmp_path / "cache")

    build("//...")
    assert json.loads(build.output("packages/packages.json")).keys() == {"iniconfig"}
    build("//...", "--config", "full")
    assert json.loads(build.output("packages/packages.json")).keys() == {"iniconfig", "pluggy"}
    assert build.run("lock", "--check").code == 0


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[docker.Registry]:
    """Return an empty registry on this host."""
    yield from docker.registry(tmp_path)


def test_lock_writes_the_digests_of_tagged_images(
    build: Build, registry: docker.Registry, image: Path
) -> None:
    repository, digest = registry.push(image)
    name = f"{repository}:1"
    build.file("mlbuild.lock", '[images]\n"zebra:2" = "sha256:0"\n').file(
        "BUILD.ml",
        f'container_environment(name = "image", image = "{name}", lock = "mlbuild.lock")\n',
    )

    done = build.run("lock")

    assert done.stdout == f"mlbuild.lock ({name}): written\n", done.stderr
    assert (build.root / "mlbuild.lock").read_text() == (
        f'# Written by `mlbuild lock`.\n[images]\n"{name}" = "{digest}"\n"zebra:2" = "sha256:0"\n'
    )
    registry.stop()
    stopped = build.run("lock", "--check")
    assert stopped.code != 0
    assert f"the tag of the image `{name}` cannot be resolved" in stopped.stderr
