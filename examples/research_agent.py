"""A small agent program: a task that calls an agent that calls tools, and the deployment of it.

Nothing in here knows where events go. Run it through `demo.py`, or after `otel_pg_exporter.configure()`.
"""

from __future__ import annotations

import asyncio

from instrumentation import action, agent, deployment, event, task

SOURCES = {"hotels": 4, "trains": 2, "museums": 7}
_tries = {"book": 0}


@action
async def search(topic: str) -> int:
    """A tool: how many results there are."""
    await asyncio.sleep(0.02)
    return SOURCES[topic]


@action("book", kind="tool")
async def book(what: str, api_key: str) -> str:
    """A tool that fails the first time."""
    await asyncio.sleep(0.01)
    _tries["book"] += 1
    if _tries["book"] == 1:
        raise TimeoutError("the booking service did not answer")
    return f"{what} is booked"


@action("watch prices")
async def watch_prices() -> None:
    """A tool that would never end."""
    await asyncio.sleep(3600)


@agent("travel agent", model="gpt-5", provider="openai")
async def travel_agent(question: str) -> str:
    """Searches in parallel, asks its model, books with a second try, and cancels what it no longer needs."""
    watching = asyncio.create_task(watch_prices())
    found = await asyncio.gather(*(search(topic) for topic in SOURCES))
    async with action("gpt-5", kind="llm", model="gpt-5", provider="openai") as call:
        call.input({"question": question, "results": sum(found)})
        await asyncio.sleep(0.03)
        call.output("Take the train to Lisbon.")
        call.usage(input_tokens=412, output_tokens=58, cost=0.0031)
    for attempt in (1, 2):
        try:
            answer = await book("a train to Lisbon", api_key="sk-not-for-anybody-to-see-0123456789")
            break
        except TimeoutError:
            event("book.retried", severity="warn", attributes={"attempt": attempt})
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    return answer


@task("plan a trip", queue="interactive", attempt=1)
async def plan_a_trip(wish: str) -> str:
    """The work that somebody asked for."""
    event("user.asked", attributes={"words": len(wish.split())}, user_id="anna")
    return await travel_agent(wish)


def deploy() -> None:
    """The new version goes out."""
    with deployment("travel-agent", environment="staging", branch="main", commit="4f2a91c", pull_request="17") as d:
        d.build("success")
        d.tests("success")


def main() -> str:
    """Deploy, then do one task; gives its answer."""
    deploy()
    return asyncio.run(plan_a_trip("Somewhere warm, by train, next week"))


if __name__ == "__main__":
    from otel_pg_exporter import configure

    configure()
    print(main())
