"""Progress, amounts and times are said as people say them."""

import pytest

from napari_vstain.core.jobs import Job, JobStatus
from napari_vstain.widgets.footer import JobRow
from napari_vstain.widgets.kit.text import pixels, rate


@pytest.mark.parametrize(
    ("number", "text"),
    [(25, "25 px"), (4096, "4096 px"), (65_536, "0.0655 Mpx"), (262_144, "0.262 Mpx"), (12_600_000, "12.6 Mpx")],
)
def test_an_amount_of_pixels_is_never_written_as_a_power_of_ten(number, text):
    assert pixels(number) == text
    assert rate(JobStatus(unit="px", rate=number)) == f"{text}/s"
    assert rate(JobStatus(unit="Mpx", rate=number / 1e6)) == f"{text}/s"


def test_the_footer_names_the_job_and_says_how_long_it_takes_before_all_else(qtbot):
    row = JobRow(Job(lambda progress: None, "Training first"))
    qtbot.addWidget(row)
    row.reflect(JobStatus(phase="Training", done=3, total=9, unit="batches", eta_s=120, message="loss 0.1"))
    assert row._text.text() == "Training first · 2 min left · Training 3 / 9 batches"
