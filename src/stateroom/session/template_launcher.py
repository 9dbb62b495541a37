"""Makes workers by forking a warm template, and by spawning where that is not to be had."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..config import SessionConfig
from ..errors import ConfigError, WorkerStartError
from ..logs import get_logger
from .launcher import WorkerProcess
from .process import spawn
from .template_process import TemplateGone, TemplateProcess, can_fork

__all__ = ["TemplateLauncher"]

MAX_LOSSES = 3
"""Templates lost in a row, without a worker from one of them, before workers are spawned for good."""

log = get_logger("stateroom.pool")


class TemplateLauncher:
    """A launcher of workers for sessions of one configuration; keeps one template alive behind it.

    A template that died is replaced when the next worker is asked for.
    """

    def __init__(self, config: SessionConfig, preload: Sequence[str]) -> None:
        self.config = config
        self.preload = tuple(preload)
        self.template: TemplateProcess | None = None
        self.templates_started = 0
        self.spawns_instead: str | None = None
        """Why workers are spawned, if they are."""
        self._closed = False
        self._losses = 0
        self._renewal = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<TemplateLauncher {self.spawns_instead or self.template!r}>"

    async def start(self) -> None:
        """Start the template. Raises :class:`ConfigError` for a module that cannot be imported."""
        if not can_fork():
            self._give_up("forking a template needs Linux 5.3 or later")
            return
        try:
            await self._living_template()
        except WorkerStartError as error:
            self._give_up(str(error))

    async def __call__(self, config: SessionConfig) -> WorkerProcess:
        """Make a worker. Raises :class:`WorkerStartError` if neither way works."""
        while self.spawns_instead is None:
            try:
                template = await self._living_template()
                process = await template.fork(config)
            except TemplateGone as error:
                self._lost(error)
            except ConfigError as error:  # it could be imported before: sessions can do without
                self._give_up(str(error))
            else:
                self._losses = 0
                return process
        return await spawn(config)

    async def close(self, *, grace_s: float) -> None:
        """End the template; workers live on."""
        self._closed = True
        template, self.template = self.template, None
        if template is not None:
            await template.close(grace_s=grace_s)

    async def _living_template(self) -> TemplateProcess:
        """The template; a new one, if the last is gone."""
        async with self._renewal:
            if self._closed:
                raise WorkerStartError("no worker was made: the pool is closed")
            if self.template is None or not self.template.alive:
                self.template = None
                template = TemplateProcess(self.config, self.preload)
                await template.start()
                self._started(template)
                self.template = template
            return self.template

    def _started(self, template: TemplateProcess) -> None:
        self.templates_started += 1
        if template.threads:
            log.warning(
                "template_has_threads",
                threads=template.threads,
                preload=self.preload,
                advice="a fork leaves threads behind: have the module start them when they are first needed",
            )

    def _lost(self, error: TemplateGone) -> None:
        self._losses += 1
        log.warning("template_lost", reason=str(error), losses=self._losses)
        if self._losses >= MAX_LOSSES:
            self._give_up(f"{self._losses} templates were lost in a row, the last one so: {error}")

    def _give_up(self, reason: str) -> None:
        if self.spawns_instead is None:
            self.spawns_instead = reason
            log.warning("pool_spawns_workers", reason=reason)
