"""The front desk: makes a task of each order, takes it on or says why not, keeps the books."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from .button_sets import VERBS
from .images.lineage import picture_of
from .prompts import Model, banned_word, model_of, speed_of, with_model
from .request_fields import Intake
from .responses import Reply, refuse, submit_result
from .sim_task import Fate, Image, Order, SimTask, Submission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .dialect import Dialect
    from .engine import Account, Engine
    from .faults import Fault, Faults
    from .images.store import Gallery

__all__ = ["Desk"]


@attrs.frozen(kw_only=True)
class Desk:
    """Takes on the tasks of one engine, in one dialect."""

    dialect: Dialect
    engine: Engine
    gallery: Gallery
    faults: Faults
    submissions: list[Submission]
    model: Model
    """The model of prompts that ask for none."""
    remix: bool
    banned: tuple[str, ...]

    def intake(self, order: Order) -> Intake:
        """The fields of an order as this dialect reads them."""
        return Intake(order, self.dialect)

    def prompt(self, read: Intake) -> str:
        """The prompt of an order, which must not be blank nor banned."""
        prompt = read.text("prompt").strip()
        if not prompt and read.order.endpoint not in self.dialect.blank_prompts:
            raise refuse(4, "prompt不能为空")
        self.check_words(prompt)
        return prompt

    def check_words(self, prompt: str) -> None:
        """Refuse a prompt with a banned word (PROTOCOL §2: 24), unless its task is to fail."""
        if self.dialect.bans_late:
            return
        if word := banned_word(prompt, self.banned):
            raise refuse(24, "可能包含敏感词", {"promptEn": prompt, "bannedWord": word})

    def links(self, images: Iterable[Image]) -> list[str]:
        """Where pictures that were sent can be seen."""
        keep, link_to = self.gallery.keep, self.gallery.link_to
        return [image.link or link_to(keep(image.data)) for image in images]

    def known(self, task_id: str) -> SimTask:
        """A task there is."""
        task = self.engine.tasks.get(task_id)
        if task is None:
            status = self.dialect.unknown_parent_status
            raise refuse(3, "关联任务不存在或已失效", status=status)
        return task

    def finished(self, task_id: str) -> SimTask:
        """A task that has succeeded."""
        task = self.known(task_id)
        if task.status != "SUCCESS":
            raise refuse(4, "关联任务状态错误")
        return task

    def draft(
        self,
        order: Order,
        verb: str,
        prompt: str | None = None,
        *,
        images: Iterable[Image] = (),
        parent: SimTask | None = None,
    ) -> SimTask:
        """A task that nobody knows of yet."""
        read = self.intake(order)
        bot = parent.bot if parent else read.bot()
        default = parent.model if parent else self.model
        model = model_of(prompt or "", default, niji=not parent and bot == "NIJI_JOURNEY")
        wish, limits = _wish(read, prompt), self.dialect.text_limits
        return SimTask(
            id=self.engine.new_id(order.at),
            order=order,
            verb=VERBS[verb],
            action=self.dialect.actions.get(verb, VERBS[verb].action),
            model=model,
            seed=self.engine.new_seed(),
            job=self.engine.new_job(),
            mode=wish or (parent.mode if parent else "FAST"),
            wish=wish,
            instance=read.instance(),
            submitted_ms=int(order.at * 1000),
            bot=bot,
            state=self._state(read),
            notify_hook=read.short_text("notifyHook", limits.get("notifyHook")) or None,
            prompt=prompt,
            prompt_en=prompt,
            final_prompt=with_model(prompt or "", model),
            parent=parent,
            image_sizes=tuple(len(image.data) for image in images),
            restarts=verb in self.dialect.restarts,
            told_twice=self.dialect.told_twice,
            catalogue=self.dialect.offers,
        )

    def _state(self, read: Intake) -> str | None:
        if self.dialect.jackson:
            return read.exact("state")
        return read.short_text("state", self.dialect.text_limits.get("state")) or None

    def accept(self, task: SimTask, order: Order, fate: Fate | None = None) -> Reply:
        """Take a task on, or say that there is no room (PROTOCOL §2: 1, 22, 23 or 9, 3)."""
        account = self.engine.choose(task.parent, task.instance)
        if account is None:
            raise refuse(3, "无可用的账号实例")
        properties = self._properties(task, account)
        if self.engine.is_full(account) and task.verb.name not in self.dialect.never_full:
            raise refuse(*self.dialect.queue_full, properties)
        place = self._take_on(task, account, order, fate)
        if self.dialect.counts_before and place:
            place -= 1
        if not place:
            return submit_result(1, "提交成功", task.id, properties)
        description = f"排队中，前面还有{place}个任务"
        return submit_result(22, description, task.id, {**properties, "numberOfQueues": place})

    def accept_again(self, task: SimTask, order: Order) -> Reply:
        """Take the same modal twice: it is paid twice and made once (PROTOCOL §1.9)."""
        self._record(task, order)
        return submit_result(1, "提交成功", task.id)

    def _take_on(self, task: SimTask, account: Account, order: Order, fate: Fate | None) -> int:
        task.picture = picture_of(task, self.gallery.size)
        fault = self.faults.take("task", endpoint=order.endpoint)
        fate = fate or self._fate(task, fault)
        if fault and fault.kind == "id_collision" and self.submissions:
            task.id = self.submissions[-1].task_id
        task.queued = _QUEUED.get(fault.kind) if fault else None
        fate = self._cross(task, fate)
        place = self.engine.accept(task, account, fate, order.at)
        self._record(task, order)
        if fault and fault.kind == "lost":
            self.engine.forget(task, order.at)
        self.engine.advance(order.at)
        return place

    def _fate(self, task: SimTask, fault: Fault | None) -> Fate:
        """What a fault has in store for a task, or a banned word that was let in."""
        if fault is None:
            late = self.dialect.bans_late and banned_word(task.prompt or "", self.banned)
            return _BANNED_LATE if late else Fate()
        fate = _FATES[fault.kind](fault)
        if fate.ending not in self.dialect.gives_up or fault.options.get("for_ever", True):
            return fate
        patience, reason = self.dialect.gives_up[fate.ending]
        return attrs.evolve(fate, patience=patience, reason=reason)

    def _cross(self, task: SimTask, fate: Fate) -> Fate:
        """Mix a reroll and a variation of one grid up, if a fault says so: one picture for both.

        The reroll is answered with the variation's picture, and the variation never ends.
        """
        if task.parent is None or task.verb.name not in _CROSSED:
            return fate
        others = (other for other in self.engine.tasks.values() if _crosses(task, other))
        other = next(others, None)
        if other is None or self.faults.take("pair", kind="crossed_pictures") is None:
            return fate
        reroll, variation = (task, other) if task.verb.name == "reroll" else (other, task)
        reroll.picture = variation.picture
        patience, reason = self.dialect.gives_up.get("stall", (None, ""))
        lost = Fate(ending="stall", at=93, patience=patience, reason=reason)
        if variation is task:
            return lost
        self.engine.divert(variation, lost, task.order.at)
        return fate

    def _properties(self, task: SimTask, account: Account) -> dict[str, object]:
        if task.verb.name in self.dialect.without_account:
            return {}
        channel = account.id if self.dialect.one_id else account.channel
        known = {"discordInstanceId": account.id, "discordChannelId": channel}
        return {key: known[key] for key in self.dialect.submit_properties}

    def _record(self, task: SimTask, order: Order) -> None:
        self.submissions.append(
            Submission(
                endpoint=order.endpoint,
                task_id=task.id,
                body=order.body,
                state=task.state,
                prompt=task.prompt,
                action=task.action,
                parent_id=task.parent.id if task.parent else None,
                at=order.at,
            )
        )


def _wish(read: Intake, prompt: str | None) -> str | None:
    """The path decides, then the account filter, then a flag (PROTOCOL §6.1)."""
    wishes = (read.order.speed, *read.speeds(), speed_of(prompt or ""))
    return next((wish for wish in wishes if wish), None)


_BANNED_LATE: Final = Fate(ending="refuse", reason="可能包含敏感词")
"""PROTOCOL §2: 24."""


def _failing(fault: Fault) -> Fate:
    options = fault.options
    reason = str(options["reason"])
    if options["exception"]:
        return Fate(ending="refuse", reason=f"[Internal Server Error] {reason}")
    return Fate(ending="fail", at=_percent(options["at"]), reason=reason)


def _crosses(task: SimTask, other: SimTask) -> bool:
    """Whether another task is under way that Midjourney's answer could be taken for."""
    both = {task.verb.name, other.verb.name}
    return other.parent is task.parent and both == _CROSSED and not other.terminal


def _banned(fault: Fault) -> Fate:
    word = fault.options["word"]
    return Fate(ending="refuse", reason=f"可能包含敏感词: {word}" if word else "可能包含敏感词")


def _percent(value: object) -> int:
    return min(max(int(str(value)), 0), 100)


def _stalling(fault: Fault) -> Fate:
    says = fault.options.get("progress")
    at = _percent(fault.options["at"])
    return Fate(ending="stall", at=at, says=None if says is None else str(says))


_CROSSED: Final = frozenset({"reroll", "variation"})
_QUEUED: Final = {"account_disabled": False, "queue_ghost": True}
"""Whether the queue shows the tasks of some faults, whatever their status."""

_FATES: Final[Mapping[str, Callable[[Fault], Fate]]] = {
    "fail": _failing,
    "stall": _stalling,
    "account_disabled": _stalling,
    "id_collision": lambda _: Fate(),
    "queue_ghost": lambda fault: Fate(ending="fail", reason=str(fault.options["reason"])),
    "stuck": lambda _: Fate(ending="stuck"),
    "lost": lambda _: Fate(),
    "banned_late": _banned,
}
