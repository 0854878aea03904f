"""Several devices and processes: equal to one device, and ended whatever happens."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import psutil
import pytest
import tensorflow as tf

from tf_examples import _checkpoints, _data, _workers
from tf_examples import distributed_training as section
from tf_examples._options import OptionError, RunError
from tf_examples.distributed_training import Settings, Trainer

SMALL = Settings(units=16, batch_size=250, epochs=2)
STUB = (sys.executable, "-I", str(Path(__file__).with_name("stub_worker.py")))


@pytest.fixture(scope="module")
def digits():
    return _data.digits()


@pytest.fixture(scope="module")
def strategy():
    return section.mirrored(2)


def trained(settings, digits, strategy=None):
    """The weights and the optimizer's state after the last step."""
    trainer = Trainer(settings, digits, strategy)
    trainer.train(trainer.steps)
    return state(trainer)


def state(trainer):
    return [v.numpy() for v in (*trainer.model.weights, *trainer.optimizer.variables)]


def transcript(settings, digits, optimizer):
    """The training once more, with whole batches, eagerly: the weights at the end."""
    model = section.build_model(settings)
    for epoch in range(settings.epochs):
        order = np.random.default_rng([settings.seed, epoch]).permutation(len(digits.x_train))
        for first in range(0, len(order), settings.batch_size):
            batch = order[first : first + settings.batch_size]
            with tf.GradientTape() as tape:
                loss = keras.losses.sparse_categorical_crossentropy(
                    digits.y_train[batch], model(digits.x_train[batch]), from_logits=True
                )
                loss = tf.reduce_mean(loss)
            gradients = tape.gradient(loss, model.trainable_variables)
            if settings.clip_norm:
                norm = np.sqrt(sum(float(tf.reduce_sum(g**2)) for g in gradients))
                gradients = [g * min(1, settings.clip_norm / norm) for g in gradients]
            optimizer.apply(gradients, model.trainable_variables)
    return model.get_weights()


KERAS = {
    "GradientDescent": keras.optimizers.SGD,
    "Momentum": lambda rate: keras.optimizers.SGD(rate, momentum=0.9),
    "Adagrad": keras.optimizers.Adagrad,
    "RMSprop": keras.optimizers.RMSprop,
    "Adam": keras.optimizers.Adam,
}
CASES = [
    replace(SMALL, optimizer=name, learning_rate=rate, clip_norm=clip_norm, accumulate=accumulate)
    for name, (_, rate) in section.OPTIMIZERS.items()
    for clip_norm, accumulate in ((0.0, 1), (0.5, 3))
]


def case_name(settings):
    return f"{settings.optimizer}{'-clipped-accumulated' if settings.clip_norm else ''}"


@pytest.mark.parametrize("settings", CASES, ids=case_name)
def test_two_devices_end_at_the_weights_of_one(settings, digits, strategy):
    """The last batch of an epoch has 187 digits: 94 + 93."""
    one, two = trained(settings, digits), trained(settings, digits, strategy)
    assert len(one) == len(two)
    assert section.largest_gap(one, two) < 1e-5


def test_one_device_ends_where_a_plain_loop_with_keras_own_optimizer_does(digits):
    for settings in CASES[:1] + CASES[-1:]:
        weights = transcript(settings, digits, KERAS[settings.optimizer](settings.learning_rate))
        assert section.largest_gap(trained(settings, digits)[:4], weights) < 1e-5


def test_two_devices_train_a_convolutional_net_as_one_does(digits, strategy):
    settings = replace(SMALL, channels=2, clip_norm=0.5, accumulate=2)
    model = section.build_model(settings)
    assert [w.shape for w in model.weights[::2]] == [(3, 3, 1, 2), (3, 3, 2, 4), (256, 10)]
    one, two = trained(settings, digits), trained(settings, digits, strategy)
    assert section.largest_gap(one, two) < 1e-5
    assert section.largest_gap(one[:6], model.get_weights()) > 1e-3


def test_weights_start_within_glorots_limits():
    kernel, bias, matrix = section.start_weights([(3, 3, 10, 20), (20,), (30, 60)], seed=0)
    assert np.abs(kernel).max() == pytest.approx((6 / (9 * 30)) ** 0.5, rel=0.01)
    assert np.abs(matrix).max() == pytest.approx((6 / 90) ** 0.5, rel=0.01)
    np.testing.assert_array_equal(bias, np.zeros(20))


def test_a_replica_may_have_no_example(digits, strategy):
    few = _data.Split(*(part[:9] for part in digits))
    settings = Settings(units=4, batch_size=4, epochs=2, clip_norm=0.5, accumulate=2)
    one, two = trained(settings, few), trained(settings, few, strategy)
    assert [len(x) for x, _, _ in section.shard(settings, few, 2, 1, 2)][:1] == [0]
    assert section.largest_gap(one, two) < 1e-5


def test_shards_are_the_batch_each_example_once(digits):
    settings = replace(SMALL, batch_size=100)
    per_step = [list(section.shard(settings, digits, 0, r, 3)) for r in range(3)]
    seen = []
    for step, pieces in enumerate(zip(*per_step, strict=True)):
        sizes = [len(x) for x, _, _ in pieces]
        assert sum(sizes) == int(pieces[0][2]) == (37 if step % 15 == 14 else 100)
        assert max(sizes) - min(sizes) <= 1
        assert section.parts(sum(sizes), 3) == " + ".join(map(str, sizes))
        seen += [x.numpy() for x, _, _ in pieces]
    assert len(per_step[0]) == settings.steps(len(digits.x_train)) == 30
    one_epoch = np.concatenate(seen[: 15 * 3])
    np.testing.assert_array_equal(
        np.unique(one_epoch, axis=0, return_counts=True)[1],
        np.unique(digits.x_train, axis=0, return_counts=True)[1],
    )


def test_shards_from_a_later_step_are_the_same(digits):
    whole = list(section.shard(SMALL, digits, 0, 1, 2))
    rest = list(section.shard(SMALL, digits, 5, 1, 2))
    for (x, y, _), (again, labels, _) in zip(whole[5:], rest, strict=True):
        np.testing.assert_array_equal(x, again)
        np.testing.assert_array_equal(y, labels)


def test_keras_fit_learns_but_ends_elsewhere_when_it_clips_and_refuses_what_it_cannot(
    digits, strategy
):
    loop, theirs = section.compare(replace(SMALL, clip_norm=0.5), digits, strategy)
    assert loop < 1e-5 < 1e-3 < theirs
    assert section.compare(replace(SMALL, batch_size=251), digits, strategy)[1] is None
    assert section.compare(replace(SMALL, accumulate=2), digits, strategy)[1] is None


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_ring_and_star_end_at_the_sum_and_send_what_the_formulas_say(n):
    size = 8 * 3 * 5 * 7
    shares = list(np.random.default_rng(0).normal(size=(n, size)))
    for way, most in (
        (section.star, (n - 1) * 8 * size),
        (section.ring, 2 * (n - 1) * 8 * size / n),
    ):
        kept = [share.copy() for share in shares]
        sums, sent = way(shares)
        for total in sums:
            np.testing.assert_allclose(total, np.sum(shares, axis=0), rtol=1e-12, atol=1e-12)
        assert max(sent) == (most if n > 1 or way is section.ring else 8 * size) or n == 1
        for before, after in zip(kept, shares, strict=True):
            np.testing.assert_array_equal(before, after)


def test_a_ring_takes_shares_shorter_than_itself():
    sums, _ = section.ring([np.array([1.0]), np.array([2.0]), np.array([4.0])])
    assert [total.tolist() for total in sums] == [[7.0]] * 3


def test_tf_config_is_what_tensorflow_reads():
    config = _workers.tf_config(["a:1", "b:2", "c:3"], 2)
    resolvers = tf.distribute.cluster_resolver
    read = section.resolved(resolvers.TFConfigClusterResolver, {"TF_CONFIG": config})
    assert read == json.loads(config)
    assert read["task"] == {"type": "worker", "index": 2}
    assert "TF_CONFIG" not in os.environ


def test_a_training_in_two_parts_ends_at_the_same_bits(digits, strategy, tmp_path):
    settings = replace(SMALL, clip_norm=0.5)
    whole = trained(settings, digits, strategy)
    first = Trainer(settings, digits, strategy)
    first.train(5)
    section.save(tmp_path / "kept.npz", first)
    second = Trainer(settings, digits, strategy)
    section.load(tmp_path / "kept.npz", second)
    assert second.step == 5
    second.train(second.steps - 5)
    for ours, theirs in zip(whole, state(second), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_checkpoint_of_another_training_is_refused_by_what_differs(digits, tmp_path):
    path = tmp_path / "kept.npz"
    section.save(path, Trainer(SMALL, digits))
    for name, value in asdict(SMALL).items():
        other = replace(SMALL, **{name: "Adagrad" if name == "optimizer" else value + 1})
        with pytest.raises(OptionError, match=f"its {name} is {value}"):
            section.load(path, Trainer(other, digits))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(OptionError, match="is no checkpoint"):
        section.load(path, Trainer(SMALL, digits))


def test_a_loss_that_overflows_names_the_step(digits):
    settings = replace(SMALL, optimizer="GradientDescent", learning_rate=1e30)
    with pytest.raises(FloatingPointError, match=r"step \d of 12"):
        trained(settings, digits)


# What starts workers, with workers that train nothing.


def job(tmp_path, **behave):
    behaviours = {name[1:]: value for name, value in behave.items() if name != "always"}
    always = behave.get("always", False)
    kept = str(tmp_path / "step.txt")
    return {"behave": behaviours, "checkpoint": kept, "steps": 20, "always": always}


@pytest.fixture
def started():
    """Process ids of the workers of a test, none of which may be left at its end."""
    pids: set[int] = set()
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield pids
    left = {child.pid for child in psutil.Process().children(recursive=True)} - before
    assert not left
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


def launch(job, workers=2, started=None, **options):
    seen: list[tuple[int, dict[str, Any]]] = []

    def watch(index, pid, message):
        seen.append((index, message))
        if started is not None:
            started.add(pid)

    options = {"timeout": 30.0, "program": STUB} | options
    return _workers.launch(job, workers, watch=watch, **options), seen


def test_workers_run_to_their_end_and_every_step_is_seen(tmp_path, started):
    ends, seen = launch(job(tmp_path), 3, started)
    assert [end["event"] for end in ends] == ["done"] * 3
    for index in range(3):
        steps = [m["step"] for i, m in seen if i == index and m["event"] == "step"]
        assert steps == list(range(1, 21))


def test_a_worker_that_dies_is_named_and_all_start_again_from_the_checkpoint(tmp_path, started):
    said: list[str] = []
    _, seen = launch(job(tmp_path, _1="die"), 2, started, tell=said.append)
    starts = [m["step"] for _, m in seen if m["event"] == "start"]
    assert starts[:2] == [0, 0]
    assert len(starts) == 4
    assert set(starts[2:]) <= {5, 10}  # these workers don't wait for each other
    assert said == [
        "worker 1 was ended by SIGKILL after step 7; all start again from the last checkpoint",
        f"all go on from step {starts[2]}",
    ]


def test_a_worker_that_always_dies_is_given_up(tmp_path, started):
    said: list[str] = []
    dying = job(tmp_path, _0="die", always=True)
    with pytest.raises(RunError, match=r"worker 0 was ended by SIGKILL.*started 3 times"):
        launch(dying, 2, started, tell=said.append, restarts=2)
    restarted = [line for line in said if "start again" in line]
    assert len(restarted) == 2


def test_a_worker_that_loses_the_others_is_restarted_with_them(tmp_path, started):
    with pytest.raises(RunError, match="worker 1 lost the others after step 7"):
        launch(job(tmp_path, _1="lose"), 2, started, restarts=0)


@pytest.mark.parametrize(
    ("behaviour", "error", "said"),
    [
        ("sleep", RunError, "worker 1 did not start within 1 s"),
        ("diverge", FloatingPointError, "worker 1: the loss is nan at step 7 of 20"),
        ("fall silent", RunError, "worker 1 fell silent after step 7"),
        ("crash", RunError, "worker 1 ended with exit status 1 after step 0: no such library"),
    ],
)
def test_a_worker_that_fails_is_named_and_all_are_ended(behaviour, error, said, tmp_path, started):
    with pytest.raises(error, match=said):
        launch(job(tmp_path, _1=behaviour), 2, started, timeout=1.0, restarts=0)


def test_an_interrupt_ends_all(tmp_path, started):
    def watch(index, pid, message):
        started.add(pid)
        if message["event"] == "step" and message["step"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _workers.launch(job(tmp_path), 2, watch=watch, program=STUB)
    assert len(started) == 2


def test_a_port_that_is_taken_is_named(tmp_path):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        with pytest.raises(OptionError, match=f"port {taken} can't be used: Address already"):
            _workers.launch(job(tmp_path), 1, port=taken, program=STUB)


def test_a_port_can_be_used_again_at_once():
    """A connection that has ended keeps its port for a minute, but not from the next worker."""
    with socket.socket() as server, socket.socket() as client:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gRPC does
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        client.connect(("127.0.0.1", port))
        server.accept()[0].close()
        client.recv(1)
    assert _workers._ports(1, port) == [port]


def test_ports_are_different_and_free():
    ports = _workers._ports(5, None)
    assert len(set(ports)) == 5
    for port in ports:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))


# The section as a whole.


def test_the_picture_of_a_step_says_how_the_batch_is_shared():
    picture = section.draw_step(7, 3, 154_000)
    assert "154 kB" in picture.statement
    assert "7 examples goes to 3 replicas as 3 + 2 + 2" in picture.alt


TINY: dict[str, Any] = {
    "workers": 0, "channels": 0, "units": 8, "batch_size": 300, "epochs": 2,
}  # fmt: skip


def test_the_result_says_what_was_measured(tmp_path, monkeypatch, capsys):
    """With processes that are not started, but end where this process ends."""
    asked: list[tuple[int, Path, Any]] = []

    def stand_in(settings, workers, folder, every, **options):
        asked.append((workers, folder, options["port"]))
        options["tell"]("worker 0 fell over")
        weights = trained(settings, _data.digits())[:4]
        return section.Ended(weights, 0.5, 10.0 * workers, 0.9)

    monkeypatch.setattr(section, "train_on_workers", stand_in)
    result = section.run(**TINY | {"workers": 3, "folder": str(tmp_path), "port": 4000})
    assert asked == [(1, tmp_path, 4000), (2, tmp_path, 4000), (3, tmp_path, 4000)]
    names = [way.name for way in result.ways]
    assert names[:3] == ["one device", "2 devices", "2 devices, Keras's fit"]
    assert names[3:] == ["1 process", "2 processes", "3 processes"]
    gaps = [way.gap for way in result.ways if "fit" not in way.name]
    assert all(gap is not None and gap < 1e-5 for gap in gaps)
    cores = os.cpu_count() or 1
    number = max(2, min(cores, 3))
    said = f"{number} processes {number:.1f} times the steps of one"
    assert said in result.figure().statement
    assert 0 <= result.busy <= cores
    assert "1 process 10; 2 processes 20; 3 processes 30" in result.figure().alt
    table = result.table()
    assert "worker 0 fell over" in table.title
    assert "3 replicas share a batch of 300 as 100 + 100 + 100" in table.title
    assert "the last of an epoch as 79 + 79 + 79" in table.title
    assert len(table.rows) == 6
    warned = capsys.readouterr().err
    assert ("take turns" in warned) == (cores < 3)


def test_a_batch_that_does_not_divide_is_said_to_be_split(capsys):
    result = section.run(**TINY | {"batch_size": 301})
    line = "2 replicas share a batch of 301 as 151 + 150, the last of an epoch as 117 + 116"
    assert line in capsys.readouterr().err
    assert result.split == line
    fit = next(way for way in result.ways if "fit" in way.name)
    assert fit.gap is None
    section.run(**TINY)
    assert capsys.readouterr().err == ""


def test_a_device_more_than_tensorflow_has_started_with_is_refused():
    with pytest.raises(OptionError, match="has started with the CPU as 2"):
        section.run(**TINY | {"devices": 3})


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "negative workers": ({"workers": -1}, "`workers`"),
    "a thousand workers": ({"workers": 1000}, "`workers`"),
    "no device": ({"devices": 0}, "`devices`"),
    "a thousand devices": ({"devices": 1000}, "`devices`"),
    "no example": ({"batch_size": 0}, "`batch_size`"),
    "more examples than there are": ({"batch_size": 1438}, "at most 1437"),
    "no unit": ({"units": 0}, "`units`"),
    "negative channels": ({"channels": -1}, "`channels`"),
    "no epoch": ({"epochs": 0}, "`epochs`"),
    "no piece": ({"accumulate": 0}, "`accumulate`"),
    "a negative norm": ({"clip_norm": -1.0}, "`clip_norm`"),
    "a norm that is no number": ({"clip_norm": float("nan")}, "`clip_norm`"),
    "a rate of 0": ({"learning_rate": 0.0}, "`learning_rate`"),
    "another optimizer": ({"optimizer": "Lion"}, "`optimizer`"),
    "no checkpoint": ({"checkpoint_every": 0}, "`checkpoint_every`"),
    "negative restarts": ({"restarts": -1}, "`restarts`"),
    "no time": ({"timeout": 0.0}, "`timeout`"),
    "a port beyond the last": ({"port": 65536}, "`port`"),
    "a port too high for all": ({"port": 65535, "workers": 2}, "`port`"),
    "a folder under a file": ({"folder": f"{__file__}/kept"}, "can't write to"),
    "a negative seed": ({"seed": -1}, "`seed`"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_bad_options_are_one_line(what):
    options, said = REFUSED[what]
    with pytest.raises(OptionError) as error:
        section.run(**TINY | options)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


# Real processes. Each test ends with none of them left, and no port held.


@pytest.fixture
def ports():
    """Two ports in a row; free before the test, and after it."""
    first = next(
        port
        for port in range(20000 + os.getpid() % 20000, 65000, 2)
        if free(port) and free(port + 1)
    )
    yield first
    assert free(first)
    assert free(first + 1)


def free(port):
    """Whether a process may listen at this port, on every interface."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
        return True


@pytest.mark.slow
def test_two_processes_end_at_the_weights_of_one_device(digits, tmp_path, started, ports):
    """All optimizers, with and without clipping and accumulation, by one pair of processes."""
    trainings = [
        {"settings": asdict(settings), "checkpoint": str(tmp_path / f"{number}.npz")}
        for number, settings in enumerate(CASES)
    ]
    described = {"trainings": trainings, "every": 6}
    _, seen = launch(described, 2, started, timeout=120.0, port=ports, program=_workers.PROGRAM)
    assert len(started) == 2
    for index in range(2):
        steps = [m["step"] for i, m in seen if i == index and m["event"] == "step"]
        assert steps == [6, 12] * len(CASES)
    for number, settings in enumerate(CASES):
        progress, values = _checkpoints.read(tmp_path / f"{number}.npz", asdict(settings))
        assert progress == {"step": 12}
        one = trained(settings, digits)
        assert len(values) == len(one)
        assert section.largest_gap(values, one) < 1e-5, settings


@pytest.mark.slow
def test_a_killed_worker_changes_nothing(digits, tmp_path, started, ports):
    """Killed after step 14, in the third epoch of 6 steps, between two checkpoints."""
    settings = replace(SMALL, optimizer="Adam", epochs=8, clip_norm=0.5, accumulate=2)
    said: list[str] = []
    killed: list[int] = []
    starts: list[int] = []

    def kill(index, pid, message):
        started.add(pid)
        if message["event"] == "start" and index == 0:
            starts.append(message["step"])
        if index == 0 and message["event"] == "saved" and message["step"] == 14 and not killed:
            other = next(child for child in psutil.Process().children() if child.pid != pid)
            killed.append(other.pid)
            other.kill()

    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = section.train_on_workers(settings, 2, tmp_path / "whole", 7, port=ports)
    again = section.train_on_workers(
        settings, 2, tmp_path / "killed", 7, port=ports, watch=kill, tell=said.append
    )
    assert len(killed) == 1
    assert starts[1] in (14, 21)
    assert len(said) == 2
    assert "worker 1 was ended by SIGKILL after step" in said[0]
    assert said[1] == f"all go on from step {starts[1]}"
    for ours, theirs in zip(whole.weights, again.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert section.largest_gap(whole.weights, trained(settings, digits)[:4]) < 1e-5


COMMAND = [sys.executable, "-m", "tf_examples", "run", "distributed_training", "--json"]
COMMAND += ["--devices", "1", "--channels", "0", "--units", "8", "--batch-size", "300"]
COMMAND += ["--workers", "2"]


def workers_of(process):
    """The processes that the command has started."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def wait_for(condition, seconds=120):
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_nothing_is_left_when_the_command_is_ended(number, status, tmp_path, ports):
    """Ctrl-C, and the signal that lets the command clean up nothing."""
    command = [*COMMAND, "--epochs", "2000", "--port", str(ports), "--folder", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        kept = tmp_path / "workers_2.npz"
        wait_for(lambda: kept.exists() or process.poll() is not None)
        children = workers_of(process)
        assert len(children) == 2
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert out == b""
    assert b"Traceback" not in err
    wait_for(lambda: not any(child.is_running() for child in children), 20)
    settings = Settings("Momentum", 0.03, 0, 8, 300, 2000, clip_norm=1.0)
    _checkpoints.read(tmp_path / "workers_2.npz", asdict(settings))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--timeout", "0.3"], 1, "worker 0 did not start within 0.3 s"),
        (["--learning-rate", "1e38", "--optimizer", "GradientDescent"], 1, "the loss is"),
        (["--folder", f"{__file__}/kept"], 2, "can't write to"),
        (["--port", "TAKEN"], 2, "can't be used: Address already in use"),
    ],
)
def test_what_goes_wrong_is_one_line_and_leaves_nothing(options, status, said, ports):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = str(holder.getsockname()[1])
        words = [taken if word == "TAKEN" else word for word in options]
        port = [] if "--port" in words else ["--port", str(ports)]
        done = subprocess.run(
            [*COMMAND, "--epochs", "2", *words, *port], capture_output=True, text=True, check=False
        )
    assert done.returncode == status
    assert done.stdout == ""
    assert said in done.stderr.splitlines()[-1]
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_checkpoint_folder_that_vanishes_is_named(tmp_path, started, ports):
    """The folder is a file by the time that the chief writes."""
    path = tmp_path / "file" / "kept.npz"
    (tmp_path / "file").write_text("", encoding="utf-8")
    described = {"trainings": [{"settings": asdict(SMALL), "checkpoint": str(path)}], "every": 6}
    with pytest.raises(OptionError, match=r"worker 0: can't write .*kept.npz: Not a directory"):
        launch(described, 2, started, timeout=120.0, port=ports, program=_workers.PROGRAM)


@pytest.mark.slow
def test_a_port_taken_after_the_launcher_looked_is_named(tmp_path, started, monkeypatch):
    path = str(tmp_path / "kept.npz")
    described = {"trainings": [{"settings": asdict(SMALL), "checkpoint": path}], "every": 6}
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        other = _workers._ports(1, None)[0]
        monkeypatch.setattr(_workers, "_ports", lambda number, first: [other, taken])
        with pytest.raises(OptionError, match=f"worker 1: port {taken} can't be used"):
            launch(described, 2, started, timeout=60.0, program=_workers.PROGRAM)


def way(line, replicas, rate):
    return section.Way(f"{replicas} {line}", replicas, line, rate, 1.0, 0.5, 0.0)


def test_the_speed_is_said_of_as_many_replicas_as_there_are_cores():
    ways = [way("boats", 1, 10.0), way("boats", 2, 15.0), way("boats", 4, 60.0)]
    ways += [way("cars", 1, 8.0), way("cars", 2, 2.0), way("", 2, None)]
    expected = "2 boats 1.5, 2 cars 0.2 times the steps of one, on 2 cores"
    assert section.say_speed(ways, 2, 0.0) == expected
    said = section.say_speed(ways[:3], 8, 0.3)
    assert said == "4 boats 6.0 times the steps of one, on 8 cores (0.3 of them busy otherwise)"
    assert section.say_speed(ways[:3], 1, 0.0).endswith("on 1 core")
    assert section.say_speed(ways[:1], 2, 0.0) == "too few steps to measure"
    assert "4 boats 60; 1 cars 8" in section.draw_speed(ways, 2, 0.0).alt
