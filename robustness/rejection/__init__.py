"""The experiment: attack models, tell attacked inputs from clean ones, report."""
