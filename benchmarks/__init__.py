"""How fast, beside what: `python -m benchmarks`. Never a test; shared machines differ, ratios less."""
