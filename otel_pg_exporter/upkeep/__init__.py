"""What becomes of rows with time: days that go, summaries that are merged, what is erased."""
