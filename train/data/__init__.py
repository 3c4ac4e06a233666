"""Training data: layouts, data sets, augmentation, synthetic phantoms."""
