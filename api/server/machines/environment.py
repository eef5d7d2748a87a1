"""What a ComfyUI gets of the server's environment variables: what it needs to run, and no secret.

A ComfyUI executes custom nodes, which are other people's code, and the server's environment has the keys of its
database and its bucket. So what is passed on is listed, and not what is kept back.
"""

from __future__ import annotations

from collections.abc import Mapping

_NAMES = frozenset(
    {
        # The user and the system
        "HOME",
        "LANG",
        "LANGUAGE",
        "LD_LIBRARY_PATH",
        "LOGNAME",
        "PATH",
        "TEMP",
        "TMP",
        "TMPDIR",
        "TZ",
        "USER",
        # The same on Windows
        "APPDATA",
        "COMSPEC",
        "LOCALAPPDATA",
        "NUMBER_OF_PROCESSORS",
        "OS",
        "PATHEXT",
        "PROGRAMDATA",
        "PROGRAMFILES",
        "PROGRAMFILES(X86)",
        "PROGRAMW6432",
        "PUBLIC",
        "SYSTEMDRIVE",
        "SYSTEMROOT",
        "USERNAME",
        "USERPROFILE",
        "WINDIR",
        # The network
        "ALL_PROXY",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NO_PROXY",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        # Models
        "HF_ENDPOINT",
        "HF_HOME",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN",  # tells to send none
        "TORCH_HOME",
    }
)
_BEGINNINGS = (
    "ASCEND_",
    "CUDA_",
    "DYLD_",
    "HF_HUB_",
    "HIP_",
    "HSA_",
    "LC_",
    "MIOPEN_",
    "MKL_",
    "NVIDIA_",
    "OMP_",
    "ONEAPI_",
    "PROCESSOR_",
    "PYTORCH_",
    "ROCR_",
    "SYCL_",
    "XDG_",
)
_SECRETS = ("AUTH", "COOKIE", "CREDENTIAL", "KEY", "PASS", "SECRET", "TOKEN")
"""What is in the name of a secret, such as NVIDIA_API_KEY and HF_HUB_TOKEN, which begin as settings do."""


def without_secrets(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that a ComfyUI gets. Upper and lower case are the same, as in https_proxy and on Windows."""
    return {name: value for name, value in variables.items() if _is_passed_on(name.upper())}


def _is_passed_on(name: str) -> bool:
    return name in _NAMES or (name.startswith(_BEGINNINGS) and not any(word in name for word in _SECRETS))
