"""A whole study in a real window, click by click, and a window that closes while it trains."""

import csv
import subprocess
import sys
import textwrap
import time

import numpy as np

PATIENCE_MS = 240_000


def test_open_train_predict_export_metrics_and_onnx(make_napari_viewer_proxy, qtbot, workspace, tmp_path):
    from napari_vstain.widgets.workbench import WorkbenchDock

    viewer = make_napari_viewer_proxy()
    _, dock = viewer.window.add_plugin_dock_widget("napari-vstain", "Workbench")
    assert isinstance(dock, WorkbenchDock)
    data, train, predict, evaluate, deploy = (step.section for step in dock.steps)

    def wait(condition, section):
        qtbot.waitUntil(lambda: condition() or not section.problem.isHidden(), timeout=PATIENCE_MS)
        assert section.problem.isHidden(), section.problem.text()

    # Open
    data.open(workspace.root)
    wait(lambda: len(viewer.layers) == 3, data)
    assert [layer.name for layer in viewer.layers] == ["Phase", "Nuclei", "Membrane"]
    data.roles.boxes["Membrane"].setCurrentText("–")
    assert (dock.context.session.sources, dock.context.session.targets) == (("Phase",), ("Nuclei",))

    # Train
    train.name.setText("first")
    train.form.set_values({"epochs": 2})
    train.form.set_values({"patch_px": 32, "batch_size": 2})
    train.go.click()
    assert train.stop.text() == "Stop training"
    wait(lambda: train.job is None, train)
    assert len(train.plot.series["loss/train_epoch"]) == 2
    run = workspace.experiment("first").run()
    assert run.checkpoint.is_file()
    assert run.config.is_file()

    # Predict
    wait(lambda: dock.context.session.model is not None and dock.context.session.model.run == run, predict)
    qtbot.waitUntil(predict.go.isEnabled, timeout=PATIENCE_MS)
    predict.go.click()
    wait(lambda: predict.job is None, predict)
    prediction = viewer.layers[-1]
    assert prediction.name == "Nuclei_prediction · A/1/0 · first/version_0"
    assert np.isfinite(prediction.data).all()
    assert prediction.data.std() > 0

    # Evaluate
    qtbot.waitUntil(evaluate.go.isEnabled, timeout=PATIENCE_MS)
    evaluate.go.click()
    wait(lambda: evaluate.job is None, evaluate)
    assert evaluate.table.rowCount() > 0
    exported = tmp_path / "mine.csv"
    evaluate.export(exported)
    wait(exported.is_file, evaluate)
    with exported.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["predictor"] for row in rows} == {"model", "baseline"}
    assert all(-1 <= float(row["pearson"]) <= 1 for row in rows)
    assert workspace.experiment("first").metrics.is_file()

    # Deploy
    qtbot.waitUntil(deploy.go.isEnabled, timeout=PATIENCE_MS)
    deploy.go.click()
    wait(lambda: deploy.job is None, deploy)
    assert deploy.onnx.is_file()
    assert deploy.onnx.parent == workspace.experiment("first").deployment
    assert deploy.onnx.with_suffix(".README").is_file()

    # The exported file alone predicts the same
    before = prediction.data.copy()
    predict.use_file(deploy.onnx)
    wait(lambda: dock.context.session.model.path == deploy.onnx, predict)
    predict.go.click()
    wait(lambda: predict.job is None, predict)
    np.testing.assert_allclose(viewer.layers[-1].data, before, rtol=1e-3, atol=1e-3 * before.std())
    assert dock.context.session.close(timeout_s=10)


CLOSE_WHILE_TRAINING = """
    import sys, threading, time
    import napari
    from qtpy.QtCore import QTimer
    viewer = napari.Viewer()
    _, dock = viewer.window.add_plugin_dock_widget("napari-vstain", "Workbench")
    data, train = dock.steps[0].section, dock.steps[1].section
    session = dock.context.session

    def watch():
        global began
        problem = data.problem.text() or train.problem.text()
        if problem:
            print("PROBLEM", problem)
            viewer.close()
        elif session.dataset is None or not session.targets or train.job is None:
            if session.dataset is not None and train.go.isEnabled():
                train.form.set_values({"epochs": 10_000})
                train.form.set_values({"patch_px": 32, "batch_size": 2})
                train.go.click()
        elif len(train.plot.series["loss/train_step"]) > 20:
            timer.stop()
            print("CLOSING", time.time(), flush=True)
            viewer.close()

    timer = QTimer()
    timer.timeout.connect(watch)
    timer.start(50)
    data.open(sys.argv[1])
    napari.run()
"""


def test_closing_the_window_during_a_fit_exits_within_five_seconds(workspace):
    script = textwrap.dedent(CLOSE_WHILE_TRAINING)
    run = subprocess.run(
        [sys.executable, "-c", script, str(workspace.root)], capture_output=True, text=True, timeout=240, check=False
    )
    ended = time.time()
    said = dict(line.split(" ", 1) for line in run.stdout.splitlines() if line.startswith(("CLOSING", "PROBLEM")))
    assert "CLOSING" in said, run.stdout + run.stderr
    assert run.returncode == 0, run.stderr
    assert ended - float(said["CLOSING"]) < 5
    (experiment,) = workspace.experiments()
    assert workspace.experiment(experiment).runs()[-1].last.is_file()  # what was learned is kept, to go on from
