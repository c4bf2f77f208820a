"""`wardline inspect --render` on messages that nobody here wrote: the same bytes, readable or not."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from engine.cli.inspect import command

BEGINNINGS = (b"MSH", b"FHS", b"BHS")
BEFORE = b"\xef\xbb\xbf\x0b \r\n"  # byte order marks and blanks, which some files begin with


def is_hl7(path: Path) -> bool:
    return path.is_file() and (path.suffix.lower() == ".hl7" or path.read_bytes().lstrip(BEFORE).startswith(BEGINNINGS))


def test_every_real_file_is_rendered_as_the_same_bytes(shared_data: Path) -> None:
    runner, unread = CliRunner(), 0
    files = [path for path in sorted(shared_data.rglob("*")) if is_hl7(path)]
    for path in files:
        done = runner.invoke(command, ["--render", str(path)])
        assert (done.exit_code, done.stdout_bytes) == (0, path.read_bytes()), path
        unread += "written as they are" in done.stderr
    assert len(files) > 400
    assert unread < 30  # byte order marks, broken delimiters, unknown character sets


def test_what_no_format_reads_keeps_its_bytes_and_says_why(tmp_path: Path) -> None:
    file = tmp_path / "bom.hl7"
    file.write_bytes(b"\xef\xbb\xbfMSH|^~\\&|EHR\r")
    done = CliRunner().invoke(command, ["--render", str(file)])
    assert done.stdout_bytes == file.read_bytes()
    assert "byte order mark" in done.stderr
    assert CliRunner().invoke(command, [str(file)]).exit_code == 1
