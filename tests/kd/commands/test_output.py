"""Tables on the standard output."""

import pytest

from kd.commands.output import show_table


def test_a_table_has_a_line_for_the_head_and_for_each_row(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_table(["size", "Dice"], [["teacher", "0.8803"], ["[small]", "0.8762"]])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["size", "Dice"]
    assert lines[-2:] == [["teacher", "0.8803"], ["[small]", "0.8762"]], "no markup is interpreted"
