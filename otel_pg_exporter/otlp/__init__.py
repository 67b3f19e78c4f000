"""OTLP/JSON of spans and log records, there and back."""
