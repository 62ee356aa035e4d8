"""Everything of a process that a library call could change for the rest of it."""

from __future__ import annotations

import builtins
import csv
import decimal
import faulthandler
import gc
import locale
import logging
import multiprocessing
import os
import random
import resource
import signal
import socket
import sys
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Any

State = dict[str, Any]


def process_state() -> State:
    """Take down the state; equal states compare equal, and a difference has a name."""
    return {
        **_of_python(),
        **_of_the_system(),
        **_of_warnings_and_logs(),
        **_of_numbers(),
        **_of_torch(),
        **_of_libraries(),
    }


def difference(before: State, after: State) -> dict[str, tuple[Any, Any]]:
    """Return what is in both and not the same."""
    return {
        name: (before[name], after[name])
        for name in before.keys() & after.keys()
        if before[name] != after[name]
    }


def _of_python() -> State:
    hooks = ("excepthook", "displayhook", "unraisablehook", "breakpointhook")
    streams = {
        f"sys.{name}": (
            id(getattr(sys, name)),
            getattr(getattr(sys, name), "encoding", None),
            getattr(getattr(sys, name), "errors", None),
            getattr(getattr(sys, name), "closed", None),
        )
        for name in ("stdin", "stdout", "stderr")
    }
    return {
        **{f"sys.{name}": getattr(sys, name) for name in hooks},
        **streams,
        "threading.excepthook": threading.excepthook,
        "sys.path": list(sys.path),
        "sys.argv": list(sys.argv),
        "sys.meta_path": list(map(str, sys.meta_path)),
        "sys.path_hooks": len(sys.path_hooks),
        "blocked modules": sorted(name for name, module in sys.modules.items() if module is None),
        "recursion": sys.getrecursionlimit(),
        "switch interval": sys.getswitchinterval(),
        "trace": (sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile()),
        "bytecode": sys.dont_write_bytecode,
        "digits": sys.get_int_max_str_digits(),
        "garbage": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count(), gc.get_debug()),
        "faulthandler": faulthandler.is_enabled(),
        "builtins": sorted(vars(builtins)),
        "decimal": str(decimal.getcontext()),
        "csv": csv.field_size_limit(),
        "start method": multiprocessing.get_start_method(allow_none=True),
        "threads": sorted(one.name for one in threading.enumerate()),
    }


def _of_the_system() -> State:
    folder = Path(tempfile.gettempdir())
    mask = os.umask(0o22)
    os.umask(mask)
    limits = (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE, resource.RLIMIT_AS)
    return {
        "environment": dict(os.environ),
        "folder": str(Path.cwd()),
        "umask": mask,
        "limits": [resource.getrlimit(one) for one in limits],
        "processors": os.sched_getaffinity(0),
        "nice": os.nice(0),
        "locale": locale.setlocale(locale.LC_ALL),
        "signals": {one: signal.getsignal(one) for one in sorted(signal.valid_signals())},
        "timers": signal.getitimer(signal.ITIMER_REAL),
        "sockets": socket.getdefaulttimeout(),
        "temporary folder": tempfile.tempdir,
        "temporary files": sorted(one.name for one in folder.iterdir() if _ours(one.name)),
        "open files": _open_files(),
    }


def _ours(name: str) -> bool:
    return name.startswith(("tmp", "offshelf"))


def _open_files() -> list[str]:
    found = []
    for number in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(number.readlink()))
        except OSError:  # the one that listed them
            continue
    return sorted(name for name in found if name.startswith("/") and "/proc/" not in name)


def _of_warnings_and_logs() -> State:
    loggers = {"": logging.getLogger(), **logging.Logger.manager.loggerDict}
    return {
        "warning filters": list(warnings.filters),
        "list of warning filters": id(warnings.filters),
        "showwarning": warnings.showwarning,
        "formatwarning": warnings.formatwarning,
        "logging is disabled": logging.root.manager.disable,
        "logger class": logging.getLoggerClass(),
        "log records": logging.getLogRecordFactory(),
        **{
            f"logger {name}": (
                one.level,
                list(one.handlers),
                list(one.filters),
                one.propagate,
                one.disabled,
            )
            for name, one in loggers.items()
            if isinstance(one, logging.Logger)
        },
    }


def _of_numbers() -> State:
    import numpy as np
    import threadpoolctl

    kind, keys, *rest = np.random.get_state()
    return {
        "random": hash(random.getstate()),
        "numpy.random": (kind, hash(keys.tobytes()), *rest),
        "numpy errors": (np.geterr(), np.geterrcall()),
        "numpy printing": str(np.get_printoptions()),
        **{
            f"threads of {pool['filepath']}": pool["num_threads"]
            for pool in threadpoolctl.threadpool_info()
        },
    }


def _of_torch() -> State:
    import torch

    return {
        "torch random": hash(torch.get_rng_state().numpy().tobytes()),
        "torch threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "torch gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "torch types": (torch.get_default_dtype(), torch.get_default_device()),
        "torch determinism": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.benchmark,
        ),
        "torch arithmetic": (
            torch.get_float32_matmul_precision(),
            torch.backends.cudnn.allow_tf32,
            torch.backends.cuda.matmul.allow_tf32,
            torch.backends.mkldnn.enabled,
            torch.is_autocast_enabled("cpu"),
            torch.get_autocast_dtype("cpu"),
        ),
        "torch anomalies": torch.is_anomaly_enabled(),
        "torch warnings": torch.is_warn_always_enabled(),
    }


def _of_libraries() -> State:
    import matplotlib
    import pyarrow
    import sklearn
    from PIL import Image, ImageFile

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = {name: str(matplotlib.rcParams._get(name)) for name in matplotlib.rcParams}
    return {
        "matplotlib": settings,
        "pyplot": "matplotlib.pyplot" in sys.modules,
        "pillow": (
            Image.MAX_IMAGE_PIXELS,
            ImageFile.LOAD_TRUNCATED_IMAGES,
            ImageFile.MAXBLOCK,
            Image.WARN_POSSIBLE_FORMATS,
        ),
        "pillow formats": {
            name: Image.OPEN[name] for name in sorted(Image.OPEN) if name in Image.OPEN
        },
        "scikit-learn": sklearn.get_config(),
        "pyarrow": (pyarrow.cpu_count(), pyarrow.io_thread_count()),
    }
