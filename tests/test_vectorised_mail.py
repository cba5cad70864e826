"""Large things between processes: what is written arrives, whoever reads it, and a letter that ends early is noticed."""

import multiprocessing
import os

import numpy as np
import pytest

from lamarck.engines.vectorised import mail as mails
from lamarck.engines.vectorised.mail import Mail, nameless


@pytest.fixture(params=["in memory", "on the disk"])
def file(request, monkeypatch):
    if request.param == "on the disk":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    file = nameless()
    yield file
    os.close(file)


def weights(size=3000):
    rng = np.random.default_rng(size)
    return {"a": rng.normal(size=(4, size)), "b": np.arange(size), "none": np.empty((0, 3)), "plain": [1, "x", None]}


def equal(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name])


def test_what_is_written_is_read_with_memory_of_its_own(file):
    mail = Mail(file, 0)
    letter = mail.write(weights())
    first, second = mail.read(letter), mail.read(letter)
    first["a"][:] = 0
    equal(second, weights())
    assert len(letter.pickled) < 1000  # the arrays are beside it


def test_letters_stand_beside_each_other_until_all_are_read(file):
    ours, theirs = Mail(file, 0), Mail(file, 1)
    letters = [writer.write(weights(size)) for size in (10, 5000, 300) for writer in (ours, theirs)]
    for letter, size in zip(letters, (10, 10, 5000, 5000, 300, 300), strict=True):
        equal(theirs.read(letter), weights(size))
    assert ours.write(weights()).start > letters[-2].start
    ours.clear()
    assert ours.write(weights()).start == letters[0].start


def test_what_is_mapped_is_shared_until_somebody_writes(file):
    mail = Mail(file, 1)
    mail.write(b"before")
    letter = mail.write(weights())
    one, other = mail.map(letter), mail.map(letter)
    equal(one, weights())
    assert all(value.ctypes.data % 64 == 0 for value in one.values() if isinstance(value, np.ndarray))
    one["a"][:] = 0
    equal(other, weights())
    equal(mail.read(letter), weights())


def test_buffers_of_which_one_call_moves_a_part_arrive_whole(file, monkeypatch):
    whole = mails._whole

    def in_parts(move, file, buffer, at):
        whole(lambda file, buffers, at: move(file, [buffers[0][:1000]], at), file, buffer, at)

    monkeypatch.setattr(mails, "_whole", in_parts)
    mail = Mail(file, 3)
    equal(mail.read(mail.write(weights())), weights())


def test_a_letter_that_ends_early_is_noticed(file):
    mail = Mail(file, 0)
    letter = mail.write(weights())
    os.ftruncate(file, 1000)
    with pytest.raises(EOFError, match="ends early"):
        mail.read(letter)


def _answered(pipe, mail):
    letter = pipe.recv()
    pipe.send(mail.write({name: value for name, value in mail.read(letter).items() if name != "b"}))


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_another_process_reads_and_answers(method, file):
    context = multiprocessing.get_context(method)
    mine, theirs = context.Pipe()
    process = context.Process(target=_answered, args=(theirs, Mail(file, 1)), daemon=True)
    process.start()
    mail = Mail(file, 0)
    mine.send(mail.write(weights()))
    answer = mail.read(mine.recv())
    process.join()
    equal(answer, {name: value for name, value in weights().items() if name != "b"})
