"""One patient from numbers to voxels: the order in which the body is painted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lits_deploy.errors import UserError
from train.phantom import bones, bowel, chest, organs, trunk, vessels
from train.phantom.canvas import Canvas
from train.phantom.grid import PhantomGrid
from train.phantom.lesions import Lesion, paint_lesions
from train.phantom.patient import Patient, draw_patient
from train.phantom.scanner import scan


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """One synthetic abdomen.

    hu: int16 HU [Z, 256, 256], displayed anterior up with the patient's right on the image's left; index 0 is the
        most caudal slice.
    labels: uint8 [Z, 256, 256], 0 background, 1 liver, 2 lesion; lesions lie strictly inside the liver.
    lesions: what was put in, whether or not it is visible on a slice.
    person: the numbers it was made from: phase, spacing, slice thickness, sex, kernel and so on. Slices are thinner
        than their distance, as in a data set that keeps every k-th slice.
    """

    hu: npt.NDArray[np.int16]
    labels: npt.NDArray[np.uint8]
    seed: int
    patient: int
    lesions: list[Lesion]
    person: Patient

    @property
    def grid_mm(self) -> tuple[float, float, float]:
        """Distance of slices, rows and columns in mm, to 0.1 µm: what DICOM's decimal strings and NIfTI both hold."""
        slices, rows, columns = (round(value, 4) for value in self.person.frame.spacing_mm)
        return slices, rows, columns


def make_phantom(seed: int, patient: int, *, slices: int | None = None) -> Phantom:
    """Make patient number `patient` of `seed`; the same numbers give the same voxels, whatever else is made.

    That holds on one machine with one NumPy; another CPU may round a voxel here and there the other way.

    slices: how many to take over the same stretch of body; by default 34–48, about as many as the patient's slice
        thickness suggests. Other numbers sample the same body; lesions and textures are then drawn anew.

    Raises UserError for numbers below 0, or no slices.
    """
    if min(seed, patient) < 0 or (slices is not None and slices < 1):
        raise UserError("A phantom needs a seed and a patient of 0 or more, and at least one slice.")
    rng = np.random.default_rng([seed, patient])
    draw, space, surface, solid, hollow, tubes, focal, machine = rng.spawn(8)
    person = draw_patient(seed, patient, draw, slices=slices)
    grid = PhantomGrid(person.frame, space)
    canvas = Canvas(grid, surface)
    body = trunk.build_trunk(grid, person)
    trunk.paint_trunk(canvas, body, person)
    chest.paint_lungs(canvas, body, tubes)
    chest.paint_heart(canvas, person, tubes)
    bowel.paint_bowel(canvas, body, person, hollow)
    bowel.paint_bladder(canvas, person, hollow)
    organs.paint_psoas(canvas, person, solid)
    bones.paint_pelvis(canvas, person)
    organs.paint_liver(canvas, body, person, solid)
    bowel.paint_stomach(canvas, body, person, hollow)
    organs.paint_spleen(canvas, body, person, solid)
    organs.paint_pancreas(canvas, person, solid)
    organs.paint_kidneys(canvas, body, person, solid)
    vessels.paint_vessels(canvas, person, tubes)
    chest.paint_airways(canvas)
    bones.paint_spine(canvas, person)
    bones.paint_ribs(canvas, body, person)
    labels, lesions = paint_lesions(canvas, person, focal)
    trunk.paint_couch(canvas, body, person)
    hu = scan(canvas, person, machine)
    return Phantom(hu=hu, labels=labels, seed=seed, patient=patient, lesions=lesions, person=person)
