"""Conformance suites and tools for those who extend Lamarck: whoever adds a strategy, a store or an engine is tested by the same Laws."""
