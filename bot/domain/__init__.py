"""Rules as pure functions over frozen values. No I/O, no clock, no vendor import: time, ids and rows come as arguments."""
