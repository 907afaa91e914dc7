"""Tests of one part of ours with the real thing behind it: PostgreSQL, processes, servers on free ports."""
