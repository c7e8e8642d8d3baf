"""An optimizer whose state is divided among the processes (ZeRO stage 1, Rajbhandari et al. 2019).

Every process updates its own parameters, about as many numbers as the others, and sends them to all
others. The weights are those of the whole optimizer, bit for bit.
"""

from typing import Any

from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.optim import Optimizer


class ShardedOptimizer(ZeroRedundancyOptimizer):
    """The same optimizer as another, of which this process keeps its share of the state.

    Its state dict is that of the whole optimizer, so that any number of processes can load it.
    """

    def __init__(self, whole: Optimizer) -> None:
        # the groups hold all settings; the constructors of some optimizers want a learning rate too
        super().__init__(whole.param_groups, type(whole), lr=whole.defaults["lr"])

    def state_dict(self) -> dict[str, Any]:
        """Gather the states of all processes in the first; the others get an empty dict.

        All must ask together.
        """
        self.consolidate_state_dict()
        if self.rank != 0:
            return {}
        state = super().state_dict()
        # torch would keep its copy in main memory
        self._all_state_dicts.clear()  # type: ignore[attr-defined]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep this process's share of a whole state."""
        super().load_state_dict(state_dict)
        self.state.clear()  # torch 2.13 leaves a second copy of the share here, which no step reads
