"""Every table and figure of the thesis as a recipe: one module, one named function, for each.

`registry` lists them without torch; `printed` holds the numbers to compare with; `lab/` is the machinery they share:
trainings that are done once, tables, figures, pages. A recipe's docstring says what the thesis did, where it is silent
and what we chose, and stands in its README and on the page.
"""
