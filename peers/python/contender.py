"""Python's libraries as contenders: `contender.py arq|saq` and the command line of `benches/src/side.rs`."""

import argparse
import asyncio
import importlib.metadata
import json
import os
import sys
import threading
import time
from datetime import datetime, timezone

PACE, AHEAD, BULK = 0.020, 0.5, 100
state = {"ran": 0, "since": 0.0, "at": 0.0, "late": [], "lateness": False}


def say(**line):
    print(json.dumps(line), flush=True)


def ran(number):
    now = time.time()
    state["since"] = state["since"] or now
    state["at"] = now
    if state["lateness"]:
        state["late"].append(round(now * 1e6) - number)
    state["ran"] += 1


def wait_for_go():
    say(ready=True)
    sys.stdin.readline()


def tell():
    """Tells what has run from a thread, and ends the process with standard input: its jobs do nothing."""

    def until_end():
        while sys.stdin.readline():
            pass
        os._exit(0)

    def loop():
        told = 0
        while True:
            time.sleep(0.01)
            count = state["ran"]
            if count == told:
                continue
            told = count
            late, state["late"] = state["late"], []
            if late:
                say(late_us=late)
            say(ran=count, since=state["since"], at=state["at"])

    threading.Thread(target=until_end, daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()


async def add_all(ask, add, add_later):
    """`add(number)` adds one job; `add_later(number, when)` one for later."""
    wait_for_go()
    began = time.perf_counter()
    if ask.how == "bulk":
        for start in range(0, ask.jobs, BULK):
            numbers = range(start, min(start + BULK, ask.jobs))
            await asyncio.gather(*(add(number) for number in numbers))
    elif ask.how == "single":
        for number in range(ask.jobs):
            await add(number)
    elif ask.how == "paced":
        first = time.perf_counter()
        for index in range(ask.jobs):
            await asyncio.sleep(max(0.0, first + index * PACE - time.perf_counter()))
            await add(round(time.time() * 1e6))
    else:
        first = time.time() + AHEAD
        for index in range(ask.jobs):
            due = round((first + index * PACE) * 1e3) / 1e3
            await add_later(round(due * 1e6), due)
    say(enqueued=ask.jobs, seconds=time.perf_counter() - began)


class Arq:
    """Tuned: as many jobs as slots, and a look each 2 ms."""

    async def enqueue(self, ask, text):
        from arq import create_pool
        from arq.connections import RedisSettings

        pool = await create_pool(RedisSettings.from_dsn(ask.url))

        async def add(number):
            await pool.enqueue_job("noop", number, text)

        async def add_later(number, when):
            await pool.enqueue_job("noop", number, text, _defer_until=datetime.fromtimestamp(when, timezone.utc))

        await add_all(ask, add, add_later)

    async def work(self, ask):
        from arq.connections import RedisSettings
        from arq.worker import Worker, func

        async def noop(ctx, number, text):
            ran(number)
            return number

        options = {"max_jobs": ask.slots, "poll_delay": 0.002} if ask.tuned else {}
        worker = Worker(
            functions=[func(noop, name="noop")],
            redis_settings=RedisSettings.from_dsn(ask.url),
            keep_result=3600 if ask.keeps else 0,
            handle_signals=False,
            **options,
        )
        wait_for_go()
        tell()
        await worker.async_run()


class Saq:
    """Tuned: as many jobs as slots."""

    def queue(self, ask):
        from saq import Queue

        return Queue.from_url(ask.url, name="bench")

    async def enqueue(self, ask, text):
        queue = self.queue(ask)
        await queue.connect()
        ttl = 3600 if ask.tuned else 600

        async def add(number):
            await queue.enqueue("noop", number=number, text=text, ttl=ttl)

        async def add_later(number, when):
            await queue.enqueue("noop", number=number, text=text, ttl=ttl, scheduled=when)

        await add_all(ask, add, add_later)

    async def work(self, ask):
        from saq import Worker

        async def noop(ctx, *, number, text):
            ran(number)
            if not ask.keeps:
                ctx["job"].ttl = -1
            return number

        options = {"concurrency": ask.slots} if ask.tuned else {}
        worker = Worker(self.queue(ask), functions=[("noop", noop)], **options)
        wait_for_go()
        tell()
        await worker.start()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library", choices=["arq", "saq"])
    parser.add_argument("what", choices=["version", "enqueue", "work"])
    parser.add_argument("--url")
    parser.add_argument("--settings", choices=["defaults", "tuned"], default="defaults")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--payload", type=int)
    parser.add_argument("--how", choices=["bulk", "single", "paced", "deferred"])
    parser.add_argument("--slots", type=int, default=100)
    parser.add_argument("--results", choices=["kept", "dropped"], default="dropped")
    parser.add_argument("--lateness", choices=["yes", "no"], default="no")
    ask = parser.parse_args()
    ask.tuned, ask.keeps = ask.settings == "tuned", ask.results == "kept"
    state["lateness"] = ask.lateness == "yes"
    library = {"arq": Arq, "saq": Saq}[ask.library]()
    if ask.what == "version":
        python = ".".join(map(str, sys.version_info[:3]))
        print(f"{ask.library} {importlib.metadata.version(ask.library)} on Python {python}")
        return
    try:
        if ask.what == "enqueue":
            words = "the quick brown fox, 32 bytes up"
            text = (words * (ask.payload // len(words) + 1))[: ask.payload]
            asyncio.run(library.enqueue(ask, text))
        else:
            asyncio.run(library.work(ask))
    except Exception as error:  # whatever it is, the runner is to say it
        say(cannot=f"{type(error).__name__}: {error}")
        sys.exit(1)


main()
