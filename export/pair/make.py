"""`bundle pair`: two bundles and the answers of their folded runs, made one bundle that decides by both networks.

Neither network is changed, and no slice is read: files keep their bytes and hashes, and the rule is fitted on answers
that are there already. Those are of FP32 networks; another precision takes its numbers over, with its own temperature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from export.calibrate import calibration_of
from export.card import model_card
from export.operating_points import RULES, uncheckable
from export.pair.evidence import PairEvidence, read
from export.pair.figures import measured
from export.pair.fit import FittedPair, fit, points_of
from lits_deploy import __version__
from lits_deploy.bundle import CARD, Artifact, Bundle, Manifest, with_segmenter, write_manifest
from lits_deploy.contract import unshared
from lits_deploy.errors import BundleError, ContractError, DataError
from lits_deploy.files import sha256_file, write_printable
from lits_deploy.operating_point import ARGMAX
from lits_deploy.packing import check_free, copy_files, replace_bundle, workplace
from lits_deploy.verify import verify
from lits_deploy.witnesses import PAIR
from train.out_of_fold import OutOfFold

Say = Callable[[str], None]


def make_pair(
    classifier: Bundle,
    segmenter: Bundle,
    runs: tuple[Path, Path],
    out: Path,
    *,
    rule: str = ARGMAX,
    overwrite: bool = False,
    say: Say = lambda _: None,
) -> Bundle:
    """Write the pair `out`; it appears in one rename, after it has verified here.

    runs: the folded runs that the bundles were exported from, the classifier's first. rule: by which class 2 is given.
    Raises BundleError for bundles that make no pair, ContractError where they see other slices, DataError for runs
    that are not theirs, or not of the same patients and folds; OutputError where `out` exists.
    """
    check_free(out, overwrite=overwrite)
    check_bundles(classifier, segmenter)
    ours, theirs, evidence = read(*runs)
    for bundle, answers, run in zip((classifier, segmenter), (ours, theirs), runs, strict=True):
        check_exported(bundle, answers, run)
    if why := evidence.too_little or uncheckable(evidence):
        raise DataError(f"No lesion rule can be fitted: {why}.", fix="train both with --folds on more patients")
    say(f"fitting the lesion rule on {len(evidence.target):,} slices of {len(set(evidence.patients))} patients")
    fitted = fit(evidence.target, evidence.logits, evidence.counts, tuple(dict.fromkeys([*RULES, rule])))
    figures = measured(evidence)
    artifacts = artifacts_of(classifier, segmenter, evidence, fitted, rule, say)
    with workplace(
        out, sum(one.bytes for each in (classifier, segmenter) for one in each.manifest.artifacts)
    ) as folder:
        inner, names = with_segmenter(segmenter)
        own = {one.file for one in classifier.manifest.artifacts} | set(classifier.manifest.files) - {CARD}
        copy_files(classifier, sorted(own), folder)
        for new, old in names.items():
            with (folder / new).open("xb") as stream:
                stream.writelines(segmenter.blocks(old))
        manifest = _manifest(classifier, inner, artifacts, figures, segmenter.sha256, (ours, theirs))
        write_printable(folder / CARD, model_card(manifest))
        files = {**manifest.files, CARD: sha256_file(folder / CARD)}
        write_manifest(folder, replace(manifest, files=files))
        _check(folder)
        replace_bundle(out, folder)
    return Bundle.open(out)


def check_bundles(classifier: Bundle, segmenter: Bundle) -> None:
    """BundleError, ContractError where the two make no pair, naming what to do."""
    for bundle, task, kind in ((classifier, "classify", "a classifier"), (segmenter, "segment", "a U-Net")):
        if bundle.manifest.task != task or bundle.manifest.segmenter is not None:
            what = "a pair" if bundle.manifest.segmenter is not None else f"not {kind}"
            raise BundleError(f"{bundle.folder} is {what}.", fix="name the classifier's bundle, then the U-Net's")
    ours, theirs = classifier.manifest.contract, segmenter.manifest.contract
    for name in unshared(ours, theirs):
        one, other = _shown(getattr(ours, name)), _shown(getattr(theirs, name))
        raise ContractError(
            f"Both networks of a pair get the same slice, but their contracts differ in {name}: {one}, {other}.",
            fix="train one of them again with the other's"
            + (", or the U-Net with fewer --channels" if name == "channels" else ""),
        )


def check_exported(bundle: Bundle, answers: OutOfFold, run: Path) -> None:
    """DataError unless the bundle's network is of the folded run whose answers these are."""
    training, record = bundle.manifest.training, answers.record
    known = training.get("folds")
    fix = f"lits-deploy export {run}, and pair that bundle"
    if record["contract"] != bundle.manifest.contract.sha256:
        raise DataError(f"{bundle.folder} has another input contract than {run}.", fix=fix)
    checkpoints = [training.get("checkpoint_sha256"), *_list(training.get("checkpoints_sha256"))]
    of_a_fold = any(one in record["checkpoints"] for one in checkpoints if one)
    wanted = {key: record[key] for key in ("epochs", "seed", "folds")}
    of_all = isinstance(known, Mapping) and {key: known.get(key) for key in wanted} == wanted
    if not of_a_fold and not of_all:
        raise DataError(f"{bundle.folder} was not exported from {run}.", fix=fix)


def artifacts_of(
    classifier: Bundle, segmenter: Bundle, evidence: PairEvidence, fitted: FittedPair, rule: str, say: Say
) -> tuple[Artifact, ...]:
    """The classifier's artifacts, each with a U-Net's beside it: of its name, else FP32, which runs anywhere."""
    theirs = {one.name for one in segmenter.manifest.artifacts}
    ours = {one.name: one for one in classifier.manifest.artifacts}
    if not {"fp32"} <= theirs & set(ours):
        raise BundleError("One of the two bundles has no fp32 artifact.", fix="export it again")
    points = points_of(evidence, fitted)
    temperature = fitted.fusion.temperature
    calibration, promise = calibration_of(evidence, temperature, fitted.abstain), evidence.promise()
    found = []
    for name, artifact in ours.items():
        other = name if name in theirs else "fp32"
        if other != name:
            say(f"note: the U-Net has no {name}: its fp32 stands beside the classifier's {name}")
        taken_over = {} if name == "fp32" else {"taken_over": {"from": "fp32", "moved_by_slices": 0}}
        found.append(
            replace(
                artifact,
                temperature=temperature * artifact.temperature / ours["fp32"].temperature,
                abstain_below=fitted.abstain.threshold,
                calibration={**calibration, **taken_over},
                operating_point=rule,
                operating_points=points,
                promise=promise,
                fusion={**fitted.fusion.record(), "segmenter": other},
            )
        )
    return tuple(found)


def _manifest(
    classifier: Bundle,
    inner: Manifest,
    artifacts: tuple[Artifact, ...],
    figures: dict[str, Any],
    segmenter_sha256: str,
    answers: tuple[OutOfFold, OutOfFold],
) -> Manifest:
    manifest = classifier.manifest
    sizes = [one.model.get("parameters") for one in (manifest, inner)]
    model = {**manifest.model, "name": f"{manifest.model.get('name')} + {inner.model.get('name')}"}
    if all(isinstance(size, int) for size in sizes):
        model["parameters"] = sum(size for size in sizes if isinstance(size, int))
    return replace(
        manifest,
        model=model,
        artifacts=artifacts,
        files={name: digest for name, digest in manifest.files.items() if name != CARD},
        metrics={PAIR: figures},  # what was measured of the classifier's files holds for the classifier alone
        export={
            **manifest.export,
            "lits_deploy": __version__,
            "pair": {
                "classifier": {"bundle": classifier.sha256, "model": manifest.model, "metrics": manifest.metrics},
                "segmenter": {"bundle": segmenter_sha256},
                "checkpoints": [one.record["checkpoints"] for one in answers],
            },
        },
        segmenter=inner,
    )


def _check(folder: Path) -> None:
    """BundleError unless both networks answer their goldens here."""
    problems, checks = verify(folder)
    missed = (f"{one.artifact} on {one.runtime}: {one.error or 'other answers'}" for one in checks if not one.passed)
    if bad := next(iter([*problems, *missed]), None):
        raise BundleError(f"The pair does not hold here: {bad}.", fix="`lits-deploy verify` both bundles")


def _shown(value: Any) -> str:
    return "–".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
