"""A server of objects, or the way to it, in trouble: what a bucket makes of it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.patience import GivenUp, Patience, PatientBucket
from mlbuild.shared.place import place_of
from mlbuild.shared.s3 import S3Bucket
from mlbuild.shared.web import WebBucket
from tests.proxy import Fault, Proxy, of, proxy
from tests.servers import BUCKET, OWNER, ObjectServer

QUICK = Patience(attempts=3, seconds=5.0, jitter=lambda: 0.001)
CONTENT = bytes(range(256)) * 2000


@pytest.fixture(scope="module")
def between(weed: ObjectServer) -> Iterator[Proxy]:
    """A proxy in front of SeaweedFS."""
    with proxy(weed.endpoint) as made:
        yield made


@pytest.fixture(scope="module")
def one_bucket(between: Proxy, weed: ObjectServer) -> Iterator[PatientBucket]:
    """A bucket behind the proxy, with an object `x` in it: a client takes a while to make."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = behind(between, weed, monkeypatch)
        made.write("x", CONTENT)
        yield made
        made.close()


@pytest.fixture
def harmed(between: Proxy) -> Proxy:
    """The proxy, doing no harm yet."""
    between.forget()
    return between


@pytest.fixture
def bucket(one_bucket: PatientBucket, harmed: Proxy) -> PatientBucket:
    """The bucket, with no object `y` in it."""
    one_bucket.remove(["y"])
    harmed.forget()
    return one_bucket


def behind(between: Proxy, server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> PatientBucket:
    """Return a bucket that nobody else uses, behind a proxy."""
    server.use(monkeypatch)
    place = place_of(server.behind(between.endpoint).url(server.prefix()))
    return PatientBucket(S3Bucket(place, threads=4, idle_seconds=0.5), QUICK)


def opened(server: ObjectServer, monkeypatch: pytest.MonkeyPatch, url: str = "") -> S3Bucket:
    server.use(monkeypatch)
    return S3Bucket(place_of(url or server.url(server.prefix())), threads=2, idle_seconds=0.5)


def trouble_of_writing(bucket: S3Bucket) -> SharedTrouble:
    with pytest.raises(SharedTrouble) as caught:
        bucket.write("a", b"1")
    bucket.close()
    return caught.value


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", 500),
        Fault("status", 503, content=b"<Error><Code>SlowDown</Code></Error>"),
        Fault("reset"),
        Fault("lost"),
        Fault("truncate", 1000),
        Fault("stall", 1000),
        Fault("latency", seconds=0.2),
        Fault("body", content=b"<html>please log in</html>"),
    ],
    ids=lambda fault: f"{fault.kind} {fault.number}",
)
def test_a_read_outlives_a_fault_that_passes(
    bucket: PatientBucket, harmed: Proxy, fault: Fault
) -> None:
    harmed.faults.append(replace(fault, times=2, hits=of("GET")))

    content = bucket.read("x", limit=len(CONTENT))

    # Whoever reads verifies by digest: only a page of somebody else's is taken for the object.
    assert content == (fault.content if fault.kind == "body" else CONTENT)


@pytest.mark.parametrize("kind", ["status", "reset", "lost"])
def test_a_write_outlives_a_fault_that_passes(
    bucket: PatientBucket, harmed: Proxy, kind: str
) -> None:
    harmed.faults.append(Fault(kind, 500, times=2, hits=of("PUT")))

    bucket.write("y", CONTENT)

    assert bucket.read("y") == CONTENT


def test_a_fresh_write_whose_answer_was_lost_leaves_what_it_wrote(
    bucket: PatientBucket, harmed: Proxy
) -> None:
    harmed.faults.append(Fault("lost", times=1, hits=of("PUT")))

    first = bucket.write("y", b"ours", fresh=True)

    assert not first  # nobody can know; what matters is what is there
    assert bucket.read("y") == b"ours"


def test_a_fault_that_stays_is_given_up(bucket: PatientBucket, harmed: Proxy) -> None:
    harmed.faults.append(Fault("status", 500))

    with pytest.raises(GivenUp) as caught:
        bucket.read("x")

    assert caught.value.kind == "unreachable"
    assert harmed.asked("GET") == QUICK.attempts


def test_a_body_without_end_is_cut_off(bucket: PatientBucket, harmed: Proxy) -> None:
    harmed.faults.append(Fault("longer", 50 << 20))

    with pytest.raises(SharedTrouble) as caught:
        bucket.read("x", limit=len(CONTENT))

    assert caught.value.kind == "damaged"


def test_a_server_that_is_gone_is_unreachable(bucket: PatientBucket, harmed: Proxy) -> None:
    harmed.vanish()

    with pytest.raises(SharedTrouble) as caught:
        bucket.read("x")

    assert caught.value.kind == "unreachable"
    assert harmed.endpoint in caught.value.message


def test_connections_are_used_again(bucket: PatientBucket, harmed: Proxy) -> None:
    for _ in range(5):
        bucket.read("x")
        bucket.read("x", start=10, size=10)
        bucket.read("absent")
        bucket.write("y", b"1")

    assert harmed.connections == 0  # none but the one that wrote `x`
    assert harmed.asked() == 20  # and no request that was not asked for


def test_a_web_mirror_uses_its_connection_again(
    weed: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = weed.prefix()
    writer = opened(weed, monkeypatch, weed.url(prefix))
    writer.write("x", CONTENT)
    writer.close()

    with proxy(weed.web) as between:
        mirror = WebBucket(f"{between.endpoint}/buckets/{BUCKET}/{prefix}")
        found = [mirror.read(name) for name in ("x", "absent", "x", "x")]
        part = mirror.read("x", start=5, size=5)
        mirror.close()

    assert (found, part) == ([CONTENT, None, CONTENT, CONTENT], CONTENT[5:10])
    assert between.connections == 1


def test_a_server_without_conditional_writes_is_tolerated(
    harmed: Proxy, weed: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = behind(harmed, weed, monkeypatch)
    unknown = b"<Error><Code>NotImplemented</Code><Message>If-None-Match</Message></Error>"
    conditional = Fault("status", 501, content=unknown)
    conditional.hits = lambda request: request.header("if-none-match") != ""
    harmed.faults.append(conditional)

    assert bucket.write("y", b"first", fresh=True)
    assert bucket.write("y", b"second", fresh=True)

    assert bucket.read("y") == b"second"
    assert conditional.seen == 1
    bucket.close()


def test_a_server_without_batches_removes_one_by_one(
    harmed: Proxy, weed: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = behind(harmed, weed, monkeypatch)
    bucket.write("y", b"1")
    unknown = b"<Error><Code>NotImplemented</Code></Error>"
    harmed.faults.append(Fault("status", 501, content=unknown, hits=of("POST", "delete")))

    bucket.remove(["y", "absent"])

    assert bucket.read("y") is None
    bucket.close()


# -- what users are told


def test_who_may_only_read_is_told_which_permission_is_missing(
    weed: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = weed.url("team")

    trouble = trouble_of_writing(opened(weed.as_reader(), monkeypatch, url))

    assert trouble.kind == "denied"
    assert trouble.message == f"the credentials may not s3:PutObject on `{BUCKET}/team`"
    assert trouble.cure == f"allow them `s3:PutObject` on `arn:aws:s3:::{BUCKET}/team/*`"


def test_a_wrong_secret_is_named(weed: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    trouble = trouble_of_writing(opened(replace(weed, secret=OWNER[1].lower()), monkeypatch))

    assert trouble.kind == "denied"
    assert "secret key" in trouble.message


def test_an_unknown_key_is_named(weed: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    trouble = trouble_of_writing(opened(replace(weed, access="NOBODY"), monkeypatch))

    assert trouble.kind == "denied"
    assert "does not know these credentials" in trouble.message


def test_without_credentials_the_ways_to_them_are_named(
    weed: ObjectServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bucket = opened(weed, monkeypatch)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))

    trouble = trouble_of_writing(bucket)

    assert trouble.kind == "denied"
    assert "no credentials" in trouble.message
    assert "aws configure" in trouble.cure


def test_a_profile_that_is_not_there_is_named(
    weed: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble = trouble_of_writing(opened(weed, monkeypatch, weed.url("x") + "&profile=ci"))

    assert trouble.message == "there is no AWS profile `ci`"


def test_a_profile_of_the_user_is_used(
    weed: ObjectServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = tmp_path / "config"
    settings.write_text(
        f"[profile ci]\naws_access_key_id = {weed.access}\naws_secret_access_key = {weed.secret}\n"
        f"region = us-east-1\nendpoint_url = {weed.endpoint}\n"
    )
    bucket = opened(weed, monkeypatch, f"s3://{BUCKET}/{weed.prefix()}?profile=ci")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "NOBODY")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(settings))

    bucket.write("a", b"1")

    assert bucket.read("a") == b"1"
    bucket.close()


def test_a_bucket_that_is_not_there_is_named(
    moto: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = moto.url("x").replace(f"s3://{BUCKET}/", "s3://nowhere/")

    trouble = trouble_of_writing(opened(moto, monkeypatch, url))

    assert trouble.message == "there is no bucket `nowhere`"
    assert "aws s3 mb s3://nowhere" in trouble.cure


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (403, "ExpiredToken", "denied", "have expired"),
        (403, "RequestTimeTooSkewed", "refused", "clocks"),
        (507, "QuotaExceeded", "full", "no room"),
        (403, "AccessDenied", "denied", "s3:GetObject"),
        (400, "KMS.DisabledException", "denied", "key that encrypts"),
        (418, "Teapot", "refused", "Teapot"),
    ],
)
def test_a_refusal_is_told_in_words(
    bucket: PatientBucket, harmed: Proxy, status: int, code: str, kind: str, words: str
) -> None:
    answer = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    harmed.faults.append(Fault("status", status, content=answer))

    with pytest.raises(SharedTrouble) as caught:
        bucket.read("x")

    assert caught.value.kind == kind
    assert words in caught.value.message
    assert harmed.asked() == 1  # nothing that will not pass is tried again
