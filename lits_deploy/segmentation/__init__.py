"""Masks of a U-Net, from the ledger back onto their sources: pictures, NIfTI volumes, DICOM SEG, and volumes in ml.

    geometry    a mask [S, S] of the network → [rows, columns] of its source
    volumes     how many ml of liver and tumour a series holds
    sources     what the ledger knows of each series' slices; headers: what their files say, read again by workers
    pictures, nifti, grid, dicom_seg    one format each; grid: how DICOM slices lie in space
    names, folder    file names that stay in their folder; the folder of masks, whole or not at all
    run         `segment_folder`: everything after one another

No pixel is computed that the network did not say: masks are enlarged by nearest neighbour and turned, nothing else.
"""

MASK_FORMATS = ("png", "nifti", "dicom-seg")
