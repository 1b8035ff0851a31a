"""One training loop for all nano models: bounded by time, resumable, a whole step recorded as one CUDA graph.

The models are so small that a step is bound by kernel launches (64 ms instead of 10 when run eagerly on an H200), so forward, backward,
clipping, optimizer and moving average are captured once and replayed. On a CPU the same step runs eagerly.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

SAVE_SECONDS = 60.0
LOG_STEPS = 500
BAD_SHARE, BAD_TIMES = 2.0, 2


@dataclass(frozen=True)
class Plan:
    """How a part is trained."""

    learning_rate: float
    warmup_steps: int = 300
    final_fraction: float = 0.02
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    ema_step: float = 0.001
    clip_norm: float = 1.0
    clips_each: bool = False
    """Clip the gradients of each module on its own, so that one that explodes does not stop the others."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Shares of the learning rate for single modules, and for parts of them by the beginning of their parameters' names."""
    max_steps: int | None = None


@dataclass
class Progress:
    """What a model card says about a training run."""

    steps: int = 0
    train_seconds: float = 0.0
    losses: list[tuple[int, float]] = field(default_factory=list)

    def final_loss(self) -> float | None:
        """Mean of the last logged losses."""
        tail = [loss for _, loss in self.losses[-10:]]
        return sum(tail) / len(tail) if tail else None


class Training:
    """Trains `modules` on `loss`, which draws its own batch and returns a scalar without touching the host."""

    def __init__(
        self, modules: dict[str, nn.Module], loss: Callable[[], Tensor], plan: Plan, checkpoint: Path | None = None
    ) -> None:
        self.started = time.monotonic()
        self.modules = modules
        self.loss = loss
        self.plan = plan
        self.checkpoint = checkpoint
        self.progress = Progress()
        self.params = [p for module in modules.values() for p in module.parameters() if p.requires_grad]
        self.device = self.params[0].device
        self.cuda = self.device.type == "cuda"
        self._rates = [(share, torch.zeros((), device=self.device)) for share in sorted({1.0, *plan.rates.values()})]
        self.optimizer = torch.optim.AdamW(
            self._groups(),
            lr=self._rates[-1][1] if self.cuda else plan.learning_rate,
            betas=plan.betas,
            weight_decay=plan.weight_decay,
            fused=self.cuda,
            capturable=self.cuda,
        )
        self.ema = [p.detach().clone() for p in self.params]
        self.name = checkpoint.stem if checkpoint is not None else "+".join(modules)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._last_loss = torch.zeros((), device=self.device)
        self._already_trained = 0.0
        self.is_complete = False
        self._bad: dict[str, int] = {}

    def _groups(self) -> list[dict[str, object]]:
        """The parameters by their share of the learning rate; the longest beginning of a name that the plan knows counts."""
        found: dict[float, list[nn.Parameter]] = {share: [] for share, _ in self._rates}
        for module_name, module in self.modules.items():
            for name, parameter in module.named_parameters(prefix=module_name):
                known = [key for key in self.plan.rates if name == key or name.startswith(f"{key}.")]
                share = self.plan.rates[max(known, key=len)] if known else 1.0
                if parameter.requires_grad:
                    found[share].append(parameter)
        return [
            {"params": found[share], "share": share, **({"lr": rate} if self.cuda else {})}
            for share, rate in self._rates
            if found[share]
        ]

    def _clip(self) -> None:
        each = (
            [list(module.parameters()) for module in self.modules.values()] if self.plan.clips_each else [self.params]
        )
        for params in each:
            torch.nn.utils.clip_grad_norm_(params, self.plan.clip_norm, foreach=True)

    def _step(self) -> None:
        loss = self.loss()
        loss.backward()
        self._clip()
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.ema, list[Tensor](self.params), self.plan.ema_step)
            self._last_loss.copy_(loss.detach())

    def prepare(self) -> None:
        """Compiles and records the step, on whatever the data tensors hold now; the weights are put back afterwards."""
        if not self.cuda:
            return
        weights = [p.detach().clone() for p in self.params]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.optimizer.zero_grad(set_to_none=True)
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        self.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step()
        self._graph = graph
        with torch.no_grad():
            for param, ema, weight in zip(self.params, self.ema, weights, strict=True):
                param.copy_(weight)
                ema.copy_(weight)
            for state in self.optimizer.state.values():
                for value in state.values():
                    value.zero_()
        self.say(f"step recorded after {time.monotonic() - self.started:.0f} s")

    def resume(self) -> bool:
        """Goes on from the checkpoint, if there is one."""
        if self.checkpoint is None or not self.was_begun:
            return False
        saved = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        with torch.no_grad():
            for target, values in ((self.params, saved["params"]), (self.ema, saved["ema"])):
                for tensor, value in zip(target, values, strict=True):
                    tensor.copy_(value)
            for param, moments in zip(self.params, saved["moments"], strict=True):
                state = self.optimizer.state[param]
                for key, value in moments.items():
                    if key in state:
                        state[key].copy_(value)
                    else:
                        state[key] = value
        if "chance" in saved:  # the stream of batches and noise goes on, too
            self._set_chance(saved["chance"].cpu())
        self.progress = Progress(
            saved["steps"], saved["train_seconds"], [(int(s), float(x)) for s, x in saved["losses"]]
        )
        self._already_trained = self.progress.train_seconds
        self.say(f"resumed at step {self.progress.steps}")
        return True

    @property
    def was_begun(self) -> bool:
        """True if an earlier process trained this part."""
        return self.checkpoint is not None and self.checkpoint.exists()

    def save(self) -> None:
        """Writes the checkpoint by rename, so that a kill leaves the old one."""
        if self.checkpoint is None:
            return
        part = self.checkpoint.with_suffix(".part")
        torch.save(
            {
                "params": [p.detach() for p in self.params],
                "ema": self.ema,
                "chance": self._chance(),
                "moments": [dict(self.optimizer.state[p]) for p in self.params],
                "steps": self.progress.steps,
                "train_seconds": self.progress.train_seconds,
                "losses": [list(pair) for pair in self.progress.losses],
            },
            part,
        )
        part.replace(self.checkpoint)

    def run(
        self, seconds: float, on_save: Callable[[], None] | None = None, *, whole_seconds: float | None = None
    ) -> Progress:
        """Trains until the time or the steps are used up, and leaves the averaged weights in the modules.

        `whole_seconds` is how long it learns in all, if that is more than one process has: this one ends after `seconds`, the learning rate
        stays on its way, and `is_complete` says whether another one is to go on.
        """
        begin = time.monotonic()
        total = max(1e-6, self._already_trained + seconds if whole_seconds is None else whole_seconds)
        self.is_complete = True
        saved = begin
        first = self.progress.steps
        while True:
            now = time.monotonic()
            done = self._already_trained + now - begin
            fraction = min(1.0, done / total)
            if self.plan.max_steps is not None:
                fraction = max(fraction, self.progress.steps / self.plan.max_steps)
            if fraction >= 1.0:
                break
            if whole_seconds is not None and now - begin >= seconds:
                self.is_complete = False
                break
            self._set_rate(self.progress.steps, fraction)
            if self._graph is not None:
                self._graph.replay()
            else:
                self.optimizer.zero_grad(set_to_none=True)
                self._step()
            self.progress.steps += 1
            if self.progress.steps % 20 == 0 and self.cuda:
                torch.cuda.synchronize()  # the host must not run ahead of the clock
            if self.progress.steps % LOG_STEPS == 0 or self.progress.steps - first in (1, 20, 100):
                loss = float(self._last_loss)
                self.progress.losses.append((self.progress.steps, loss))
                spent = time.monotonic() - begin
                speed = spent / (self.progress.steps - first) * 1000
                parts = self._parts()
                self.say(f"step {self.progress.steps} loss {loss:.4f}{parts} {speed:.2f} ms/step {fraction:.0%}")
                if not math.isfinite(loss):
                    raise FloatingPointError(f"loss is {loss} at step {self.progress.steps}")
            if now - saved > SAVE_SECONDS:
                self.progress.train_seconds = self._already_trained + now - begin
                self.save()
                if on_save is not None:
                    with self.averaged():
                        on_save()
                saved = now
        self.progress.train_seconds = self._already_trained + time.monotonic() - begin
        self.save()
        self._take_average()
        return self.progress

    def finish(self) -> Progress:
        """Leaves the averaged weights in the modules, without learning any more."""
        self.is_complete = True
        self._take_average()
        return self.progress

    def _parts(self) -> str:
        """What the loss says of its tasks, each as a share of what predicting nothing would give.

        Raises FloatingPointError for a task that is twice as bad as that, again and again: no time of a card is spent on it.
        """
        found: dict[str, float] = getattr(self.loss, "shares", dict)()
        for name, share in found.items():
            self._bad[name] = self._bad.get(name, 0) + 1 if share > BAD_SHARE else 0
            if self._bad[name] >= BAD_TIMES:
                raise FloatingPointError(
                    f"{self.name}: {name} is at {share:.1f} times the error of predicting nothing, {BAD_TIMES} times in a row "
                    f"(step {self.progress.steps}): it diverged. A lower learning rate or a longer warm-up may hold."
                )
        return "".join(f" {name} {share:.3f}" for name, share in found.items())

    @torch.no_grad()
    def _take_average(self) -> None:
        for param, average in zip(self.params, self.ema, strict=True):
            param.copy_(average)

    def _chance(self) -> Tensor:
        return torch.cuda.get_rng_state(self.device) if self.cuda else torch.get_rng_state()

    def _set_chance(self, state: Tensor) -> None:
        if self.cuda:
            torch.cuda.set_rng_state(state, self.device)
        else:
            torch.set_rng_state(state)

    @torch.no_grad()
    def restart_average(self) -> None:
        """Lets the average begin at the present weights, when another training changed them."""
        for param, average in zip(self.params, self.ema, strict=True):
            average.copy_(param)

    def averaged(self) -> "_Averaged":
        """A context in which the modules hold the averaged weights."""
        return _Averaged(self)

    def _set_rate(self, step: int, fraction: float) -> None:
        warm = min(1.0, (step + 1) / self.plan.warmup_steps)
        cosine = 0.5 * (1 + math.cos(math.pi * fraction))
        rate = self.plan.learning_rate * warm * (self.plan.final_fraction + (1 - self.plan.final_fraction) * cosine)
        if self.cuda:
            for share, tensor in self._rates:
                tensor.fill_(share * rate)
        else:
            for group in self.optimizer.param_groups:
                group["lr"] = group["share"] * rate

    def say(self, message: str) -> None:
        """One line on stdout, with the process's own clock."""
        print(f"[{self.name} {time.monotonic() - self.started:6.1f}] {message}", flush=True)  # noqa: T201


class _Averaged:
    def __init__(self, training: Training) -> None:
        self.training = training
        self._kept: list[Tensor] = []

    @torch.no_grad()
    def __enter__(self) -> None:
        self._kept = [p.detach().clone() for p in self.training.params]
        for param, average in zip(self.training.params, self.training.ema, strict=True):
            param.copy_(average)

    @torch.no_grad()
    def __exit__(self, *_: object) -> None:
        for param, kept in zip(self.training.params, self._kept, strict=True):
            param.copy_(kept)
