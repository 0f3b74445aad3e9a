"""GPUs: which there are, who gets which, and what else of a machine rounds numbers."""

import os
from pathlib import Path

import pytest

from mlbuild.core.gpus import GpuWish, parse_wish
from mlbuild.errors import InputError, Interrupted
from mlbuild.exec.base import Gpu
from mlbuild.exec.gpus import Gpus, lent, nodes
from mlbuild.exec.numerics import class_of, cpu_class, flags_in, numerics
from mlbuild.slots import Slots
from mlbuild.store.disk import open_store

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


def test_the_driver_tells_models_versions_and_memory(tmp_path: Path) -> None:
    found = Gpus(fake_driver(tmp_path, ROWS)).found

    assert found[0] == Gpu("GPU-aaa", A100, "550.54.14", 80 << 30, "12.4")
    assert str(found[1]) == "Tesla T4, driver 550.54.14, CUDA 12.4"


def test_what_a_host_lacks_is_said_with_what_it_has(tmp_path: Path) -> None:
    gpus = Gpus(fake_driver(tmp_path, ROWS))

    assert gpus.lack(parse_wish("2")) == ""
    assert gpus.lack(parse_wish("A100")) == ""
    assert gpus.lack(parse_wish("A100:2")) == f"this host has 1 {A100}, 1 Tesla T4"
    assert gpus.lack(parse_wish("2"), alike=True) != ""


def test_why_a_host_has_no_gpu_is_said(tmp_path: Path) -> None:
    broken = fake_driver(tmp_path, "", code=18, said="Driver/library version mismatch")

    assert "not installed" in Gpus(str(tmp_path / "nowhere")).lack(parse_wish("1"))
    assert "Driver/library version mismatch" in Gpus(broken).lack(parse_wish("1"))


def test_a_gpu_is_lent_to_one_build_at_a_time(tmp_path: Path) -> None:
    gpus = Gpus(fake_driver(tmp_path, ROWS)).found
    waits: list[str] = []

    def give_up(holders: str) -> None:
        waits.append(holders)
        raise Interrupted("enough")

    with open_store(str(tmp_path / "s")) as one, open_store(str(tmp_path / "s")) as two:
        with lent(GpuWish(1), gpus, lock=one.key_lock, borrower="a", on_wait=give_up) as first:
            with lent(GpuWish(1), gpus, lock=two.key_lock, borrower="b", on_wait=give_up) as other:
                assert (first, other) == ((gpus[0],), (gpus[1],))
                with pytest.raises(Interrupted):
                    lent(
                        GpuWish(1), gpus, lock=one.key_lock, borrower="c", on_wait=give_up
                    ).__enter__()
            with pytest.raises(Interrupted):
                lent(GpuWish(2), gpus, lock=two.key_lock, borrower="d", on_wait=give_up).__enter__()
        with lent(GpuWish(2), gpus, lock=two.key_lock, borrower="e", on_wait=give_up) as both:
            assert both == gpus

    assert waits == ["a, b", "a"]


def test_only_the_devices_of_ones_own_gpus_are_shown(tmp_path: Path) -> None:
    folder, told = tmp_path / "dev", tmp_path / "told"
    folder.mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null", "nvidia-caps"):
        (folder / name).touch()
    for number, uuid in enumerate(("GPU-bbb", "GPU-aaa")):
        (told / f"0000:0{number}").mkdir(parents=True)
        text = f"Model: \t\t T4\nGPU UUID: \t {uuid}\nDevice Minor: \t {number}\n"
        (told / f"0000:0{number}" / "information").write_text(text)

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
        pytest.skip(gpus.lack(GpuWish(1)))

    assert all(gpu.uuid.startswith("GPU-") and gpu.driver and gpu.cuda for gpu in gpus.found)
    assert nodes(gpus.found)
