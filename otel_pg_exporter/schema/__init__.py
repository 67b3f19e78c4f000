"""The tables: made, granted, partitioned, indexed, and what stands in their way."""
