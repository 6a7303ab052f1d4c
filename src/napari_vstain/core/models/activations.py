"""What a head says is done to the network's values is done by the network itself, wherever it runs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_vstain.core.models.spec import Head

FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {"sigmoid": torch.sigmoid, "softplus": functional.softplus}


class Activations:
    """A hook behind a network's forward pass: engines, exports and probes run it with the network.

    As a hook and not as a layer around the network it leaves the names of the weights as they are in its file.
    """

    def __init__(self, heads: Sequence[Head]) -> None:
        self.names = {head.task: head.activation for head in heads if head.activation != "none"}
        self.first = heads[0].task

    def __call__(self, network: nn.Module, taken: Any, made: Any) -> Any:
        """Return the outputs as they are predicted; one that is a plain tensor is the first head's."""
        if isinstance(made, Tensor):
            return self._activated(self.first, made)
        return {task: self._activated(task, values) for task, values in made.items()}

    def _activated(self, task: str, values: Tensor) -> Tensor:
        return FUNCTIONS[self.names[task]](values) if task in self.names else values


def activate(network: nn.Module, heads: Sequence[Head]) -> nn.Module:
    """Return a network with the activations of its heads behind it; one whose heads have none as it is."""
    if any(head.activation != "none" for head in heads):
        network.register_forward_hook(Activations(heads))
    return network
