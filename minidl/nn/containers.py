"""Modules that hold other modules in order."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from typing import Any, Self

from minidl.nn.module import Module


class ModuleList(Module):
    """A list of modules, named "0", "1", ... It computes nothing itself: loop over it in your `forward`."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        self._require_module(module)
        setattr(self, str(max(map(int, self._modules), default=-1) + 1), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end."""
        for module in list(modules):
            self.append(module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: int | slice) -> Any:
        """The module at a place; or those of a slice, in a container of the same kind."""
        modules = list(self.children())
        return self._holding(modules[index]) if isinstance(index, slice) else modules[self._place(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        """Put another module in the place of one."""
        self._require_module(module)
        setattr(self, list(self._modules)[self._place(index)], module)

    def _holding(self, modules: list[Module]) -> ModuleList:
        return ModuleList(modules)

    def _place(self, index: int) -> int:
        if not -len(self) <= operator.index(index) < len(self):
            raise IndexError(f"{type(self).__name__}: there is no module {index} among {len(self)}")
        return range(len(self))[index]

    def _require_module(self, module: Any) -> None:
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}: expected modules, got {type(module).__name__}")


class Sequential(ModuleList):
    """Modules applied one after the other: Sequential(a, b)(x) is b(a(x))."""

    def __init__(self, *modules: Module) -> None:
        super().__init__(modules)

    def _holding(self, modules: list[Module]) -> Sequential:
        return Sequential(*modules)

    def forward(self, x: Any) -> Any:
        for module in self:
            x = module(x)
        return x
