"""One run: leases, fences, repeated and late messages, waiting, a disk that is full, a server that starts again."""

import asyncio
from contextlib import contextmanager

import pytest

from lamarck import codec, exploit, explore
from lamarck._errors import CheckpointError, JournalError, ReportError, StaleReport, StrategyError
from lamarck.checkpoints import MemoryCheckpoints
from lamarck.coordinator import Coordinator, events_of
from lamarck.journal import MemoryJournal
from lamarck.pbt import PBT
from lamarck.server.leases import Lease
from lamarck.server.run import Asked, Run
from lamarck.space import Float, Space
from lamarck.types import Assigned, Ended, Explore, Failed, Failure, Report, Reported, Settings
from watched import Watched

LEASE = 0.4


class Clock:
    """Seconds that pass when the test says so, in small steps: a large one would look like a process that stood still."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    async def passes(self, seconds):
        for _ in range(round(seconds / 0.1)):
            self.now += 0.1
            await asyncio.sleep(0.12)


def coordinator(journal, pbt=None, **settings):
    if journal.runs():
        return Coordinator.resume(journal, "main", MemoryCheckpoints())
    rules = Settings(**({"population_size": 2, "interval": 10, "generations": 3} | settings))
    pbt = pbt or PBT(space=Space(h=Float(0.0, 1.0)), settings=rules, exploit=exploit.Truncation(bottom=0.4, top=0.4), explore=explore.Keep())
    return Coordinator.start(pbt, journal, "main", MemoryCheckpoints())


@contextmanager
def running(journal, clock=None, lease=LEASE, **settings):
    run = Run(coordinator(journal, **settings), lease=lease, **({} if clock is None else {"clock": clock}))
    try:
        yield run
    finally:
        run.stop()


async def exchange(run, *args, **kwargs):
    answer = await run.exchange(Asked(*args, **kwargs))
    assert not isinstance(answer, Lease) or answer.message == codec.encode(answer.interval)
    return answer


def report(lease, value=1.0):
    member, generation = lease.interval.key
    return Report(member=member, generation=generation, step=lease.interval.until, value=value, checkpoint=f"{member}-{generation}")


def failure(lease):
    return Failure(member=lease.interval.member, generation=lease.interval.generation, kind="error", message="once")


def kept(journal):
    return [type(event).__name__ for event in events_of(journal, "main")]


def test_a_repeated_report_gets_the_same_answer_and_changes_nothing():
    async def story():
        with running(MemoryJournal()) as run:
            first = await exchange(run, "a", None, None)
            assert await exchange(run, "a", None, None) is first, "the first answer was lost"
            second = await exchange(run, "a", first.token, report(first))
            length = kept(run.coordinator.journal)
            for _ in range(3):
                assert await exchange(run, "a", first.token, report(first)) is second
            assert kept(run.coordinator.journal) == length == ["Started", "Assigned", "Reported", "Assigned"]

    asyncio.run(story())


def test_a_repeated_report_that_found_nothing_to_do_is_heard_once():
    async def story():
        with running(MemoryJournal()) as run:
            a, b = await exchange(run, "a", None, None), await exchange(run, "b", None, None)
            assert await exchange(run, "a", a.token, report(a)) is None
            assert await exchange(run, "a", a.token, report(a)) is None
            after = await exchange(run, "b", b.token, report(b))
            again = await exchange(run, "a", a.token, report(a))
            assert {after.interval.member, again.interval.member} == {0, 1}
            assert kept(run.coordinator.journal).count("Reported") == 2

    asyncio.run(story())


def test_a_worker_that_vanishes_loses_its_lease_and_a_zombie_changes_nothing():
    async def story():
        clock = Clock()
        with running(MemoryJournal(), clock) as run:
            lost = await exchange(run, "zombie", None, None)
            await clock.passes(2 * LEASE)
            again = await exchange(run, "new", None, None)
            assert again.interval == lost.interval
            assert again.token != lost.token
            before = kept(run.coordinator.journal)
            assert before == ["Started", "Assigned", "Failed"]
            with pytest.raises(StaleReport, match="throw this work away"):
                await exchange(run, "zombie", lost.token, report(lost, 9.0))
            with pytest.raises(StaleReport, match="is over"):
                await run.heartbeat("zombie", lost.token)
            await run.release("zombie", lost.token)
            assert kept(run.coordinator.journal) == before
            await exchange(run, "new", again.token, report(again, 2.0))
            with pytest.raises(StaleReport):
                await exchange(run, "zombie", lost.token, report(lost, 9.0))
            assert run.population.members[0].last.value == 2.0

    asyncio.run(story())


def test_heartbeats_keep_a_lease_and_silence_ends_it():
    async def story():
        clock = Clock()
        with running(MemoryJournal(), clock) as run:
            lease = await exchange(run, "a", None, None)
            for _ in range(6):
                await clock.passes(LEASE / 2)
                await run.heartbeat("a", lease.token)
            assert [state.state for state in run.members()] == ["training", "waiting"]
            assert [state.worker for state in run.members()] == ["a", None]
            await clock.passes(2 * LEASE)
            assert [state.state for state in run.members()] == ["lost", "waiting"]
            (failed,) = [event.failure for event in events_of(run.coordinator.journal, "main") if isinstance(event, Failed)]
            assert (failed.kind, failed.message) == ("lost", "no word from worker a for 0.4 s")

    asyncio.run(story())


def test_when_this_process_stood_still_nobody_is_lost():
    async def story():
        clock = Clock()
        with running(MemoryJournal(), clock) as run:
            lease = await exchange(run, "a", None, None)
            clock.now += 1000
            await asyncio.sleep(0.2)
            await run.heartbeat("a", lease.token)
            assert (await exchange(run, "a", lease.token, report(lease))).interval.key == (1, 0)
            assert "Failed" not in kept(run.coordinator.journal)

    asyncio.run(story())


def test_an_interval_that_is_given_back_goes_to_the_next_and_is_no_failure():
    async def story():
        with running(MemoryJournal()) as run:
            lease = await exchange(run, "a", None, None)
            await run.release("a", "0-0-0-00000000-another")
            assert (await exchange(run, "b", None, None)).interval.member == 1
            await run.release("a", lease.token)
            assert (await exchange(run, "c", None, None)).interval == lease.interval
            assert "Failed" not in kept(run.coordinator.journal)

    asyncio.run(story())


def test_after_a_restart_workers_go_on_and_others_wait_for_a_lease():
    async def story():
        journal, clock = MemoryJournal(), Clock()
        with running(journal, clock) as run:
            a, b = await exchange(run, "a", None, None), await exchange(run, "b", None, None)
        with running(journal, clock) as run:
            assert [state.state for state in run.members()] == ["lost", "lost"]
            assert await exchange(run, "new", None, None) is None, "both may still be trained"
            await run.heartbeat("b", b.token)
            await run.heartbeat("b", b.token)
            assert await exchange(run, "a", a.token, report(a)) is None
            assert (await exchange(run, "b", b.token, report(b))).interval.key == (1, 1), "it goes on with the weights that it has"
            with pytest.raises(StaleReport):
                await run.heartbeat("c", "1-0-0-00000000-aaaaaaaa")
        assert "Failed" not in kept(journal)
        with running(journal, clock) as run:
            assert (await exchange(run, "new", None, None)).interval.key == (0, 1), "what was not handed out is free at once"
            assert await exchange(run, "newer", None, None) is None
            await clock.passes(2 * LEASE)
            assert [(await exchange(run, name, None, None)).interval.key for name in ("newest", "last")] == [(0, 1), (1, 1)]

    asyncio.run(story())


def test_a_zombie_is_refused_by_a_server_that_remembers_no_lease():
    async def story():
        journal, clock = MemoryJournal(), Clock()
        with running(journal, clock) as run:
            zombie = await exchange(run, "zombie", None, None)
            await clock.passes(2 * LEASE)
        with running(journal, clock) as run:
            before = kept(journal)
            with pytest.raises(StaleReport):
                await run.heartbeat("zombie", zombie.token)
            with pytest.raises(StaleReport):
                await exchange(run, "zombie", zombie.token, report(zombie))
            assert kept(journal) == before

    asyncio.run(story())


def test_a_failure_counts_once_however_often_it_is_said():
    async def story():
        journal = MemoryJournal()
        with running(journal) as run:
            lease = await exchange(run, "a", None, None)
            assert await exchange(run, "a", lease.token, failure(lease), claim=False) is None
            assert await exchange(run, "a", lease.token, failure(lease), claim=False) is None
        with running(journal) as run, pytest.raises(StaleReport):
            await exchange(run, "a", lease.token, failure(lease), claim=False)
        assert kept(journal).count("Failed") == 1

    asyncio.run(story())


def test_a_report_that_was_acknowledged_before_the_restart_is_known_again():
    async def story():
        journal = MemoryJournal()
        with running(journal, population_size=1) as run:
            lease = await exchange(run, "a", None, None)
            await exchange(run, "a", lease.token, report(lease, float("nan")), claim=False)
        with running(journal) as run:
            assert (await exchange(run, "a", lease.token, report(lease, float("nan")))).interval.generation == 1
            with pytest.raises(StaleReport):
                await exchange(run, "z", lease.token, report(lease, 7.0))
        assert kept(journal).count("Reported") == 1

    asyncio.run(story())


def test_what_cannot_be_written_has_not_happened_and_can_be_said_again():
    async def story():
        disk = Watched()
        with running(disk) as run:
            lease = await exchange(run, "a", None, None)
            disk.full = True
            for _ in range(2):
                with pytest.raises(JournalError):
                    await exchange(run, "a", lease.token, report(lease))
                with pytest.raises(JournalError):
                    await exchange(run, "b", None, None)
            disk.full = False
            await run.heartbeat("a", lease.token)
            assert (await exchange(run, "a", lease.token, report(lease))).interval.key == (1, 0)
            assert run.population.members[0].last.key == (0, 0)
        assert kept(disk) == ["Started", "Assigned", "Reported", "Assigned"]

    asyncio.run(story())


def test_those_who_wait_are_served_in_turn_as_soon_as_there_is_something():
    async def story():
        with running(MemoryJournal(), population_size=3) as run:
            held = [await exchange(run, name, None, None) for name in "abc"]
            waiting = [asyncio.create_task(exchange(run, name, None, None, wait=10.0)) for name in "xyz"]
            await asyncio.sleep(0.05)
            for name, lease in zip("ab", held, strict=False):
                assert await exchange(run, name, lease.token, report(lease)) is None
            assert not any(task.done() for task in waiting)
            mine = await exchange(run, "c", held[2].token, report(held[2]))
            assert mine.interval.key == (2, 1), "who reports keeps its member"
            x, y = await asyncio.wait_for(asyncio.gather(*waiting[:2]), 5)
            assert {x.interval.key, y.interval.key} == {(0, 1), (1, 1)}
            assert not waiting[2].done()
            await run.release("x", x.token)
            assert (await asyncio.wait_for(waiting[2], 5)).interval == x.interval
            assert await exchange(run, "late", None, None, wait=0.1) is None

    asyncio.run(story())


def test_whoever_waits_hears_that_the_run_is_over():
    async def story():
        with running(MemoryJournal(), population_size=1, generations=1) as run:
            lease = await exchange(run, "a", None, None)
            waiting = asyncio.create_task(exchange(run, "b", None, None, wait=10.0))
            await asyncio.sleep(0.05)
            assert await exchange(run, "a", lease.token, report(lease)) == Ended(reason="generations")
            assert await asyncio.wait_for(waiting, 5) == Ended(reason="generations")
            assert [state.state for state in run.members()] == ["done"]

    asyncio.run(story())


def test_many_who_ask_at_once_share_transactions():
    async def story():
        disk = Watched()
        with running(disk, population_size=64, max_lead=None) as run:
            leases = await asyncio.gather(*(exchange(run, f"w{i}", None, None) for i in range(64)))
            assert sorted(lease.interval.member for lease in leases) == list(range(64))
            before = len(disk.appended)
            after = await asyncio.gather(*(exchange(run, lease.worker, lease.token, report(lease)) for lease in leases))
            assert all(isinstance(answer, Lease) for answer in after)
            assert len(disk.appended) - before < 16
        assert kept(disk).count("Reported") == 64

    asyncio.run(story())


def test_a_report_is_kept_when_the_decision_after_it_fails():
    class Broken(Explore):
        name = "broken"

        def to_dict(self):
            return {"name": "keep"}

        def __call__(self, hparams, member, population, space, rng):
            return {"h": "nonsense"}

    async def story():
        journal = MemoryJournal()
        settings = Settings(population_size=1, interval=10, generations=2)
        pbt = PBT(space=Space(h=Float(0.0, 1.0)), settings=settings, exploit=exploit.Itself(), explore=Broken())
        with running(journal, pbt=pbt) as run:
            lease = await exchange(run, "a", None, None)
            with pytest.raises(StrategyError):
                await exchange(run, "a", lease.token, report(lease))
            with pytest.raises(StrategyError):
                await exchange(run, "a", lease.token, report(lease))
            assert kept(journal) == ["Started", "Assigned", "Reported"]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        (dict(member=99), ReportError, "members 0 to 1"),
        (dict(step=11), ReportError, "runs from 0 to 10"),
        (dict(generation=1), StaleReport, "not this worker's"),
    ],
)
def test_a_report_that_cannot_be_counted_leaves_the_lease_as_it_was(wrong, error, says):
    async def story():
        with running(MemoryJournal()) as run:
            lease = await exchange(run, "a", None, None)
            fields = {"member": 0, "generation": 0, "step": 10, "value": 1.0, "checkpoint": "c"} | wrong
            with pytest.raises(error, match=says):
                await exchange(run, "a", lease.token, Report(**fields))
            assert kept(run.coordinator.journal) == ["Started", "Assigned"]
            assert (await exchange(run, "a", lease.token, report(lease))).interval.key == (1, 0)

    asyncio.run(story())


def test_another_worker_cannot_speak_for_the_holder():
    async def story():
        with running(MemoryJournal()) as run:
            lease = await exchange(run, "a", None, None)
            for worker, token in (("b", lease.token), ("a", lease.token[:-1] + "x"), ("a", "x"), ("a", "99-0-0-0-0")):
                with pytest.raises(StaleReport):
                    await exchange(run, worker, token, report(lease))
            with pytest.raises(StaleReport):
                await run.heartbeat("b", lease.token)
            with pytest.raises(ReportError, match="lease is missing"):
                await exchange(run, "a", None, report(lease))
            assert await exchange(run, "a", None, None, claim=False) is None
            assert (await exchange(run, "a", lease.token, report(lease))).interval.key == (1, 0)

    asyncio.run(story())


def test_a_damaged_checkpoint_makes_the_old_lease_void():
    async def story():
        journal = MemoryJournal()
        with running(journal, population_size=1) as run:
            first = await exchange(run, "a", None, None)
            second = await exchange(run, "a", first.token, report(first))
            damaged = Failure(member=0, generation=1, kind="damaged", checkpoint=second.interval.restore)
            third = await exchange(run, "a", second.token, damaged)
            assert third.interval.restore is None
        with running(journal) as run:
            with pytest.raises(StaleReport):
                await exchange(run, "z", second.token, report(second))
            assert (await exchange(run, "a", third.token, report(third))).interval.generation == 2
        events = [codec.decode_event(data) for data in journal.read("main")]
        assert [type(event) for event in events if isinstance(event, Reported | Assigned)].count(Reported) == 2

    asyncio.run(story())


def test_whoever_has_hung_up_is_given_nothing():
    async def story():
        with running(MemoryJournal(), population_size=1) as run:
            lease = await exchange(run, "a", None, None)
            gone, told = asyncio.create_task(exchange(run, "b", wait=30.0)), []
            run.ask(Asked("c", wait=30.0), told.append).give_up()
            waiting = asyncio.create_task(exchange(run, "d", wait=30.0))
            await asyncio.sleep(0.05)
            gone.cancel()
            await asyncio.sleep(0.05)
            await run.release("a", lease.token)
            assert (await asyncio.wait_for(waiting, 5)).worker == "d"
            assert told == [None]

    asyncio.run(story())


def test_those_who_wait_go_on_waiting_when_nothing_can_be_written():
    async def story():
        disk = Watched()
        with running(disk, population_size=2) as run:
            a, b = await exchange(run, "a", None, None), await exchange(run, "b", None, None)
            waiting = asyncio.create_task(exchange(run, "c", None, None, wait=10.0))
            assert await exchange(run, "a", a.token, report(a), claim=False) is None
            disk.full = True
            with pytest.raises(JournalError):
                await exchange(run, "b", b.token, report(b), claim=False)
            assert not waiting.done()
            disk.full = False
            assert await exchange(run, "b", b.token, report(b), claim=False) is None
            assert (await asyncio.wait_for(waiting, 5)).interval.generation == 1

    asyncio.run(story())


def test_what_is_written_stands_also_when_old_checkpoints_cannot_be_deleted(monkeypatch, caplog):
    def stuck(*_):
        raise CheckpointError("the disk says no")

    async def story():
        with running(MemoryJournal()) as run:
            monkeypatch.setattr(MemoryCheckpoints, "sweep", stuck)
            lease = await exchange(run, "a", None, None)
            for generation in range(1, 3):
                for _ in range(2):
                    lease = await exchange(run, "a", lease.token, report(lease))
                assert lease.interval.generation == generation
        assert "the disk says no" in caplog.text

    asyncio.run(story())
