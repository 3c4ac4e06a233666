"""Words that recipes and the page share."""

from __future__ import annotations

RESULT = "result.json"
"""What a recipe's folder holds for the page."""

PARTS = {"Thesis": "What the thesis did", "Silent": "Where it is silent", "Ours": "What we chose"}
"""First words of the paragraphs of a recipe's docstring, and their headings."""
