"""The centre: rounds, aggregation, releases. It never sees a person."""
