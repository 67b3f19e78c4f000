"""The program that is recorded, which must not be hurt: its forks, signals, end, log, and threads beside its own."""
