"""Automatic differentiation, second half: the walk back through the graph. Tensor.backward() and grad().

Let L = Σ ⟨gᵢ, outputᵢ⟩. Starting from the outputs, whose gradients are the given gᵢ, each Function turns the gradient
of L to its output into the gradients of L to its inputs, and what arrives at a fork (a tensor used twice) is added up.
Functions are visited in topological order, every one before those it was computed from; so each is visited once, when
its gradient is complete.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from minidl.autograd import Edge, Function, Spec, as_tensor, checked_gradient, common_device, recording, spec_of
from minidl.backend import CPU, Array, Device, active, array_module, as_array, device_of, gpu_module, is_array
from minidl.kernels.elementwise import added, copied
from minidl.tensor import Leaf, Tensor, tensor_method


@tensor_method("backward")
def backward(
    tensor: Tensor, gradient: Tensor | Array | None = None, create_graph: bool = False, retain_graph: bool = False
) -> None:
    """Add the gradient of this tensor to the `.grad` of every leaf it was computed from.

    gradient      ∂L/∂tensor, of this tensor's shape; it may be left out when this tensor is itself a scalar L
    create_graph  record the backward pass too, so that the gradients can be differentiated again. Then `.grad` leads
                  back to the leaf that holds it, a cycle that `zero_grad()` breaks; `minidl.grad` makes none
    retain_graph  keep what the graph saved, so that backward can go through it a second time

    Raises: RuntimeError when nothing here requires a gradient, when the graph was freed by an earlier backward, when a
    tensor it needs has been changed since (by an optimizer's step, say), or when `gradient` is missing for a tensor
    that is not a scalar.

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    Tensor([2., 4.], dtype=float32, device=cpu)
    """
    found = _backpropagate([tensor], [gradient], None, create_graph, retain_graph or create_graph)
    with recording(create_graph):
        while found:
            (leaf, _), g = found.popitem()
            if leaf.grad is None:
                leaf.grad = _copy(g)  # an array each: an op such as a + b hands the same one to both its inputs
            else:
                leaf.grad = as_tensor(_sum([g, leaf.grad if create_graph else leaf.grad.data]))


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Array | Sequence[Tensor | Array | None] | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
    retain_graph: bool | None = None,
) -> tuple[Any, ...]:
    """The gradients of Σᵢ ⟨grad_outputsᵢ, outputsᵢ⟩ to each of `inputs`, as Tensors; no `.grad` is touched.

    outputs, inputs  a tensor or a sequence of tensors; inputs may lie in the middle of the graph
    grad_outputs     ∂L/∂output for each output; None for those that are themselves scalars
    create_graph     record the backward pass, so that the results can be differentiated again
    allow_unused     give None for an input that the outputs do not depend on, instead of raising
    retain_graph     keep what the graph saved for another backward; by default, what create_graph says

    Raises: RuntimeError for an input that requires no gradient or, without allow_unused, is not used.

    >>> x = Tensor([3.0], requires_grad=True)
    >>> (first,) = minidl.grad(x**3, x, create_graph=True)
    >>> first.detach(), minidl.grad(first, x)[0]
    (Tensor([27.], dtype=float32, device=cpu), Tensor([18.], dtype=float32, device=cpu))
    """
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for x in (*outputs, *inputs):
        if not isinstance(x, Tensor):
            raise TypeError(f"grad: outputs and inputs must be Tensors, got {type(x).__name__}")
    if grad_outputs is None:
        grad_outputs = [None] * len(outputs)
    elif not isinstance(grad_outputs, list | tuple):
        grad_outputs = [grad_outputs]
    if len(grad_outputs) != len(outputs):
        raise ValueError(f"grad: got {len(outputs)} output(s) but {len(grad_outputs)} grad_outputs")
    for i, x in enumerate(inputs):
        if not x.requires_grad:
            raise RuntimeError(f"grad: input {i}, of shape {x.shape}, does not require gradients")
    wanted = [Edge(x._source, x._index) for x in inputs]
    retain_graph = create_graph if retain_graph is None else retain_graph
    found = _backpropagate(outputs, grad_outputs, wanted, create_graph, retain_graph, allow_unused)
    # A copy each, for an op such as a + b hands the same array to both its inputs.
    with recording(create_graph):
        return tuple(_copy(found[edge]) if edge in found else None for edge in wanted)


def _backpropagate(
    outputs: Sequence[Tensor],
    gradients: Sequence[Any],
    wanted: Collection[Edge] | None,
    create_graph: bool,
    retain_graph: bool,
    allow_unused: bool = True,
) -> dict[Any, Any]:
    """The gradients that arrive at the `wanted` edges (None: at every leaf), as {edge: gradient}.

    Sources are visited in topological order, so each Function's backward is called once, when its gradient is
    complete. Gradients are raw arrays, or Tensors when the pass itself is recorded (create_graph).
    """
    arriving: dict[Leaf | Function, dict[int, list[Any]]] = {}  # for each source, output index -> all that has arrived
    for y, g in zip(outputs, gradients, strict=True):
        _accumulate(arriving, Edge(y._source, y._index), _upstream(y, g, create_graph))
    order = _topological_order([y._source for y in outputs])
    if any(source.freed for source in order if isinstance(source, Function)):
        raise RuntimeError(
            "backward: part of this graph was freed by an earlier backward pass; "
            "pass retain_graph=True to that one to go through the graph twice"
        )
    if not allow_unused:
        _require_used(wanted or (), outputs, order)
    wanted = None if wanted is None else set(wanted)
    targets = {s for s in order if isinstance(s, Leaf)} if wanted is None else {edge.source for edge in wanted}
    leading = _on_a_path_to(targets, order)
    found = {}
    with recording(create_graph):
        for source in order:
            complete = {index: _sum(gradients) for index, gradients in arriving.pop(source, {}).items()}
            for index, g in complete.items():
                if source in targets and (wanted is None or Edge(source, index) in wanted):
                    found[Edge(source, index)] = g
            needs = tuple(edge is not None and edge.source in leading for edge in source.edges)
            if not complete or not any(needs):
                continue
            source.needs = needs
            upstream = [
                complete[i] if i in complete else _zeros(spec, create_graph)
                for i, spec in enumerate(source._output_specs)
            ]
            for edge, g in zip(source.edges, source._backward(upstream, create_graph), strict=True):
                if g is not None:
                    _accumulate(arriving, edge, g)
            if not retain_graph:
                source._free()
    return found


def _topological_order(roots: Sequence[Any]) -> list[Any]:
    """Every source the roots were computed from, each before those it was computed from itself.

    Without recursion, so that depth is limited by memory only: first count how often each source is used, then
    release a source when its last use has been released.
    """
    uses = dict.fromkeys(roots, 0)
    stack = list(uses)
    while stack:
        for edge in stack.pop().edges:
            if edge is not None:
                if edge.source not in uses:
                    uses[edge.source] = 0
                    stack.append(edge.source)
                uses[edge.source] += 1
    order = []
    ready = [root for root in dict.fromkeys(roots) if uses[root] == 0]
    while ready:
        source = ready.pop()
        order.append(source)
        for edge in source.edges:
            if edge is not None:
                uses[edge.source] -= 1
                if uses[edge.source] == 0:
                    ready.append(edge.source)
    return order


def _on_a_path_to(targets: set[Any], order: Sequence[Any]) -> set[Any]:
    """The targets, and every Function of `order` that was computed from one: the others need no backward."""
    leading = set(targets)
    for source in reversed(order):
        if any(edge is not None and edge.source in leading for edge in source.edges):
            leading.add(source)
    return leading


AT_ONCE = 4  # gradients that are added up in one pass: most forks have no more ways


def _accumulate(arriving: dict[Any, dict[int, list[Any]]], edge: Edge, g: Any) -> None:
    """Add g to the list of what has arrived at `edge`; a long list becomes its sum, so that it holds few arrays."""
    gradients = arriving.setdefault(edge.source, {}).setdefault(edge.output, [])
    gradients.append(g)
    if len(gradients) == AT_ONCE:
        gradients[:] = [_sum(gradients)]


def _sum(gradients: list[Any]) -> Any:
    """The sum of what has arrived, in that order. Never in place: others may share them."""
    if len(gradients) == 1:
        return gradients[0]
    with active(_device(gradients[0])):
        return functools.reduce(operator.add, gradients) if isinstance(gradients[0], Tensor) else added(gradients)


def _copy(g: Any) -> Tensor:
    """g as a Tensor with memory of its own."""
    with active(_device(g)):
        return as_tensor(g.copy() if isinstance(g, Tensor) else copied(g))


def _device(g: Any) -> Device:
    return g.device if isinstance(g, Tensor) else device_of(g)


def _require_used(wanted: Collection[Edge], outputs: Sequence[Tensor], order: Sequence[Any]) -> None:
    """Refuse inputs that the outputs were not computed from, before anything is computed or freed."""
    used = {Edge(y._source, y._index) for y in outputs} | {edge for source in order for edge in source.edges}
    for i, edge in enumerate(wanted):
        if edge not in used:
            raise RuntimeError(
                f"grad: the outputs do not depend on input {i}; pass allow_unused=True to get None for it"
            )


def _upstream(y: Tensor, gradient: Any, create_graph: bool) -> Any:
    """The gradient with which a backward pass starts at the output y."""
    if not y.requires_grad:
        raise RuntimeError(
            "backward: this tensor requires no gradient: nothing it was computed from has requires_grad=True, "
            "or it was computed under no_grad()"
        )
    if gradient is None:
        if y.size != 1:
            raise RuntimeError(
                f"backward: the output has shape {y.shape}; only for a scalar can the gradient be left out. "
                "Pass a gradient of that shape, or reduce the output first, with .sum() or .mean()"
            )
        with active(y.device):
            gradient = array_module(y.data).ones(y.shape, dtype=y.dtype)
    elif not isinstance(gradient, Tensor):
        gradient = as_array(gradient, y.dtype, None if is_array(gradient) else y.device)
    common_device("backward", (y, gradient))
    if not create_graph and isinstance(gradient, Tensor):
        gradient = gradient.data
    return checked_gradient(gradient, spec_of(y), "backward, gradient to the output", create_graph)


def _zeros(spec: Spec, create_graph: bool) -> Any:
    """The gradient to an output nobody used."""
    with active(spec.device):
        xp = np if spec.device == CPU else gpu_module()
        zeros = xp.zeros(spec.shape, dtype=spec.dtype)
    return Tensor._wrap(zeros) if create_graph else zeros
