"""What the SDK hands spans and log records to: queues in memory, files first, spans while they are open."""
