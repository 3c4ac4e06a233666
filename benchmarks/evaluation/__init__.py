"""`lits-deploy evaluate`: how right a run or a bundle is on labelled slices, with intervals, plots and one page.

`subject` is what is measured and what on, `export.answers` the answers; `classifier` and `unet` make figures of them,
`run.evaluate` the document. `report` and `plots` draw from the document alone. A bundle needs no PyTorch.
"""
