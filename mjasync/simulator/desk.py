"""The front desk: makes a task of each order, takes it on or says why not, keeps the books."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from .buttons import VERBS
from .intake import Image, Intake
from .lineage import picture_of
from .replies import Reply, refuse, submit_result
from .tasks import Fate, Order, SimTask, Submission
from .wording import Model, banned_word, model_of, speed_of, with_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .dialects import Dialect
    from .engine import Account, Engine
    from .faults import Fault, Faults
    from .gallery import Gallery

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
        prompt = read.text("prompt")
        if not prompt:
            raise refuse(4, "prompt不能为空")
        self.check_words(prompt)
        return prompt

    def check_words(self, prompt: str) -> None:
        """Refuse a prompt with a banned word (PROTOCOL §2: 24)."""
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
        return SimTask(
            id=self.engine.new_id(order.at),
            order=order,
            verb=VERBS[verb],
            action=self.dialect.actions.get(verb, VERBS[verb].action),
            model=model,
            seed=self.engine.new_seed(),
            job=self.engine.new_job(),
            mode=_mode(read, prompt, parent),
            submitted_ms=int(order.at * 1000),
            bot=bot,
            state=read.text("state") or None,
            notify_hook=read.text("notifyHook") or None,
            prompt=prompt,
            prompt_en=prompt,
            final_prompt=with_model(prompt or "", model),
            parent=parent,
            image_sizes=tuple(len(image.data) for image in images),
        )

    def accept(self, task: SimTask, order: Order, fate: Fate | None = None) -> Reply:
        """Take a task on, or say that there is no room (PROTOCOL §2: 1, 22, 23, 3)."""
        account = self.engine.choose(task.parent)
        if account is None:
            raise refuse(3, "无可用的账号实例")
        properties = self._properties(account)
        if self.engine.is_full(account):
            raise refuse(23, "队列已满，请稍后尝试", properties)
        task.picture = picture_of(task, self.gallery.size)
        fault = self.faults.take("task", endpoint=order.endpoint)
        fate = fate or (_FATES[fault.kind](fault) if fault else Fate())
        place = self.engine.accept(task, account, fate, order.at)
        self._record(task, order)
        if fault and fault.kind == "lost":
            self.engine.forget(task, order.at)
        self.engine.advance(order.at)
        if not place:
            return submit_result(1, "提交成功", task.id, properties)
        description = f"排队中，前面还有{place}个任务"
        return submit_result(22, description, task.id, {**properties, "numberOfQueues": place})

    def _properties(self, account: Account) -> dict[str, object]:
        known = {"discordInstanceId": account.id, "discordChannelId": account.channel}
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


def _mode(read: Intake, prompt: str | None, parent: SimTask | None) -> str:
    """The path decides, then the account filter, then a flag (PROTOCOL §6.1)."""
    wishes = (read.order.speed, *read.speeds(), speed_of(prompt or ""))
    inherited = parent.mode if parent else "FAST"
    return next((wish for wish in wishes if wish), inherited)


def _failing(fault: Fault) -> Fate:
    options = fault.options
    return Fate(ending="fail", at=_percent(options["at"]), reason=str(options["reason"]))


def _banned(fault: Fault) -> Fate:
    word = fault.options["word"]
    return Fate(ending="refuse", reason=f"可能包含敏感词: {word}" if word else "可能包含敏感词")


def _percent(value: object) -> int:
    return min(max(int(str(value)), 0), 100)


_FATES: Final[Mapping[str, Callable[[Fault], Fate]]] = {
    "fail": _failing,
    "stall": lambda fault: Fate(ending="stall", at=_percent(fault.options["at"])),
    "lost": lambda _: Fate(),
    "banned_late": _banned,
}
