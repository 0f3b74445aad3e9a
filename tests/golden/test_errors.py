"""What users are told when their files are wrong: sentence, place, carets, a way out.

A new case is a new file in `errors`; `UPDATE_GOLDEN=1 pytest tests/golden/test_errors.py` writes
what the command says now into all of them. Read the difference before you keep it.
"""

import os
import re
from pathlib import Path

import pytest

from mlbuild.cli.main import main
from tests.golden.cases import case_names, read_case, write_case


@pytest.mark.parametrize("name", list(case_names()))
def test_what_the_user_is_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = read_case(name)
    root = tmp_path / "work"
    root.mkdir()
    case.make(str(root))
    for variable in [one for one in os.environ if one.startswith("MLBUILD_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("MLBUILD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(root)

    code = main(list(case.words))

    said = re.sub(re.escape(str(root)), "/work", capsys.readouterr().err)
    if os.environ.get("UPDATE_GOLDEN"):
        write_case(name, case.text(said, code))
        return
    assert said == case.said
    assert code == case.code


def test_there_are_many_cases_and_each_shows_an_error() -> None:
    cases = [read_case(name) for name in case_names()]

    told = [case.said for case in cases if case.code]

    assert len(told) >= 60
    assert all(said.startswith("error: ") for said in told)
