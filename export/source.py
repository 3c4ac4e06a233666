"""The original: a trained network with its contract and history, from a RUN or from a file of weights."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from export.cam import ActivationMap, has_cam
from export.choices import Checkpoint, Flips
from export.evidence import Evidence
from export.fit import fill
from export.flips import merged, mirrored, unmirrored
from export.weights import Weights, read_weights, require_finite
from lits_deploy.contract import InputContract, in_hu
from lits_deploy.errors import ContractError, DataError, UserError
from lits_deploy.files import sha256_file
from train.config import TrainConfig
from train.data.layout import declared_window, read_layout
from train.data.seen import Past, SeenSlices, of_run
from train.models.registry import Network, build, network
from train.preprocess import Preprocess
from train.settings import FULL_SIZE, input_contract

if TYPE_CHECKING:
    from export.folded import Folded  # its folders need safetensors, which a bare machine lacks

DECLARED = "declared at export"
"""`training["window"]` of a bundle whose window the training did not record."""


class Deployed(nn.Module):
    """What is exported: uint8 [N, C, S, S] in, preprocessing, network and softmax inside.

    A classifier returns (logits [N, 3], probabilities [N, 3]) and with `cam` the class-activation map of class 2
    [N, h, w] (`export.cam`); a U-Net (probabilities [N, 3, S, S], labels uint8 [N, S, S]). flips: mirror images that
    are answered with each slice (`export.flips`); the map is of the slice as it is.
    """

    def __init__(
        self, network: nn.Module, contract: InputContract, task: str, *, cam: bool = False, flips: Flips = "none"
    ) -> None:
        super().__init__()
        self.preprocess, self.network, self.task, self.flips = Preprocess(contract), network, task, flips
        self.cam = ActivationMap(network) if cam else None

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what `forward` returns, in order."""
        if self.task == "classify":
            return ("logits", "probabilities") if self.cam is None else ("logits", "probabilities", "cam")
        return ("probabilities", "labels")

    def forward(self, slices: Tensor) -> tuple[Tensor, ...]:
        """All outputs."""
        x = mirrored(self.preprocess(slices), self.flips)
        if self.cam is not None:
            logits, activation = self.cam(x)
            logits = merged(logits, self.flips)
            return logits, torch.softmax(logits, dim=1), unmirrored(activation, self.flips)
        logits = merged(self.network(x), self.flips)
        probabilities = torch.softmax(logits, dim=1)
        if self.task == "classify":
            return logits, probabilities
        # Through floats: to uint8 TensorRT casts nothing else ("only supported for {float32, float16}", 10.3).
        return probabilities, logits.argmax(dim=1).float().to(torch.uint8)


@dataclass(frozen=True, kw_only=True)
class Original:
    """A network ready to export: on the CPU, in evaluation mode.

    data: the training data set's folder, where parity slices come from; None for bare weights. seen: the slices that it
    was trained on, None where they were not noted. folded: of a folded run, what is known beyond a run's. out_of_fold:
    of a folded classifier, what its networks said of the patients that each had not seen.
    """

    info: Network
    module: Deployed
    contract: InputContract
    width: int | None
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    data: Path | None = None
    seen: SeenSlices | None = None
    folded: Folded | None = None
    out_of_fold: Evidence | None = None

    @property
    def past(self) -> Past:
        """What is known of the data it was trained on."""
        return Past.of(self.seen, self.training)

    @property
    def parameters(self) -> int:
        """Number of parameters, counted."""
        return sum(parameter.numel() for parameter in self.module.network.parameters())

    @property
    def has_cam(self) -> bool:
        """Whether the network has a class-activation map to export."""
        return has_cam(self.module.network)

    def with_cam(self) -> Original:
        """The same, exported with the class-activation map; UserError where the network has none (`export.cam`)."""
        return self._deployed(cam=True, flips=self.module.flips)

    def with_flips(self, flips: Flips) -> Original:
        """The same, answering mirror images with each slice (`export.flips`)."""
        return self._deployed(cam=self.module.cam is not None, flips=flips)

    def with_window(self, window: tuple[float, float] | None) -> Original:
        """The same, with a window in HU that the training did not record; None leaves it unknown.

        Says so in `training`. ContractError where the training recorded another window, or where the data set at hand
        declares another.
        """
        recorded = self.contract.window_hu
        if window is None or window == recorded:
            return self
        if recorded is not None:
            raise ContractError(
                f"The run recorded the window {in_hu(recorded)}, not {in_hu(window)}.", fix="leave --window out"
            )
        self.check_data(window)
        return dataclasses.replace(
            self,
            contract=dataclasses.replace(self.contract, window_hu=window),
            training={**self.training, "window": DECLARED},
        )

    def window_remark(self) -> str | None:
        """What a user must know of the window before the work begins: only where the training did not record it."""
        window = self.contract.window_hu
        if window is None:
            return (
                "warning: the window is unknown, so the bundle will refuse DICOM and NIfTI. Fix: export again with "
                "--window LOW HIGH, the window in HU it was trained through"
            )
        declared = self.training.get("window")
        return None if declared is None else f"window {in_hu(window)}: {declared}, not recorded by the training"

    def with_data(self, data: Path | None) -> Original:
        """The same, with parity slices of this data set, None: as it is. ContractError where its window is another."""
        if data is None:
            return self
        original = dataclasses.replace(self, data=data)
        original.check_data(original.contract.window_hu)
        return original

    def check_data(self, window: tuple[float, float] | None) -> None:
        """ContractError where the data set at hand declares another window than this one."""
        if self.data is None or window is None:
            return
        declared = declared_window(self.data)
        if declared is not None and declared != window:
            raise ContractError(
                f"{self.data} declares the window {in_hu(declared)}, not {in_hu(window)}.",
                fix="give the window that the network was trained through, and --data with slices of it",
            )

    def _deployed(self, *, cam: bool, flips: Flips) -> Original:
        module = Deployed(self.module.network, self.contract, self.info.task, cam=cam, flips=flips).eval()
        return dataclasses.replace(self, module=module)


def from_run(run: Path, *, choice: Checkpoint = "best") -> Original:
    """The best (by validate) or last checkpoint of a run folder.

    DataError where there is none, or where its weights are not finite.
    """
    from train import checkpoint  # with safetensors, which a network from elsewhere does not need

    if not (run / "config.json").is_file():
        raise DataError(f"{run} is not a training run.", fix="`lits-deploy train` makes one; or export --weights FILE")
    path = run / f"{choice}.safetensors"
    record = checkpoint.read_record(path)
    config = TrainConfig.from_json(record["config"])
    model = build(config.model, width=config.width, channels=config.contract.channels)
    checkpoint.load(path, model)
    require_finite(model.state_dict(), path)
    described = json.loads((run / "config.json").read_text(encoding="utf-8"))
    metrics: dict[str, Any] = {"validate": record["metrics"]}
    if choice == "best" and (run / "test.json").is_file():
        metrics["test"] = json.loads((run / "test.json").read_text(encoding="utf-8"))
    training = {
        "run": run.resolve().name,
        "checkpoint": choice,
        "checkpoint_sha256": sha256_file(path),
        "epoch": record["epoch"],
        "settings": {key: value for key, value in record["config"].items() if key not in ("contract", "data")},
        "dataset": described["dataset"],
        "made_with": described["made_with"],
    }
    if "earlier_datasets" in described:
        training["earlier_datasets"] = described["earlier_datasets"]
    known = {"training": training, "metrics": metrics, "data": config.data, "seen": of_run(run)}
    return _original(model, config.model, config.width, config.contract, **known)


def open_weights(
    path: Path,
    *,
    model: str | None = None,
    width: int | None = None,
    channels: int | None = None,
    size: int | None = None,
    window: tuple[float, float] | None = None,
    data: Path | None = None,
) -> Original:
    """The original of a file of weights, `training["adapted"]` telling what was done to read it.

    model, width, channels, size, window (HU): what the user says of them, None where nothing is said. data: the data
    set to take parity slices from. Raises DataError where the file cannot be used or contradicts what is declared,
    UserError where the model is not known.
    """
    if data is not None:
        read_layout(data, ("validate",))  # asked for by name: never phantoms in its place
    found = read_weights(path)
    if found.record is None:
        if model is None:
            raise UserError("--weights needs --model.", fix="name the network, see `lits-deploy models`")
        info = network(model)
        contract = input_contract(info, size=size or FULL_SIZE, channels=channels or 1)
        original = of_weights(found, info.name, width=width, contract=contract)
    else:
        said = {"model": model, "width": width, "channels": channels, "size": size}
        original = _of_checkpoint(found, found.record, said)
    return original.with_data(data).with_window(window)


def _of_checkpoint(found: Weights, record: dict[str, Any], said: dict[str, Any]) -> Original:
    try:
        config = TrainConfig.from_json(record["config"])
        epoch = int(record["epoch"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{found.path} has a record that cannot be read ({error}).", fix="train again") from error
    recorded = (config.model, config.width, config.contract.channels, config.contract.size)
    for (name, declared), value in zip(said.items(), recorded, strict=True):
        if declared is not None and declared != value:
            raise DataError(f"{found.path} was trained with {name} {value}, not {declared}.", fix=f"leave --{name} out")
    original = of_weights(found, config.model, width=config.width, contract=config.contract)
    settings = {key: value for key, value in config.to_json().items() if key not in ("contract", "data")}
    training = {
        **original.training,
        "checkpoint_sha256": original.training["weights_sha256"],
        "epoch": epoch,
        "settings": settings,
    }
    return dataclasses.replace(original, training=training)


def of_weights(weights: Weights, model: str, *, width: int | None, contract: InputContract) -> Original:
    """Weights of a registered network, as `export.weights` reads them; DataError where they do not fit.

    `training["adapted"]` says what was done to take the file.
    """
    built = build(model, width=width, channels=contract.channels)
    what = model + (f" of width {width}" if width else "")
    what += f" with {contract.channels} channels" if contract.channels > 1 else ""
    done = [*weights.done, *fill(built, weights, what)]
    training: dict[str, Any] = {"weights": weights.path.name, "weights_sha256": sha256_file(weights.path)}
    if done:
        training["adapted"] = done
    return _original(built, model, width, contract, training=training)


def _original(model: nn.Module, name: str, width: int | None, contract: InputContract, **known: Any) -> Original:
    info = network(name)
    module = Deployed(model, contract, info.task).eval()
    return Original(info=info, module=module, contract=contract, width=width, **known)
