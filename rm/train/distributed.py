"""Several processes that train one model: dividing forward passes among them, and summing gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")
_BUCKET_BYTES = 256 * 2**20
"""Gradients are summed in buckets of about this size: few messages, and little additional memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The processes of a run, and the rank of this one.

    Gradients are summed once per step, after the last backward pass. Torch's `DistributedDataParallel` averages them
    during the last backward pass: it needs the same number of passes in every process, hangs when a process runs out of
    memory, and its average would have to be undone to weigh pairs exactly. Its advantage, to send messages during the
    computation, is small when a step has several passes.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    sharded: bool = False
    """Whether the model's parameters are sharded over the processes (FSDP2, which sums gradients itself)."""

    def assign(self, passes: Sequence[T]) -> list[tuple[T, float]]:
        """The forward passes of a step that this process takes, each with its weight.

        With sharded parameters every process must take the same number of passes, so a process with fewer repeats one
        with weight 0.
        """
        mine = [(one, 1.0) for one in passes[self.rank :: self.size]]
        if self.sharded and len(mine) < -(-len(passes) // self.size):
            mine.append((passes[0], 0.0))
        return mine

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the processes, element by element."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def barrier(self) -> None:
        """Wait until every process has reached this call."""
        if self.size > 1:
            dist.barrier()

    def any_rank(self, flag: bool) -> bool:
        """Whether the flag is true in any process."""
        return bool(self.sum(torch.tensor(float(flag), device=self.device)).item())

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sum every parameter's gradient over the processes; a parameter without a gradient in any process stays so."""
        if self.size == 1 or self.sharded:
            return
        present = torch.tensor([float(parameter.grad is not None) for parameter in parameters], device=self.device)
        gradients = []
        for parameter, num_present in zip(parameters, self.sum(present).tolist(), strict=True):
            if parameter.grad is None and num_present:  # this process took none of the step's passes
                parameter.grad = torch.zeros_like(parameter)
            if parameter.grad is not None:
                gradients.append(parameter.grad)
        for bucket in _buckets(gradients):
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            dist.all_reduce(flat)
            parts = torch.split(flat, [gradient.numel() for gradient in bucket])
            for gradient, part in zip(bucket, parts, strict=True):
                gradient.copy_(part.view_as(gradient))


def join(*, sharded: bool) -> World:
    """Join the process group of the processes that torchrun has started."""
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", dist.get_node_local_rank())
        torch.cuda.set_device(device)
    on_gpu = device.type == "cuda"
    # The others wait while the first one rehearses: a large model is saved and loaded in that time.
    waiting = timedelta(hours=1)
    dist.init_process_group("nccl" if on_gpu else "gloo", device_id=device if on_gpu else None, timeout=waiting)
    return World(rank=dist.get_rank(), size=dist.get_world_size(), device=device, sharded=sharded)


def leave() -> None:
    """Leave the process group."""
    dist.destroy_process_group()


def single_process() -> World:
    """A single process, on the GPU if there is one."""
    return World(device=torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def shard(model: nn.Module, layers: Sequence[nn.Module], world: World, dtype: torch.dtype) -> None:
    """Shard a model's parameters over the processes with FSDP2; each layer is gathered when it is needed.

    Layers are gathered in dtype and their gradients are summed in float32. The other parameters, such as the head, stay
    float32.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import (
        FSDPModule,
        MixedPrecisionPolicy,
        fully_shard,
        register_fsdp_forward_method,
    )

    mesh = init_device_mesh(world.device.type, (world.size,))
    precision = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for layer in layers:
        fully_shard(layer, mesh=mesh, mp_policy=precision)
    # Resharded, or after a forward pass without a backward pass (validation) these would not be the trained parameters.
    fully_shard(model, mesh=mesh, reshard_after_forward=True)
    register_fsdp_forward_method(model, "outputs")
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)  # losses are divided by the weight of the whole step already
            module.set_force_sum_reduction_for_comms(True)  # gloo needs it, NCCL works with it


def gathered(model: nn.Module) -> dict[str, Any]:
    """The weights of a sharded model, in the first process; every process must call this."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    num_bytes = 0
    for tensor in tensors:
        bucket.append(tensor)
        num_bytes += tensor.nbytes
        if num_bytes >= _BUCKET_BYTES:
            yield bucket
            bucket, num_bytes = [], 0
    if bucket:
        yield bucket
