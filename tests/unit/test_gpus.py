"""GPUs: which there are, who gets which, and what else of a machine rounds numbers."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from mlbuild.core.gpus import GpuWish, either, joined, parse_wish, parse_wishes
from mlbuild.errors import InputError, Interrupted
from mlbuild.exec.base import Gpu
from mlbuild.exec.gpus import Gpus, Offer, nodes, offers
from mlbuild.exec.leases import Lent, lent
from mlbuild.exec.numerics import class_of, cpu_class, flags_in, numerics
from mlbuild.slots import Slots
from mlbuild.store.disk import DiskStore, open_store

A100 = "NVIDIA A100-SXM4-80GB"
ROWS = f"GPU-aaa, {A100}, 550.54.14, 81920 MiB\nGPU-bbb, Tesla T4, 550.54.14, 15360 MiB\n"


def fake_driver(folder: Path, rows: str, *, code: int = 0, said: str = "") -> str:
    """Write an nvidia-smi that lists `rows`; return a PATH that has it."""
    program = folder / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\n"
        f"test {code} = 0 || {{ echo '{said}'; exit {code}; }}\n"
        'case "$*" in\n'
        f"*--query-gpu*) cat <<END\n{rows}END\n;;\n"
        "*) echo '| NVIDIA-SMI 550.54.14   Driver Version: 550.54.14   CUDA Version: 12.4 |' ;;\n"
        "esac\n"
    )
    program.chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("1", GpuWish(1)),
        ("8", GpuWish(8)),
        ("A100", GpuWish(1, "A100")),
        ("A100:2", GpuWish(2, "A100")),
        ("RTX 4090:1", GpuWish(1, "RTX 4090")),
    ],
)
def test_a_wish_is_a_number_or_a_model_with_one(text: str, wish: GpuWish) -> None:
    assert parse_wish(text) == wish


@pytest.mark.parametrize("text", ["-1", "1.5", "A100:", "A100:0", ":2", "A100:x", "2:A100"])
def test_anything_else_is_no_wish(text: str) -> None:
    with pytest.raises(InputError, match="`gpus`"):
        parse_wish(text)


def test_a_model_is_found_by_the_words_of_its_name() -> None:
    assert parse_wish("A100").fits(A100)
    assert parse_wish("a100-80gb").fits(A100)
    assert not parse_wish("A10").fits(A100)
    assert not parse_wish("A100-40GB").fits(A100)


@pytest.mark.parametrize(
    ("name", "memory", "fits"),
    [
        ("NVIDIA A100-SXM4-80GB", 81920, "A100-80GB"),
        ("NVIDIA A100 80GB PCIe", 81920, "A100-80g"),
        ("NVIDIA H100 PCIe", 81559, "H100-80GB"),
        ("NVIDIA H200", 143771, "H200-141GB"),
        ("NVIDIA L4", 23034, "L4-24GB"),
        ("NVIDIA L40S", 46068, "L40S-48GB"),
        ("Tesla T4", 15360, "T4-16GB"),
        ("NVIDIA GeForce RTX 4090", 24564, "RTX 4090-24GB"),
    ],
)
def test_memory_is_taken_from_the_gpu_where_its_name_is_silent(
    name: str, memory: int, fits: str
) -> None:
    assert parse_wish(fits).fits(name, memory << 20)
    assert not parse_wish(fits.partition("-")[0] + "-32GB").fits(name, memory << 20)
    assert parse_wish(fits.partition("-")[0]).fits(name)


def test_a_name_that_states_its_memory_is_believed() -> None:
    assert not parse_wish("A100-40GB").fits(A100, 40 << 30)
    assert not parse_wish("T4-16GB").fits("Tesla T4")  # of which nothing is known


def test_several_wishes_are_one_text_in_their_order() -> None:
    text = joined(["A100-80GB:2", "H100", "A100-80GB:2", "1"])

    assert text == "A100-80GB:2, H100, 1"
    assert parse_wishes(text) == (GpuWish(2, "A100-80GB"), GpuWish(1, "H100"), GpuWish(1))
    assert either(parse_wishes(text)) == "2 A100-80GB GPUs or 1 H100 GPU or 1 GPU"
    assert parse_wishes("") == ()


def test_the_driver_tells_models_versions_and_memory(tmp_path: Path) -> None:
    found = Gpus(fake_driver(tmp_path, ROWS)).found

    assert found[0] == Gpu("GPU-aaa", A100, "550.54.14", 80 << 30, "12.4")
    assert str(found[1]) == "Tesla T4, driver 550.54.14, CUDA 12.4"


def test_what_a_host_lacks_is_said_with_what_it_has(tmp_path: Path) -> None:
    gpus = Gpus(fake_driver(tmp_path, ROWS))

    assert gpus.lack(parse_wishes("2")) == ""
    assert gpus.lack(parse_wishes("H100, A100")) == ""
    assert gpus.lack(parse_wishes("A100:2, H100")) == f"this host has 1 {A100}, 1 Tesla T4"
    assert gpus.lack(parse_wishes("2"), alike=True) != ""


def test_why_a_host_has_no_gpu_is_said(tmp_path: Path) -> None:
    broken = fake_driver(tmp_path, "", code=18, said="Driver/library version mismatch")

    assert "not installed" in Gpus(str(tmp_path / "nowhere")).lack(parse_wishes("1"))
    assert "Driver/library version mismatch" in Gpus(broken).lack(parse_wishes("1"))


def test_of_several_wishes_those_count_that_there_are_gpus_for(tmp_path: Path) -> None:
    a100, t4 = found = Gpus(fake_driver(tmp_path, ROWS)).found
    wishes = parse_wishes("T4:2, T4-16GB, H100, 1")

    assert [one.among for one in offers(wishes, found)] == [(t4,), found]
    # Where the model decides the last bit, who has which GPU now must not.
    assert offers(wishes, found, alike=True) == (Offer(GpuWish(1, "T4-16GB"), (t4,)),)
    assert offers(parse_wishes("2, 1"), found, alike=True) == (Offer(GpuWish(1), (a100,)),)


def give_up(waits: list[str]) -> Callable[[str], None]:
    """Return what notes for whom one would wait, and does not."""

    def on_wait(holders: str) -> None:
        waits.append(holders)
        raise Interrupted("enough")

    return on_wait


def test_a_gpu_is_lent_to_one_build_at_a_time(tmp_path: Path) -> None:
    found = Gpus(fake_driver(tmp_path, ROWS)).found
    waits: list[str] = []

    def borrow(wishes: str, store: DiskStore, who: str) -> AbstractContextManager[Lent]:
        offered = offers(parse_wishes(wishes), found)
        return lent(offered, lock=store.key_lock, borrower=who, on_wait=give_up(waits))

    with open_store(str(tmp_path / "s")) as one, open_store(str(tmp_path / "s")) as two:
        with borrow("1", one, "a") as first:
            with borrow("1", two, "b") as other:
                assert (first.gpus, other.gpus) == ((found[0],), (found[1],))
                with pytest.raises(Interrupted):
                    borrow("1", one, "c").__enter__()
            with pytest.raises(Interrupted):
                borrow("2", two, "d").__enter__()
        with borrow("2", two, "e") as both:
            assert both.gpus == found

    assert waits == ["a, b", "a"]


def test_a_free_gpu_that_is_liked_less_is_taken_before_one_that_is_lent(tmp_path: Path) -> None:
    found = Gpus(fake_driver(tmp_path, ROWS)).found
    offered = offers(parse_wishes("A100, T4"), found)
    waits: list[str] = []

    with open_store(str(tmp_path / "s")) as store:

        def borrow(who: str) -> AbstractContextManager[Lent]:
            return lent(offered, lock=store.key_lock, borrower=who, on_wait=give_up(waits))

        with borrow("a") as first, borrow("b") as second, pytest.raises(Interrupted):
            borrow("c").__enter__()
        with borrow("d") as third:
            pass

    assert (first.gpus, second.gpus, third.gpus) == ((found[0],), (found[1],), (found[0],))
    assert waits == ["a, b"]


def test_what_was_held_of_a_wish_that_is_not_free_goes_back_at_once(tmp_path: Path) -> None:
    found = Gpus(fake_driver(tmp_path, ROWS)).found
    offered = offers(parse_wishes("2, 1"), found)

    with open_store(str(tmp_path / "s")) as store:
        taken = store.key_lock("gpu-GPU-bbb")
        assert taken.try_acquire()
        with lent(offered, lock=store.key_lock, borrower="a", on_wait=give_up([])) as one:
            assert one.gpus == found[:1]
            assert not store.key_lock("gpu-GPU-aaa").try_acquire()
        assert store.key_lock("gpu-GPU-aaa").try_acquire()


def driver_files(told: Path, *uuids: str) -> None:
    """Write what the driver tells of GPUs, in the order of their device files."""
    for number, uuid in enumerate(uuids):
        (told / f"0000:0{number}").mkdir(parents=True)
        text = f"Model: \t\t T4\nGPU UUID: \t {uuid}\nDevice Minor: \t {number}\n"
        (told / f"0000:0{number}" / "information").write_text(text)


def test_a_gpu_is_lent_to_one_user_of_the_host_at_a_time(tmp_path: Path) -> None:
    found = Gpus(fake_driver(tmp_path, ROWS)).found
    told = str(tmp_path / "told")
    driver_files(tmp_path / "told", "GPU-aaa", "GPU-bbb")
    waits: list[str] = []

    def borrow(wishes: str, store: DiskStore) -> AbstractContextManager[Lent]:
        offered, wait = offers(parse_wishes(wishes), found), give_up(waits)
        return lent(offered, lock=store.key_lock, borrower="a", on_wait=wait, told=told)

    with open_store(str(tmp_path / "ana")) as ana, open_store(str(tmp_path / "ben")) as ben:
        with borrow("A100", ana) as first:
            with pytest.raises(Interrupted):
                borrow("A100", ben).__enter__()
            with borrow("A100, T4", ben) as other:
                assert (first.gpus, other.gpus) == (found[:1], found[1:])
        with borrow("2", ben) as both:
            assert both.gpus == found

    assert waits == ["another user of the host"]


def test_only_the_devices_of_ones_own_gpus_are_shown(tmp_path: Path) -> None:
    folder, told = tmp_path / "dev", tmp_path / "told"
    folder.mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null", "nvidia-caps"):
        (folder / name).touch()
    driver_files(told, "GPU-bbb", "GPU-aaa")

    def names(told: Path) -> list[str]:
        found = nodes([Gpu("GPU-aaa", A100)], folder=str(folder), told=str(told))
        return [os.path.basename(path) for path in found]

    assert names(told) == ["nvidia-uvm", "nvidia1", "nvidiactl"]
    assert names(tmp_path / "nothing") == ["nvidia-uvm", "nvidia0", "nvidia1", "nvidiactl"]


def test_who_waits_for_gpus_keeps_them_and_gives_the_rest() -> None:
    slots = Slots(cpus=2, memory=10, gpus=1)

    assert slots.take("a", cpus=2, memory=10, gpus=1)
    slots.give("a", all_but_gpus=True)
    assert not slots.has_gpus(1)
    assert slots.take("b", cpus=2, memory=10)
    assert not slots.take("c", cpus=0, memory=0, gpus=1)
    slots.give("a")
    assert slots.has_gpus(1)
    assert slots.has_gpus(0)


V2 = "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"
V3 = f"{V2} avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        ("fpu sse sse2", "x86-64-v1"),
        (V2, "x86-64-v2"),
        (V3, "x86-64-v3"),
        (V3.replace("fma ", ""), "x86-64-v2"),
        (f"{V3} avx512f avx512bw avx512cd avx512dq avx512vl", "x86-64-v4"),
    ],
)
def test_a_processor_has_the_level_all_of_whose_flags_it_has(flags: str, level: str) -> None:
    assert class_of("x86_64", frozenset(flags.split())) == level


def test_a_machine_is_as_good_as_its_weakest_processor() -> None:
    lines = ["flags\t\t: avx avx2 fma\n", "model name : x\n", "flags : avx fma\n"]

    assert flags_in(lines) == {"avx", "fma"}
    assert flags_in([]) == frozenset()


def test_the_numerics_of_a_host_name_its_gpus_once() -> None:
    gpu = Gpu("GPU-aaa", "T4", "550", 0, "12.4")

    assert numerics() == cpu_class()
    assert numerics([gpu, gpu]) == f"{cpu_class()} + T4, driver 550, CUDA 12.4"


@pytest.mark.gpu
def test_a_real_driver_is_understood() -> None:
    gpus = Gpus(os.environ.get("PATH", ""))
    if not gpus.found:
        pytest.skip(gpus.lack([GpuWish(1)]))

    assert all(gpu.uuid.startswith("GPU-") and gpu.driver and gpu.cuda for gpu in gpus.found)
    assert nodes(gpus.found)
