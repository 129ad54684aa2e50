"""Distillation: the softened divergence, its factor T², and the limit of high temperatures."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import distillation as D
from trainlab.classification import cross_entropy
from trainlab.differentiation import Variable, check_grad, value_and_grad, vjp
from trainlab.sweeps import distillation_digits as sweep

TEACHER = np.array([[9.0, 5.0, 1.0]])


def rng(seed=0):
    return np.random.default_rng(seed)


def data(seed=0, shape=(7, 5)):
    source = rng(seed)
    labels = source.integers(0, shape[-1], shape[:-1])
    return 3 * source.standard_normal(shape), 3 * source.standard_normal(shape), labels


def test_soft_targets_of_nine_five_one():
    assert D.soft_targets(TEACHER, temperature=1).round(4).tolist() == [[0.9817, 0.018, 0.0003]]
    assert D.soft_targets(TEACHER, temperature=4).round(3).tolist() == [[0.665, 0.245, 0.09]]
    shifted = D.soft_targets(TEACHER + 1e6, temperature=4)
    assert_close(shifted, D.soft_targets(TEACHER, temperature=4))


def test_loss_by_its_formula():
    z, v, labels = data()
    for temperature, alpha in ((1.0, 0.0), (3.0, 0.3), (3.0, 1.0)):
        p, q = (D.soft_targets(a, temperature=temperature) for a in (z, v))
        kl = np.mean(np.sum(q * np.log(q / p), axis=1))
        hard = -np.mean(np.log(D.soft_targets(z, temperature=1)[np.arange(7), labels]))
        loss = D.distillation_loss(z, v, temperature=temperature, alpha=alpha, labels=labels)
        assert_close(loss, (1 - alpha) * temperature**2 * kl + alpha * hard)
    soft = D.distillation_loss(z, v, temperature=3.0)  # alpha = 0 and no labels are the defaults
    assert_close(soft, D.distillation_loss(z, v, temperature=3.0, alpha=0.0, labels=labels))
    # the student that has learned it all
    assert abs(D.distillation_loss(v, v, temperature=3.0)) < 1e-12


@pytest.mark.parametrize("shape", [(7, 5), (1, 3), (2, 3, 4), (3, 1), (6,)])
def test_gradients(shape):
    z, v, labels = data(1, shape)

    def loss(z):
        return D.distillation_loss(z, v, temperature=2.5, alpha=0.3, labels=labels)

    if shape[-1] > 1:  # one class: all losses are 0
        assert check_grad(loss, z, rng=rng(2)) < 1e-7
        assert check_grad(lambda z: D.logit_matching_loss(z, v), z, rng=rng(3)) < 1e-7
    value, grads = value_and_grad(loss)(z)
    assert_close(grads.sum(axis=-1), np.zeros(shape[:-1]), atol=1e-15)  # softmax sees no shift
    assert value >= 0


def test_the_teacher_learns_nothing():
    z, v, _ = data()
    with pytest.raises(TypeError, match="teacher_logits must be a plain array"):
        D.distillation_loss(Variable(z), Variable(v), temperature=2.0)
    with pytest.raises(ValueError, match=r"labels must be whole numbers .* given where alpha > 0"):
        D.distillation_loss(z, v, temperature=2.0, alpha=0.5)


def test_the_factor_keeps_the_gradient_and_its_limit_matches_logits():
    z = np.array([[2.0, 1.0, 0.0]])
    sizes = {}
    for temperature in (1.0, 2.0, 4.0, 8.0, 20.0, 1e4):
        _, grads = value_and_grad(
            lambda z, t=temperature: D.distillation_loss(z, TEACHER, temperature=t)
        )(z)
        p, q = (D.soft_targets(a, temperature=temperature) for a in (z, TEACHER))
        assert_close(grads, temperature * (p - q))  # T² times (p - q)/T
        sizes[temperature] = float(np.linalg.norm(grads))
    limit, matched = value_and_grad(lambda z: D.logit_matching_loss(z, TEACHER))(z)
    # centered difference (3, 0, -3), over K = 3
    assert_close(matched, np.array([[-1.0, 0.0, 1.0]]), atol=1e-15)
    assert_close(limit, 3.0)
    assert_close(np.linalg.norm(matched), np.sqrt(18) / 3)
    assert_close(sizes[1e4], np.sqrt(2), rtol=1e-3)  # 1/T
    # With T² the gradient hardly changes from 4 on; without it would fall by 25.
    assert_close(sizes[20.0] / sizes[4.0], 1.0, rtol=0.15)
    loss = D.distillation_loss(z, TEACHER, temperature=1e4)
    assert_close(loss, limit, rtol=1e-3)  # 1/T


def test_float32_is_kept_and_extreme_logits_are_right():
    z = np.array([[1e4, 0.0], [0.0, -1e4]], np.float32)
    teacher = -z
    value, pullback = vjp(lambda z: D.distillation_loss(z, teacher, temperature=2.0), z)
    assert value.dtype == np.float32
    assert_close(value, 4 * 0.5e4, rtol=1e-4)  # T² (1e4/T) for both rows
    assert pullback(np.float32(1))[0].dtype == np.float32
    assert_close(pullback(1.0)[0], np.array([[1.0, -1.0], [1.0, -1.0]], np.float32))


@pytest.mark.referee
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-10), (np.float32, 1e-4)])
def test_jax_and_torch_agree(dtype, rtol):
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    optax = pytest.importorskip("optax")
    z, v, labels = data(4)
    z, v = z.astype(dtype), v.astype(dtype)
    value, grads = value_and_grad(
        lambda z: D.distillation_loss(z, v, temperature=4.0, alpha=0.3, labels=labels)
    )(z)

    def reference(z):
        soft = optax.kl_divergence(jax.nn.log_softmax(z / 4), jax.nn.softmax(v / 4)).mean()
        hard = optax.softmax_cross_entropy_with_integer_labels(z, labels).mean()
        return 0.3 * hard + 0.7 * 16 * soft

    # Compiled as one: alone, each small operation would be compiled, which takes seconds.
    theirs, their_grads = jax.jit(jax.value_and_grad(reference))(z)
    # 1e-10 in float64: the same few operations, in another order
    assert_close(value, np.asarray(theirs), rtol=rtol)
    assert_close(grads, np.asarray(their_grads), rtol=rtol, atol=rtol * 1e-2)  # entries near 0
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    tz, tv = torch.tensor(z, requires_grad=True), torch.tensor(v)
    soft = F.kl_div(F.log_softmax(tz / 4, 1), F.softmax(tv / 4, 1), reduction="batchmean")
    loss = 0.3 * F.cross_entropy(tz, torch.tensor(labels)) + 0.7 * 16 * soft
    loss.backward()
    assert_close(value, loss.detach().numpy(), rtol=rtol)
    assert_close(grads, tz.grad.numpy(), rtol=rtol, atol=rtol * 1e-2)


def test_the_factor_for_a_student_that_takes_the_first_class_for_the_second():
    z, sizes = np.array([[1.0, 2.0, 0.0]]), []
    for temperature in (1.0, 2.0, 4.0, 8.0, 20.0, 1e5):
        _, grads = value_and_grad(
            lambda z, t=temperature: D.distillation_loss(z, TEACHER, temperature=t)
        )(z)
        sizes.append(float(np.linalg.norm(grads)))
    assert np.round(sizes[:5], 2).tolist() == [0.98, 1.41, 1.66, 1.73, 1.72]
    assert_close(sizes[5], np.sqrt(26) / 3, rtol=1e-4)  # Δz = (4, -1, -3), K = 3; 1/T


def test_a_teacher_with_equal_wrong_classes_smooths_labels():
    eps, classes, labels = 0.1, 10, np.array([3, 7])
    gap = np.log(classes * (1 - eps) / eps + 1)
    teacher = gap * np.eye(classes)[labels]
    z = rng(5).standard_normal((2, classes))
    soft = value_and_grad(lambda z: D.distillation_loss(z, teacher, temperature=1.0))(z)[1]
    hard = value_and_grad(lambda z: cross_entropy(z, labels, label_smoothing=eps))(z)[1]
    assert_close(soft, hard, atol=1e-15)  # entries near 0


def test_shuffling_moves_wrong_classes_only():
    z, _, labels = data(6)
    shuffled = sweep.shuffle_wrong(z, labels, rng(7))
    each = np.arange(len(labels))
    assert_close(shuffled[each, labels], z[each, labels])
    assert_close(np.sort(shuffled), np.sort(z))
    assert np.any(shuffled != z)


def _gain(source, examples, width, temperature):
    """Return the mean of a stored gain over labels, in points, and its standard error."""
    taught, _ = sweep.accuracies(source, examples, width)
    plain, _ = sweep.accuracies("labels", examples, width)
    gains = 100 * (taught[sweep.TEMPERATURES.index(temperature)] - plain[0])
    return gains.mean(), gains.std(ddof=1) / np.sqrt(len(gains))


def test_students_of_the_digits():
    """What the page says about the stored runs, at more than two standard errors."""
    gain, error = _gain("all", 100, 32, 4.0)
    assert 7 < gain < 8.5
    assert error < 1
    same, error = _gain("same", 100, 32, 4.0)
    assert abs(same) < 2 * error < 1.5  # no labels that the student lacks, no gain
    shuffled, error = _gain("shuffled", 100, 32, 20.0)
    assert shuffled < -2 * error  # nothing is left without the order of the wrong classes
    for temperature in sweep.TEMPERATURES:
        assert abs(_gain("all", 1000, 32, temperature)[0]) < 0.5
    hot, error = _gain("all", 300, 8, 20.0)
    assert hot < -2 * error  # small students cannot follow
    cold, error = _gain("all", 300, 8, 1.0)
    assert cold > 2 * error
    # A smoothed teacher is worth more where nothing softens the other: the page has pairs.
    assert _gain("smoothed", 100, 32, 1.0)[0] > _gain("all", 100, 32, 1.0)[0] + 1
    own = [_gain("same", 100, 8, t) for t in sweep.TEMPERATURES]
    assert [gain > 2 * error for gain, error in own] == [False, True, False, False, False]
    assert _gain("all", 100, 8, 4.0)[0] > _gain("smoothed", 100, 8, 4.0)[0] + 3
    assert sweep.accuracies("same", 1000, 32)[1] == sweep.accuracies("all", 1000, 32)[1]
