"""The agent's panel and the supervisor's view of queues: two small pages and what they ask."""
