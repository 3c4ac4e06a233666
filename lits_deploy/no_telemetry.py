"""Nothing is sent: libraries that report their use to their makers are switched off before they can be imported.

ONNX Runtime (1.31 and later) writes a device id into the user's cache folder when it is imported, and has a client that
uploads events. OpenVINO brings `openvino_telemetry`, which at import writes a client id into the home folder and sends
an event to an analytics host.
"""

from __future__ import annotations

import os
import sys


def switch_off() -> None:
    """For this process and those that it starts, whatever the environment said before."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # OpenVINO has no variable for it, but a stub for where the package is not installed; None tells Python that it is
    # not. What a program imported before us was that program's decision.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
