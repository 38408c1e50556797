"""Find what a request names: the world, indexed."""

from __future__ import annotations

from connectors.simulator.meta.world import Account, App, Number, Template, Token, World


class Registry:
    """The world's objects by their ids; call :meth:`index` after adding or removing any."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.index()

    def index(self) -> None:
        """Look at the world anew."""
        world = self.world
        self.apps: dict[str, App] = {app.id: app for app in world.apps}
        self.tokens: dict[str, Token] = {token.token: token for token in world.tokens}
        self.accounts: dict[str, Account] = {account.id: account for account in world.accounts}
        self.numbers: dict[str, tuple[Account, Number]] = {
            number.id: (account, number)
            for account in world.accounts for number in account.numbers
        }  # fmt: skip
        self.templates: dict[str, tuple[Account, Template]] = {
            template.id: (account, template)
            for account in world.accounts for template in account.templates
        }  # fmt: skip
        self._translations = {
            (account.id, template.name, template.language): template
            for account, template in self.templates.values()
        }

    def template(self, waba_id: str, name: str, language: str) -> Template | None:
        """Return a template in one language."""
        return self._translations.get((waba_id, name, language))
