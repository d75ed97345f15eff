"""The best settings of a search run again on fresh seeds: the test that they must pass, and the race to it."""
