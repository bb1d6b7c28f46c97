from pathlib import Path

from anime_lora.evaluation.metrics.sweeps import ScalePoint
from anime_lora.evaluation.report.plots import point_row, write_csv
from anime_lora.evaluation.report.training import Epoch, read_epochs
from anime_lora.evaluation.statistics import Estimate


def test_an_estimate_gives_a_column_for_itself_and_for_each_bound(tmp_path: Path) -> None:
    rows = [point_row(ScalePoint(0.5, Estimate(1 / 3, 0.1, None, 4, 8), 4)), point_row(ScalePoint(1.0, None, 4))]
    write_csv(tmp_path / "scale.csv", rows)
    lines = ["scale,style,style_low,style_high,n", "0.5,0.333333,0.1,,4", "1.0,,,,4"]
    assert (tmp_path / "scale.csv").read_text().splitlines() == lines


def test_epochs_are_read_with_what_training_measured(tmp_path: Path) -> None:
    assert read_epochs(tmp_path) == []
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "heldout.csv").write_text("epoch,heldout,style\n0,0.5,\n1,0.4,1.5\n")
    assert read_epochs(tmp_path) == [Epoch(0, heldout=0.5), Epoch(1, heldout=0.4, style=1.5)]
