"""What outlives the process: the store, the cache, and durable runs."""
