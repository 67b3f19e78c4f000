"""Of the event store and the event integration: what an event may hold, when something began, how the store is."""
