"""Ways to run the whole: the one-machine federation (the demo). May import every package."""
