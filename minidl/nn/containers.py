"""Modules that hold other modules in order."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from typing import Any

from minidl.nn.module import Module


class ModuleList(Module):
    """A list of modules, named "0", "1", ... It computes nothing itself: loop over it in your `forward`."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> None:
        """Add a module at the end."""
        self._require_module(module)
        setattr(self, str(max(map(int, self._modules), default=-1) + 1), module)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: int) -> Module:
        return list(self.children())[index]

    def __setitem__(self, index: int, module: Module) -> None:
        """Put another module in the place of one."""
        self._require_module(module)
        setattr(self, str(range(len(self))[operator.index(index)]), module)

    def _require_module(self, module: Any) -> None:
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}: expected modules, got {type(module).__name__}")


class Sequential(ModuleList):
    """Modules applied one after the other: Sequential(a, b)(x) is b(a(x))."""

    def __init__(self, *modules: Module) -> None:
        super().__init__(modules)

    def forward(self, x: Any) -> Any:
        for module in self:
            x = module(x)
        return x
