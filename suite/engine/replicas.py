"""Several models of one architecture in one set of buffers: one step trains them all, each as if it were alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice

import torch
from torch import Tensor, nn

from suite.copies import copied


class Replicas:
    """Models stacked along a new first axis of every weight, with one Adam over a flat buffer [replicas, weights].

    Replicas of one learning rate must stand together.
    With `stacked=False` there is one model, its weights in their own shapes: the form any `nn.Module` can be trained in.
    `conv_weight_decay` is that of the weights in a list of modules called `convs`; None: as of the others.
    """

    def __init__(
        self,
        models: list[nn.Module],
        lr: Sequence[float],
        weight_decay: float,
        stacked: bool,
        conv_weight_decay: float | None = None,
    ) -> None:
        if not stacked and len(models) != 1:
            raise ValueError(f"only one model can be trained unstacked, got {len(models)}")
        self.plain, self.stacked = models[0], stacked
        self.module = copied(models[0])
        self.flat = torch.stack([nn.utils.parameters_to_vector(m.parameters()).detach() for m in models])
        if stacked:
            for (owner, name), *tensors in zip(_buffers(self.module), *(_buffer_values(m) for m in models), strict=True):
                owner._buffers[name] = torch.stack(tensors)
        self._lr, self._weight_decay = list(lr), weight_decay
        self._decays: Tensor | None = None  # of each weight, where they differ
        if conv_weight_decay is not None:
            self._decays = torch.cat(
                [p.new_full((p.numel(),), conv_weight_decay if c else weight_decay) for c, p in _by_conv(models[0])]
            )
            self._weight_decay = 0.0
        self._bind()

    def __len__(self) -> int:
        return self.flat.size(0)

    def step(self, losses: Tensor, clip: float | None) -> None:
        """One step of Adam on `losses` [replicas], every replica's gradient clipped by its own norm."""
        found = torch.autograd.grad(losses.sum(), self._parameters, allow_unused=True, materialize_grads=True)
        torch.cat([g.reshape(len(self), -1) for g in found], dim=1, out=self.gradient)
        if clip is not None:
            norm = self.gradient.norm(dim=1, keepdim=True)
            self.gradient.mul_((clip / (norm + 1e-6)).clamp(max=1.0))
        if self._decays is not None:
            self.gradient.addcmul_(self.flat, self._decays)
        self._adam.step()

    def keep(self, index: list[int]) -> None:
        """Go on with the replicas at `index` only, their optimiser state included."""
        states = [self._adam.state[part] for part in self._parts for _ in range(len(part))]
        places = [place for part in self._parts for place in range(len(part))]
        self.flat, self._lr = self.flat[index].clone(), [self._lr[i] for i in index]
        for owner, name in _buffers(self.module) if self.stacked else ():
            owner._buffers[name] = owner._buffers[name][index]  # type: ignore[index]
        self._bind()
        kept = iter(index)
        for part in self._parts:
            rows = [(states[i], places[i]) for i in islice(kept, len(part))]
            state, first = {}, rows[0][0]
            for name, value in first.items():
                state[name] = torch.stack([s[name][place] for s, place in rows]) if value.dim() else value
            self._adam.state[part] = state

    def snapshot(self, index: int) -> list[Tensor]:
        """Return copies of replica `index`'s weights and buffers, for `restore`."""
        buffers = [b[index].clone() if self.stacked else b.clone() for b in _buffer_values(self.module)]
        return [self.flat[index].clone(), *buffers]

    def restore(self, snapshot: list[Tensor]) -> nn.Module:
        """Return a plain model in eval mode with the weights of `snapshot`."""
        model = copied(self.plain)
        nn.utils.vector_to_parameters(snapshot[0].clone(), model.parameters())
        for (owner, name), value in zip(_buffers(model), snapshot[1:], strict=True):
            owner._buffers[name] = value.clone()
        return model.eval()

    def _bind(self) -> None:
        """Make every weight of the module a view of the flat buffer."""
        self.gradient = torch.zeros_like(self.flat)
        self._parameters = list(self.module.parameters())
        start, plain = 0, dict(self.plain.named_parameters())
        for name, parameter in self.module.named_parameters():
            shape, stop = plain[name].shape, start + plain[name].numel()
            shape = torch.Size([len(self), *shape]) if self.stacked else shape
            parameter.data = self.flat[:, start:stop].view(shape)
            start = stop
        sizes = [len(list(same)) for _, same in groupby(self._lr)]
        self._parts = [nn.Parameter(part) for part in torch.split(self.flat, sizes)]
        for part, gradient in zip(self._parts, torch.split(self.gradient, sizes), strict=True):
            part.grad = gradient
        rates = [next(same) for _, same in groupby(self._lr)]
        groups = [{"params": [part], "lr": lr} for part, lr in zip(self._parts, rates, strict=True)]
        self._adam = torch.optim.Adam(groups, weight_decay=self._weight_decay, fused=True)


def _by_conv(module: nn.Module) -> Iterator[tuple[bool, nn.Parameter]]:
    """Yield the parameters, and whether they belong to a convolution."""
    for name, parameter in module.named_parameters():
        yield "convs" in name.split("."), parameter


def has_convs(module: nn.Module) -> bool:
    """Return whether there are weights that a `conv_weight_decay` would be of."""
    return any(of_conv for of_conv, _ in _by_conv(module))


def _buffers(module: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    for owner in module.modules():
        for name, value in owner._buffers.items():
            if value is not None:
                yield owner, name


def _buffer_values(module: nn.Module) -> list[Tensor]:
    return [owner._buffers[name] for owner, name in _buffers(module)]  # type: ignore[misc]
