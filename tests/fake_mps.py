"""A stand-in for the GPU of a Mac where there is none: tensors that say that they are on "mps", are worked with on
the CPU, and refuse what torch refuses there. Neither its speed nor its rounding.

It refuses operators that have no kernel for MPS; float64; tensors on two devices in one operator; a generator of
another device; and NumPy arrays that are made without a copy to the CPU.
"""

import contextlib
import functools
from pathlib import Path
from unittest import mock

import torch
import torchgen
import yaml
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

MPS = torch.device("mps", 0)
INSIDE = torch.device("cpu", 1)  # what torch's C++ takes it for: a device that needs no driver, and is not "cpu"

# Kernels for MPS that came after torch 2.5, the oldest that the course runs with (by its own table of operators; of
# those that it had, `rsub` and the singular values it knew in other ways). The list leaves out what no course needs.
# fmt: off
YOUNG = {
    "_cdist_backward", "_ctc_loss", "_cummax_helper", "_cummin_helper", "_embedding_bag", "_linalg_det",
    "_linalg_eigh", "_linalg_slogdet", "_linalg_solve_ex", "_logcumsumexp", "_standard_gamma", "_unique",
    "_upsample_bicubic2d_aa", "_upsample_bicubic2d_aa_backward", "_upsample_bilinear2d_aa",
    "_upsample_bilinear2d_aa_backward", "angle", "binomial", "cauchy_", "cholesky", "cholesky_inverse",
    "erfc", "gcd", "geometric_", "geqrf", "grid_sampler_2d_backward", "hardshrink", "i0", "igamma", "igammac",
    "im2col", "index_copy", "index_copy_", "index_reduce", "isneginf", "isposinf", "kthvalue", "lcm",
    "linalg_cholesky_ex", "linalg_householder_product", "linalg_lstsq", "linalg_lu", "linalg_lu_factor_ex",
    "linalg_lu_solve", "linalg_matrix_exp", "linalg_qr", "log_normal_", "logcumsumexp", "lu_unpack",
    "max_unpool2d", "mode", "mvlgamma", "nanmedian", "native_dropout", "nonzero_static", "poisson",
    "scatter_reduce", "sinc", "tril_indices", "triu_indices", "unfold_backward", "unique_dim",
    "upsample_bicubic2d", "upsample_bicubic2d_backward", "vdot",
}
# fmt: on


@functools.cache
def lacking() -> frozenset[str]:
    """Operators with a kernel for the CPU, none for MPS and none for every device, by the table that torch brings
    along: "_pdist_forward", "take", ..."""
    path = Path(torchgen.__file__).parent / "packaged" / "ATen" / "native" / "native_functions.yaml"
    entries = yaml.load(path.read_text("utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    rows = {entry["func"].partition("(")[0]: entry for entry in entries}

    def kernels(name):
        row = rows[rows[name].get("structured_delegate", name)]
        return {key.strip() for keys in row.get("dispatch", {}) for key in keys.split(",")}

    found, has = set(), set()
    for name in rows:
        own = kernels(name)
        if "MPS" in own:
            has.add(name.partition(".")[0])
        elif "CPU" in own and not any(key.startswith("Composite") for key in own):
            found.add(name.partition(".")[0])
    # One variant may be the only one with kernels, and the others lead to it. A name with "_for_cpu" in it is what
    # a CPU chooses; another device chooses another.
    return frozenset(name for name in found - has if "_for_cpu" not in name)


class OnMps(torch.Tensor):
    """`held` is what it stands for, on the CPU."""

    @staticmethod
    def __new__(cls, held):
        if held.dtype in (torch.float64, torch.complex128):
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
            )
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        made = torch.Tensor._make_wrapper_subclass(cls, held.shape, device=INSIDE, **layout)
        made.held = held
        return made

    device = property(lambda self: MPS)
    is_mps = property(lambda self: True)
    is_cpu = property(lambda self: False)

    def __repr__(self, **_):
        return f"OnMps({self.held!r})"

    def __deepcopy__(self, memo):
        copied = self.detach().clone().requires_grad_(self.requires_grad)
        copied.__dict__ |= {name: value for name, value in self.__dict__.items() if name != "held"}
        return memo.setdefault(id(self), copied)

    def numpy(self, **_):
        raise TypeError("can't convert mps:0 device type tensor to numpy. Use Tensor.cpu() first.")

    def __array__(self, dtype=None, copy=None):
        return self.numpy()

    def tolist(self):
        return self.held.tolist()

    def pin_memory(self):
        raise RuntimeError("only dense CPU tensors can be pinned")

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class Generator(torch.Generator):
    """One that may say that it is on "mps"."""

    def __new__(cls, device="cpu"):
        made = super().__new__(cls)
        made.on_mps = torch.device(device).type == "mps"
        return made

    device = property(lambda self: MPS if self.on_mps else torch.device("cpu"))

    def manual_seed(self, seed):
        super().manual_seed(seed)
        return self


aten = torch.ops.aten
MIXING = (aten._to_copy, aten.copy_, aten.index, aten.index_put_)  # a copy, and indices, may lie elsewhere


def _run(func, args, kwargs):
    """One operator, on the CPU. What comes out is on "mps" where that is asked for, or what goes in is."""
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    on_mps = [x for x in tensors if isinstance(x, OnMps)]
    asked = kwargs.get("device")
    stays = bool(on_mps) if asked is None else asked == INSIDE
    if on_mps or stays:
        name = func._schema.name.removeprefix("aten::")
        if name in lacking() or name in YOUNG:
            raise NotImplementedError(f"The operator '{name}' is not currently implemented for the MPS device.")
        if name == "grid_sampler_2d" and args[3] == 1:  # before torch 2.13
            raise NotImplementedError("MPS: Unsupported Border padding mode")
        elsewhere = [x for x in tensors if x.ndim and not isinstance(x, OnMps)]  # a single number may be anywhere
        if on_mps and elsewhere and func.overloadpacket not in MIXING:
            raise RuntimeError(f"Expected all tensors to be on the same device, but {name} found mps:0 and cpu")
    if asked == INSIDE:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    held = tree_map_only(OnMps, lambda x: x.held, (args, kwargs))
    out = func(*held[0], **held[1])
    if not stays:
        return out
    made = tree_map_only(torch.Tensor, OnMps, out)
    return return_and_correct_aliasing(func, args, kwargs, made) if on_mps else made


class _Operators(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """Translates "mps" for torch's C++, which would look for a driver."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.device:
            return func(*args, **kwargs)
        asked = any(map(_says_mps, (*args, kwargs.get("device"))))
        if generator := kwargs.get("generator"):
            device = "mps" if asked or any(isinstance(x, OnMps) for x in tree_leaves(args)) else "cpu"
            if generator.device.type != device:
                raise RuntimeError(f"Expected a '{device}' generator but found one on '{generator.device.type}'")
        if asked and func in (torch.tensor, torch.as_tensor, torch.asarray):
            return func(*args, **kwargs | {"device": "cpu"}).to(INSIDE)
        kwargs = {name: INSIDE if _says_mps(value) else value for name, value in kwargs.items()}
        return func(*(INSIDE if _says_mps(x) else x for x in args), **kwargs)


def _says_mps(x) -> bool:
    return isinstance(x, (str, torch.device)) and str(x).partition(":")[0] == "mps"


@contextlib.contextmanager
def mps():
    """In here torch has the stand-in as its device "mps"."""
    future, replaces = torch.__future__, torch.__future__.get_overwrite_module_params_on_conversion()
    future.set_overwrite_module_params_on_conversion(True)  # or `Module.to` would put them into CPU parameters
    try:
        with mock.patch("torch.Generator", Generator), _Operators(), _Functions():
            yield MPS
    finally:
        future.set_overwrite_module_params_on_conversion(replaces)
