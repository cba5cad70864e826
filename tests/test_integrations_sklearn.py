"""An estimator of scikit-learn, interval by interval, against calls of ``partial_fit`` in a row."""

import copy

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.cluster import Birch, MiniBatchKMeans
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import Perceptron, SGDClassifier, SGDRegressor
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier, MLPRegressor

import lamarck as lk
from frameworks import numbers, perceptron, scikit_learn, scikit_learn_killed
from lamarck._errors import SettingsError, TrainingError
from lamarck.checkpoints import MemoryCheckpoints
from lamarck.engines.processes import Processes
from lamarck.integrations.sklearn import TunedEstimator

SPACE = lk.Space(learning_rate_init=lk.Float(1e-4, 1e-1, log=True), alpha=lk.Float(1e-6, 1.0, log=True), beta_1=lk.Float(0.5, 0.99))
RUN = {"population_size": 4, "interval": 10, "generations": 4, "mode": "min", "seed": 1}


def in_a_row(estimator, steps, schedule=None, *, size=8, seed=3, targets=True, classes=True):
    """Batches of epochs of which each has an order of its own, by hand."""
    x, y = numbers()
    batches = []
    while len(batches) < steps:
        order = np.random.default_rng((seed, len(batches) // 7)).permutation(50)
        batches += [order[first : first + size] for first in range(0, 50, size)]
    for step, rows in enumerate(batches[:steps]):
        if schedule is not None:
            hparams = schedule(step)
            estimator.set_params(**hparams)
            if step:
                estimator._optimizer.learning_rate_init = hparams["learning_rate_init"]
                estimator._optimizer.beta_1 = hparams["beta_1"]
        estimator.partial_fit(x[rows], *([y[rows]] if targets else []), **({"classes": [0, 1, 2]} if classes else {}))
    return estimator


ESTIMATORS = [
    (MLPClassifier((5,), random_state=0), True, True),
    (MLPClassifier((5,), solver="sgd", learning_rate="invscaling", random_state=0), True, True),
    (MLPRegressor(hidden_layer_sizes=(5,), random_state=0), True, False),
    (SGDClassifier(random_state=0, average=True), True, True),
    (SGDRegressor(random_state=0), True, False),
    (Perceptron(random_state=0), True, True),
    (GaussianNB(), True, True),
    (OneVsRestClassifier(SGDClassifier(random_state=0)), True, True),
    (MiniBatchKMeans(3, random_state=0, n_init=1), False, False),
    (MiniBatchDictionaryLearning(3, random_state=0), False, False),
]
NAMES = [f"{number} {type(estimator).__name__}" for number, (estimator, _, _) in enumerate(ESTIMATORS)]


@pytest.mark.parametrize(("estimator", "targets", "classes"), ESTIMATORS, ids=NAMES)
def test_intervals_are_calls_in_a_row_and_a_state_is_all_there_is(estimator, targets, classes):
    """Each interval is trained by another object, as in another process, which gets the state through a store."""
    x, y = numbers()
    without = in_a_row(copy.deepcopy(estimator), 30, targets=targets, classes=classes)
    store = MemoryCheckpoints()
    state = None
    for start, until in ((0, 3), (3, 7), (7, 30)):
        tuned = TunedEstimator(copy.deepcopy(estimator), x, y if targets else None, batch_size=8, seed=3)
        if state is not None:
            tuned.load_state_dict(state)
        tuned.train(range(start, until))
        state = store.get(store.put(0, start, tuned.state_dict()))
    again = TunedEstimator(copy.deepcopy(estimator), x, y if targets else None, batch_size=8, seed=3)
    again.load_state_dict(state)
    judge = (lambda one: one.predict(x)) if hasattr(without, "predict") else (lambda one: one.transform(x))
    assert np.array_equal(judge(again.estimator), judge(without))
    for name, value in vars(without).items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(vars(again.estimator)[name], value), name
    tuned.train(range(30, 33))
    again.train(range(30, 33))
    assert np.array_equal(judge(again.estimator), judge(tuned.estimator))


def test_a_member_may_begin_from_nothing_again():
    x, y = numbers()
    tuned = TunedEstimator(perceptron(), x, y, batch_size=8)
    begun = tuned.state_dict()
    tuned.train(range(9))
    weights = tuned.estimator.coefs_
    tuned.load_state_dict(begun)
    assert not hasattr(tuned.estimator, "coefs_")
    tuned.train(range(9))
    assert all(map(np.array_equal, tuned.estimator.coefs_, weights))


def test_the_optimizer_of_a_perceptron_is_told():
    x, y = numbers()
    tuned = TunedEstimator(MLPClassifier((5,), solver="sgd", random_state=0), x, y, batch_size=8)
    tuned.train(range(2), learning_rate_init=0.1, momentum=0.5, nesterovs_momentum=True)
    tuned.train(range(2, 4), learning_rate_init=0.2, momentum=0.7, nesterovs_momentum=False)
    optimizer = tuned.estimator._optimizer
    assert (optimizer.learning_rate, optimizer.momentum, optimizer.nesterov) == (0.2, 0.7, False)


@pytest.mark.parametrize("form", [pd.DataFrame, scipy.sparse.csr_matrix])
def test_data_of_other_forms(form):
    x, y = numbers()
    data = form(x) if form is not pd.DataFrame else form(x, columns=list("abcd"))
    names = np.array(["one", "two", "three"])[y]
    one = TunedEstimator(SGDClassifier(random_state=0), data, names, batch_size=8)
    one.train(range(9))
    other = TunedEstimator(SGDClassifier(random_state=0), data, names, batch_size=8)
    store = MemoryCheckpoints()
    other.load_state_dict(store.get(store.put(0, 0, one.state_dict())))
    assert list(other.estimator.predict(data)) == list(one.estimator.predict(data))


def test_the_generator_that_a_worker_seeds_is_left_alone():
    x, _ = numbers()
    one = TunedEstimator(MiniBatchKMeans(3, n_init=1), x, batch_size=8)
    one.train(range(3))
    other = TunedEstimator(MiniBatchKMeans(3, n_init=1), x, batch_size=8)
    np.random.seed(7)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    assert np.random.random() == np.random.RandomState(7).random_sample()
    assert other.estimator._random_state is np.random.mtrand._rand


# ---- a population ----------------------------------------------------------------------------------------------------------------------------


def test_whoever_copies_goes_on_as_the_donor_with_hyperparameters_of_its_own():
    """The whole ancestry of any weights is a row of batches in which hyperparameters are changed as the schedule says."""
    store = MemoryCheckpoints()
    history = lk.run(scikit_learn, SPACE, checkpoints=store, **RUN)
    assert history.copies
    for record in history.generation(3):
        without = in_a_row(perceptron(), 40, history.schedule(record.member))
        learnt = store.get(record.checkpoint)["model"]["learnt"]
        assert all(map(np.array_equal, learnt["coefs_"], without.coefs_))
        assert all(map(np.array_equal, learnt["_optimizer"]["state"]["ms"], without._optimizer.ms))


@pytest.mark.slow
def test_processes_one_of_which_is_killed_train_the_same():
    inline = lk.run(scikit_learn, SPACE, **RUN)
    history = lk.run(scikit_learn_killed, SPACE, engine=Processes(workers=2), journal="killed.db", **RUN)
    assert [failure.kind for failure in history.failures] == ["lost"]
    assert {(record.key, record.value) for record in history.records} == {(record.key, record.value) for record in inline.records}
    assert lk.load("killed.db")["model"]["step"] == history.best.step


# ---- mistakes --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "size", "said"),
    [
        (GradientBoostingClassifier(), 8, "has no partial_fit"),
        (SGDClassifier(), 0, "batch_size: got 0"),
        (SGDClassifier(random_state=np.random.RandomState(0)), 8, "random_state: got a RandomState"),
        (GaussianNB().fit(*numbers()), 8, "fitted already"),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "get_params") else None,
)
def test_what_cannot_be_a_member_is_refused(estimator, size, said):
    with pytest.raises(SettingsError, match=said):
        TunedEstimator(estimator, *numbers(), batch_size=size)


def test_what_has_a_state_that_only_pickle_could_carry_is_refused():
    class Forest(RandomForestClassifier):
        def partial_fit(self, x, y, classes):
            self.fit(x, y)

    tuned = TunedEstimator(Forest(2), *numbers(), batch_size=8)
    tuned.train(range(1))
    with pytest.raises(TrainingError, match="tree_: a Tree cannot be saved without pickling"):
        tuned.state_dict()


def test_a_tree_whose_leaves_hold_each_other_is_refused():
    x, _ = numbers()
    tuned = TunedEstimator(Birch(n_clusters=None), x, batch_size=8)
    tuned.train(range(3))
    with pytest.raises(TrainingError, match="Birch keeps objects that hold each other, which cannot be saved without pickling"):
        tuned.state_dict()


def test_an_argument_that_only_copies_of_an_estimator_within_would_read_is_refused():
    tuned = TunedEstimator(OneVsRestClassifier(SGDClassifier()), *numbers(), batch_size=8)
    with pytest.raises(SettingsError, match="^estimator__alpha: OneVsRestClassifier has no such argument"):
        tuned.train(range(3), estimator__alpha=0.1)


def test_what_the_estimator_has_not_is_refused():
    tuned = TunedEstimator(SGDClassifier(), *numbers(), batch_size=8)
    with pytest.raises(SettingsError, match="^lr: SGDClassifier has no such argument; it has alpha, .*eta0"):
        tuned.train(range(3), lr=0.1)


def test_a_member_that_stands_elsewhere_is_refused():
    tuned = TunedEstimator(SGDClassifier(), *numbers(), batch_size=8)
    with pytest.raises(TrainingError, match="begins at step 3, and what is to be trained stands at 0"):
        tuned.train(range(3, 6))


def test_a_state_of_another_optimizer_is_refused():
    x, y = numbers()
    one, other = (TunedEstimator(MLPClassifier((5,), solver=solver), x, y, batch_size=8) for solver in ("adam", "sgd"))
    one.train(range(2))
    with pytest.raises(TrainingError, match="has a AdamOptimizer where this estimator has a SGDOptimizer"):
        other.load_state_dict(one.state_dict())
