"""Keys and signatures: whose word counts, and what is done with anything else."""

import base64
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mlbuild.errors import HostError, InputError
from mlbuild.shared.keys import PublicKey, public_key, public_keys, read_private, write_private
from mlbuild.shared.signing import DOMAIN, MOST, Judge, Signer, new_key, public_of

MESSAGE = b"mlbuild shared result 1\nkey\ndigest\n"


def signer(name: str = "ci") -> Signer:
    return Signer(new_key(name))


def saved(folder: Path, name: str = "ci") -> Path:
    key = new_key(name)
    path = folder / name
    write_private(str(path), key, public=public_of(key))
    return path


def test_what_a_trusted_key_signed_counts_and_nothing_else() -> None:
    ci, eve = signer("ci"), signer("eve")
    judge = Judge.of([str(ci.public)])

    assert judge.accepts(MESSAGE, [(ci.key_id, ci.sign(MESSAGE))])
    assert not judge.accepts(MESSAGE, [(eve.key_id, eve.sign(MESSAGE))])
    assert not judge.accepts(MESSAGE, [(ci.key_id, eve.sign(MESSAGE))])
    assert not judge.accepts(MESSAGE + b"x", [(ci.key_id, ci.sign(MESSAGE))])
    assert not judge.accepts(MESSAGE, [])


def test_without_trusted_keys_everything_counts() -> None:
    judge = Judge.of([])

    assert judge.accepts(MESSAGE, [])
    assert judge.accepts(MESSAGE, [("?", b"?")])


def test_one_good_signature_among_others_is_enough() -> None:
    old, new = signer("old"), signer("new")
    judge = Judge.of([str(new.public)])

    both = [(one.key_id, one.sign(MESSAGE)) for one in (old, new)]

    assert judge.accepts(MESSAGE, both)
    assert judge.accepts(MESSAGE, [("", b""), (new.key_id, b"\0" * 64), *both])


def test_only_so_many_signatures_are_looked_at() -> None:
    ci = signer()
    judge = Judge.of([str(ci.public)])

    many = [(ci.key_id, b"\0" * 64)] * MOST + [(ci.key_id, ci.sign(MESSAGE))]

    assert not judge.accepts(MESSAGE, many)


def test_who_trusts_others_trusts_itself_and_who_trusts_anybody_still_does() -> None:
    ci, own, eve = signer("ci"), signer("own"), signer("eve")

    judge = Judge.of([str(ci.public)], own=own)

    assert judge.accepts(MESSAGE, [(own.key_id, own.sign(MESSAGE))])
    assert not judge.accepts(MESSAGE, [(eve.key_id, eve.sign(MESSAGE))])
    assert Judge.of([], own=own).accepts(MESSAGE, [])


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\0", b"\xff" * 63, b"\xff" * 64, b"\0" * 64, b"\xff" * 65, b"x" * 1_000_000],
)
def test_garbage_instead_of_a_signature_is_a_no(garbage: bytes) -> None:
    ci = signer()

    assert not Judge.of([str(ci.public)]).accepts(MESSAGE, [(ci.key_id, garbage)])


def test_a_key_that_is_no_point_of_the_curve_signs_nothing() -> None:
    ci = signer()
    strange = PublicKey("ci", b"\xff" * 32)

    assert not Judge({ci.key_id: strange}).accepts(MESSAGE, [(ci.key_id, ci.sign(MESSAGE))])


def test_a_signature_says_what_it_is_for() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - the vendor's
        Ed25519PrivateKey,
    )

    key = new_key("ci")
    plain = Ed25519PrivateKey.from_private_bytes(key.seed)
    judge = Judge.of([str(public_of(key))])
    key_id = public_of(key).id

    assert not judge.accepts(MESSAGE, [(key_id, plain.sign(MESSAGE))])
    assert judge.accepts(MESSAGE, [(key_id, plain.sign(DOMAIN + MESSAGE))])


def test_the_id_of_a_key_follows_from_the_key_and_not_from_its_name() -> None:
    key = public_of(new_key("ci"))

    renamed = public_key(str(PublicKey("other", key.raw)))

    assert renamed.id == key.id
    assert public_of(new_key("ci")).id != key.id


def test_a_key_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = saved(tmp_path)

    again = Signer.open(str(path))
    found = public_keys(str(tmp_path))

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert found == [(str(path), again.public)]
    assert Judge.of([str(found[0][1])]).accepts(MESSAGE, [(again.key_id, again.sign(MESSAGE))])


@pytest.mark.parametrize("place", ["ci", "ci.pub"])
def test_no_key_is_overwritten(tmp_path: Path, place: str) -> None:
    (tmp_path / place).write_text("mine")

    with pytest.raises(InputError, match="no key is ever overwritten"):
        saved(tmp_path)

    assert [one.name for one in tmp_path.iterdir()] == [place]
    assert (tmp_path / place).read_text() == "mine"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_private_key_that_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    path = saved(tmp_path)
    path.chmod(mode)

    with pytest.raises(InputError, match="others can read the signing key") as caught:
        Signer.open(str(path))

    assert caught.value.hints == (f"`chmod 600 {path}`",)


@pytest.mark.parametrize(
    "text",
    ["", "mlbuild-ed25519-private:AAAA:ci", "mlbuild-ed25519-private:!:ci", "x" * 100_000, "é:é:é"],
)
def test_a_file_that_is_no_private_key_is_said_without_its_text(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(0o600)

    with pytest.raises(InputError) as caught:
        read_private(str(path))

    assert caught.value.message == f"`{path}` holds no private key"


def test_the_public_file_is_no_signing_key(tmp_path: Path) -> None:
    path = saved(tmp_path)
    os.chmod(f"{path}.pub", 0o600)

    with pytest.raises(InputError, match="holds no private key"):
        read_private(f"{path}.pub")
    with pytest.raises(InputError, match="cannot read the signing key"):
        read_private(str(tmp_path / "absent"))


def test_a_private_line_is_no_public_key_and_is_not_said(tmp_path: Path) -> None:
    line = saved(tmp_path).read_text().strip()

    with pytest.raises(InputError) as caught:
        public_key(line)

    assert line.split(":")[1] not in str(caught.value.message) + str(caught.value.hints)
    assert "seed" not in repr(read_private(str(tmp_path / "ci")))


@pytest.mark.parametrize(
    "line",
    [
        "",
        ":",
        "mlbuild-ed25519::ci",
        "mlbuild-ed25519:" + "A" * 43 + "=:",
        "mlbuild-ed25519:AA==:x",
    ],
)
def test_a_line_that_is_no_public_key_is_refused(line: str) -> None:
    with pytest.raises(InputError, match="this is no public key"):
        Judge.of([line])


def test_without_the_package_the_cure_is_said_and_nothing_counts() -> None:
    line = f"mlbuild-ed25519:{base64.b64encode(bytes(32)).decode()}:ci"
    program = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from mlbuild.shared.signing import Judge, new_key\n"
        "from mlbuild.errors import HostError\n"
        "print(Judge.of([]).accepts(b'', []))\n"
        f"for call in (lambda: Judge.of(['{line}']), lambda: new_key('x')):\n"
        "    try: call()\n"
        "    except HostError as error: print(error.message, error.hints[0])\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    said = done.stdout.splitlines()
    assert said[0] == "True"
    assert len(said) == 3
    assert "signatures need the package `cryptography`" in said[1]
    assert "pip install 'mlbuild[signing]'" in said[2]


def test_a_place_that_cannot_be_written_is_a_trouble_of_the_host(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(HostError, match="cannot write"):
        saved(tmp_path / "file")
