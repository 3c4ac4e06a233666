"""Synthetic abdomens in HU with liver and lesion masks: the data that demo, tests and goldens can share with anyone.

    make_phantom(seed, patient)     one patient, in memory
    write_slices(out, patients, seed)   a training data set on disk
    write_nifti(out, patients, seed)    the same patients as NIfTI volumes in LiTS naming
    write_dicom(out, patients, seed)    the same patients as DICOM series

Anatomy is a set of smooth 3D bodies in a reference adult's millimetres (`grid`, `shapes`), drawn anew for each patient
(`patient`), painted organ by organ (`canvas`; `trunk`, `wall`, `skeleton`, `limbs`, `chest`, `bowel`, `abdomen`,
`vessels`, `lesions`) and put through a scanner (`scanner`). It looks like portal-phase CT; it is not a model of
disease, and a score on it says only that a pipeline works. Class shares are near the thesis's Table 1.
"""

from train.phantom.anatomy import Phantom, make_phantom
from train.phantom.dicom import write_dicom
from train.phantom.volumes import write_nifti
from train.phantom.write import split_patients, write_slices

__all__ = ["Phantom", "make_phantom", "split_patients", "write_dicom", "write_nifti", "write_slices"]
