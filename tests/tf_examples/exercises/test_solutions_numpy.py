"""The solutions against oracles that share no code with them: closed forms, other libraries."""

import itertools

import numpy as np
import pytest
import scipy.special
import sklearn.metrics

from tf_examples.exercises import _exercise

SEEDS = (0, 1, 2)


def solution(name, conventions):
    """The names of a solution's file."""
    names: dict = {"__name__": "student"}
    exec(compile(_exercise.load(name).solution(conventions), f"{name}.py", "exec"), names)
    return names


def cases(name, function, seeds=SEEDS):
    """(conventions, the solution's function, a case's inputs) for every variant and some draws."""
    for conventions, seed in itertools.product(_exercise.load(name).variants(), seeds):
        for case in _exercise.load(name).spec.cases(np.random.default_rng(seed)):
            if case.function == function:
                yield conventions, solution(name, conventions)[function], dict(case.inputs)


def difference_quotients(f, array, h=1e-6):
    """The gradient of `f` at `array`, which is changed in place and put back."""
    gradient = np.zeros_like(array)
    for place in np.ndindex(array.shape):
        kept = array[place]
        values = []
        for moved in (kept + h, kept - h):
            array[place] = moved
            values.append(f())
        array[place] = kept
        gradient[place] = (values[0] - values[1]) / (2 * h)
    return gradient


def running(gradients, share):
    """sum over i <= t of share**(t - i) * gradients[i], for each t."""
    steps = np.arange(len(gradients))
    powers = np.tril(share ** np.maximum(steps[:, None] - steps, 0))
    return powers @ gradients


def walked(w, steps):
    """The trajectory that starts at `w` and takes `steps` off one after the other."""
    return np.concatenate([[w], w - np.cumsum(steps, axis=0)])


def test_gradient_step_has_the_gradient_of_its_loss():
    for conventions, gradient, given in cases("gradient_step", "gradient"):
        x, y, w = given["x"], given["y"], given["w"]
        scale = 1.0 if conventions["loss"] == "mean" else 0.5
        quotients = difference_quotients(lambda: scale * np.mean((x @ w - y) ** 2), w)  # noqa: B023
        np.testing.assert_allclose(gradient(**given), quotients, rtol=1e-6, atol=1e-8)


def test_gradient_step_ends_at_the_least_squares_solution():
    for _, descend, given in cases("gradient_step", "descend"):
        given |= {"steps": 8_000, "learning_rate": 0.05}
        best, *_ = np.linalg.lstsq(given["x"], given["y"])
        np.testing.assert_allclose(descend(**given)[-1], best, rtol=1e-2)


def test_gradient_check_gives_the_closed_form_of_a_central_difference():
    """Of a w**3 it is 3 a w**2 + a h**2; the square's term is exact."""
    a, w, h = np.array([[2.0, -1.0]]), np.array([[0.5, 3.0]]), 0.1
    for conventions in _exercise.load("gradient_check").variants():
        numerical = solution("gradient_check", conventions)["numerical_gradient"]
        got = numerical(lambda w: float(np.sum(a * w**3 + 5 * w**2)), w, h)
        np.testing.assert_allclose(got, 3 * a * w**2 + a * h**2 + 10 * w, rtol=1e-12)


def test_dense_layer_has_the_gradients_of_a_linear_loss():
    """With the loss sum(c * z) of an example, dz is c."""
    for conventions, backward, given in cases("dense_layer", "backward"):
        x, w, dz = given["x"], given["w"], given["dz"]
        b = np.zeros(w.shape[1])
        reduce = np.mean if conventions["batch"] == "mean" else np.sum
        loss = lambda: reduce(np.sum(dz * (x @ w + b), axis=1))  # noqa: B023, E731
        total = lambda: np.sum(dz * (x @ w + b))  # noqa: B023, E731
        got = backward(x, w, dz)
        np.testing.assert_allclose(got["dw"], difference_quotients(loss, w), atol=1e-8)
        np.testing.assert_allclose(got["db"], difference_quotients(loss, b), atol=1e-8)
        np.testing.assert_allclose(got["dx"], difference_quotients(total, x), atol=1e-8)


def test_deep_network_agrees_with_scipy_and_scikit_learn_and_its_difference_quotients():
    for _, log_softmax, given in cases("deep_network", "log_softmax"):
        expected = scipy.special.log_softmax(given["logits"], axis=1)
        np.testing.assert_allclose(log_softmax(**given), expected, rtol=1e-12)
    for conventions, run, given in cases("deep_network", "loss_and_gradients", seeds=(0,)):
        a = given["x"]
        for w, b in zip(given["weights"][:-1], given["biases"][:-1], strict=True):
            a = np.maximum(a @ w + b, 0)
        probabilities = scipy.special.softmax(
            a @ given["weights"][-1] + given["biases"][-1], axis=1
        )
        labels, classes = given["labels"], range(probabilities.shape[1])
        mean = conventions["loss"] == "mean"
        loss = sklearn.metrics.log_loss(labels, probabilities, normalize=mean, labels=classes)
        got = run(**given)
        assert got["loss"] == pytest.approx(loss, rel=1e-12)
        for kind in ("weights", "biases"):
            for array, gradient in zip(given[kind], got[kind], strict=True):
                quotients = difference_quotients(lambda: run(**given)["loss"], array)  # noqa: B023
                np.testing.assert_allclose(gradient, quotients, atol=1e-7)


def test_mini_batches_are_a_partition_in_the_order_given():
    for _, batches, given in cases("mini_batches", "batches"):
        got = batches(**given)
        np.testing.assert_array_equal(np.concatenate(got), given["order"])
        assert all(len(batch) == given["batch_size"] for batch in got[:-1])
        assert 0 < len(got[-1]) <= given["batch_size"]


def test_the_epochs_loss_is_the_mean_over_its_examples():
    for conventions, epoch_loss, _ in cases("mini_batches", "epoch_loss", seeds=(0,)):
        parts = np.split(np.random.default_rng(3).normal(size=10), [4, 8])
        reduce = np.mean if conventions["loss"] == "mean" else np.sum
        losses, sizes = np.array([reduce(p) for p in parts]), np.array([len(p) for p in parts])
        assert epoch_loss(losses, sizes) == pytest.approx(np.mean(np.concatenate(parts)))


def test_momentum_is_a_sum_over_the_gradients_so_far():
    for conventions, run, given in cases("momentum", "run"):
        rates = given["learning_rates"][:, None]
        if conventions["rate"] == "outside":
            steps = rates * running(given["gradients"], given["momentum"])
        else:
            steps = running(rates * given["gradients"], given["momentum"])
        np.testing.assert_allclose(run(**given), walked(given["w"], steps), rtol=1e-12)


def test_the_two_forms_of_nesterov_are_one_method_seen_from_two_points():
    for _, _, given in cases("nesterov", "run"):
        forms = {
            form: solution("nesterov", {"form": form})["run"](**given)
            for form in ("lookahead", "shifted")
        }
        velocities = np.diff(forms["lookahead"], axis=0)
        ahead = forms["lookahead"][1:] + given["momentum"] * velocities
        np.testing.assert_allclose(forms["shifted"][1:], ahead, rtol=1e-10)


def test_nesterov_ends_at_the_minimum_of_the_quadratic():
    for _, run, given in cases("nesterov", "run"):
        end = run(**given | {"steps": 3000})[-1]
        np.testing.assert_allclose(end, np.linalg.solve(given["a"], given["b"]), rtol=1e-6)


def test_adagrad_divides_by_the_root_of_a_cumulative_sum():
    for conventions, run, given in cases("adagrad", "run"):
        g, epsilon = given["gradients"], given["epsilon"]
        a = given["start"] + np.cumsum(g**2, axis=0)
        root = np.sqrt(a + epsilon) if conventions["epsilon"] == "inside" else np.sqrt(a) + epsilon
        expected = walked(given["w"], given["learning_rate"] * g / root)
        np.testing.assert_allclose(run(**given), expected, rtol=1e-12)


def test_rmsprop_divides_by_a_running_root_mean_square_or_standard_deviation():
    for conventions, run, given in cases("rmsprop", "run"):
        g, rho, epsilon = given["gradients"], given["rho"], given["epsilon"]
        spread = (1 - rho) * running(g**2, rho)
        if given["centered"]:
            spread = spread - ((1 - rho) * running(g, rho)) ** 2
        inside = conventions["epsilon"] == "inside"
        root = np.sqrt(spread + epsilon) if inside else np.sqrt(spread) + epsilon
        expected = walked(given["w"], given["learning_rate"] * g / root)
        np.testing.assert_allclose(run(**given), expected, rtol=1e-10)


def test_adam_divides_corrected_running_means():
    for conventions, run, given in cases("adam", "adam"):
        g, epsilon = given["gradients"], given["epsilon"]
        t = np.arange(1, len(g) + 1)[:, None]
        means = [
            (1 - beta) * running(values, beta) / (1 - beta**t)
            for beta, values in ((given["beta_1"], g), (given["beta_2"], g**2))
        ]
        inside = conventions["epsilon"] == "inside"
        root = np.sqrt(means[1] + epsilon) if inside else np.sqrt(means[1]) + epsilon
        expected = walked(given["w"], given["learning_rate"] * means[0] / root)
        np.testing.assert_allclose(run(**given), expected, rtol=1e-10)
