"""Worked examples that the command line runs: each trains real populations and writes its pictures and tables into one folder."""
