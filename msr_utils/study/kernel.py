"""The kernel of notebooks: this interpreter, whatever kernels the Jupyter path has."""

from __future__ import annotations

from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from traitlets import default

KERNEL_NAME = "python3"
"""Name under which notebooks ask for it."""


class _ThisInterpreter(KernelSpecManager):
    """Knows one kernel. It is not looked up: a kernel of the user could bear the same name."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(**get_kernel_dict())


class ThisKernelManager(AsyncKernelManager):
    """Starts kernels that are this interpreter with its packages.

    Papermill takes it as ``kernel_manager_class``.
    """

    @default("kernel_spec_manager")
    def _this_interpreter(self) -> KernelSpecManager:
        return _ThisInterpreter(parent=self)
