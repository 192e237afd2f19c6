"""How the first operator gets in, and how a lost key is replaced: from the machine itself, without any key."""

import typer
from sqlalchemy import select

from server.settings import Settings
from stream_events.access import Role, add_key, create_principal, retire_keys
from stream_events.database import Database
from stream_events.tables import Principal


async def create_operator(settings: Settings, name: str) -> str:
    """Create an operator and return its key."""
    database = Database(str(settings.database_url), connections_max=1)
    try:
        async with database.begin() as sql:
            _, secret = await create_principal(sql, Role.OPERATOR, name)
        return secret
    finally:
        await database.close()


async def replace(settings: Settings, principal_id: str) -> str:
    """Revoke the keys of a principal and return its new one; an unknown principal ends with code 1."""
    database = Database(str(settings.database_url), connections_max=1)
    try:
        async with database.begin() as sql:
            role = await sql.scalar(select(Principal.role).where(Principal.id == principal_id))
            if role is None:
                typer.echo(f"there is no principal {principal_id}", err=True)
                raise typer.Exit(1)
            await retire_keys(sql, principal_id)
            return await add_key(sql, principal_id, role)
    finally:
        await database.close()
