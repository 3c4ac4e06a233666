"""What the recipes share: data views, trainings done once, tables, figures, READMEs and the page.

bench     what a recipe is handed: train, table, figure, note
scale     how much smaller than the thesis
dataset   the data at hand: identity, classes; views: a part of it, or another split of it, as links
trainings the cache of runs; runs: what a finished run tells, epoch by epoch
tables, figures, slices   what a recipe writes
page      results for readers; reproduce: one recipe or all of them
"""
