"""Which attributes hold content: what was given to a model, a tool or a program, and what came back."""

from __future__ import annotations

from ..routing.conventions import Sources

__all__ = ["ContentNames"]

_CONTENT = (
    "gen_ai.system_instructions", "gen_ai.tool.definitions", "gen_ai.prompt.*", "gen_ai.completion.*",
    "gen_ai.event.content", "content", "message", "tool_calls", "tool.result", "gen_ai.evaluation.explanation",
    "model_request_parameters", "llm.input_messages.*", "llm.output_messages.*", "llm.prompts", "llm.prompts.*",
    "llm.choices.*", "llm.prompt_template.*", "llm.tools.*", "llm.function_call", "llm.invocation_parameters",
    "tool.parameters", "retrieval.documents.*",
    "reranker.input_documents.*", "reranker.output_documents.*", "reranker.query", "embedding.embeddings.*",
    "embedding.text", "document.*", "traceloop.prompt.*", "mlflow.chat.*", "logfire.msg", "logfire.logging_args",
    "langfuse.trace.input", "langfuse.trace.output", "gcp.vertex.agent.data",
    "messaging.message.body", "http.request.body", "http.response.body",
)  # fmt: skip
"""Attributes that hold content, beside those that fill `input` and `output`; `.*` stands for any ending."""

_NUMBERS = ("mlflow.chat.tokenUsage",)


class ContentNames:
    """The names of such attributes.

    Args:
        sources: which attributes fill `input` and `output`; those are content too.
    """

    def __init__(self, sources: Sources) -> None:
        filled = {name for columns in sources.values() for column in ("input", "output") for name in columns[column]}
        names = {*_CONTENT, *filled}
        self._names = frozenset(name for name in names if not name.endswith(".*"))
        self._starts = tuple(name[:-1] for name in names if name.endswith(".*"))

    def __contains__(self, key: object) -> bool:
        """Whether the attribute of this name holds content."""
        if not isinstance(key, str) or key in _NUMBERS:
            return False
        return key in self._names or key.startswith(self._starts)
