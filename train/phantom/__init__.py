"""Synthetic abdomens in HU with liver and lesion masks: the data that demo, tests and goldens can share with anyone.

    make_phantom(seed, patient)                 one patient, in memory
    write_phantoms(out, patients, seed, kind)   a training data set, NIfTI volumes in LiTS naming, or DICOM series

What a reader of CT looks for has a file each, all in a reference adult's millimetres (`grid`, `shapes`):

    patient     who it is: build, phase, scan range, lesion load; drawn anew for each
    trunk       skin, fat, wall, cavities, diaphragm, couch; bones, chest, bowel, organs, vessels lie in it
    lesions     what is to be found, and the labels
    scanner     blur, beam hardening, noise
    anatomy     paints them in order (on a `canvas`)
    folder      writes patients, volumes by `nifti` and `dicom`

It looks like portal-phase CT; it is not a model of disease, and a score on it says only that a pipeline works. Class
shares are near the thesis's Table 1.
"""

from train.phantom.anatomy import Phantom, make_phantom
from train.phantom.folder import split_patients, write_phantoms

__all__ = ["Phantom", "make_phantom", "split_patients", "write_phantoms"]
