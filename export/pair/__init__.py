"""A pair of a classifier and a U-Net, made of two bundles and of what two folded runs said of the same patients.

evidence  the answers of both runs, slice by slice
fit       where the U-Net looks, and the lesion rule over both; thresholds and promises by nested folds
figures   what either and both do out of fold
make      the bundle
"""
