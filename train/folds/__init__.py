"""`train --folds`: one training a fold, each without the patients it is held against, and their answers out of fold.

deal      which patients are held out together
splits    the patients of train and validate as one pool; the layout that a fold is trained on, and the final network
folder    RUN/folds.json, who writes to RUN, and whether a run goes on there
answers   what a fold's last network says of the patients that it never saw
run       all of it, in order
"""
