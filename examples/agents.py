"""An agent that calls its model and its tools: who did what, with how many tokens, and at what cost.

python examples/agents.py     # OTEL_EXPORTER_POSTGRES_DSN, else the embedded PostgreSQL
"""

from __future__ import annotations

from instrumentation import action, agent
from otel_pg_exporter import configure

WEATHER = {"Lisbon": 24, "Oslo": 3}


@action
def weather(city: str) -> int:
    """A tool; it knows two cities."""
    return WEATHER[city]


def ask_model(question: str) -> str:
    """A call of a model, as a block, because its tokens are known only when it has answered."""
    with action("gpt-5", kind="llm", model="gpt-5", provider="openai") as call:
        call.input(question)
        answer = "Take a coat." if "3" in question else "Take sunglasses."
        call.output(answer)
        call.usage(input_tokens=len(question), output_tokens=len(answer), cost=0.0004)
    return answer


@agent("travel adviser", model="gpt-5", session_id="s-1", user_id="ada")
def advise(city: str) -> str:
    """The agent; what happens inside inherits its name, session and user."""
    return ask_model(f"{city}: {weather(city)} degrees")


def main() -> None:
    """Ask three times, of which one fails, and count."""
    telemetry = configure()
    for city in ("Lisbon", "Oslo", "Atlantis"):
        try:
            print(f"{city}: {advise(city)}")
        except KeyError:
            print(f"{city}: nobody knows")
    telemetry.force_flush()

    statistics = telemetry.query.statistics("agent", session="s-1")
    print(f"{statistics.total} agent events, {statistics.errors} errors")
    print(f"{statistics.input_tokens} tokens in, {statistics.output_tokens} out, {statistics.cost:.4f} USD")


if __name__ == "__main__":
    main()
