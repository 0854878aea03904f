"""How large models are trained: sections that run as notebooks, functions and commands."""
