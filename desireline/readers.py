"""The read-only user that `warehouse_reader_url` names, made where the engine keeps users."""

from urllib.parse import unquote, urlsplit

from desireline.settings import Settings

_ACCESS_DENIED = 497
_ROLE = "reader_role"  # migration 2


def statements(reader_url: str) -> list[str]:
    """The SQL that makes the user of this URL, with its password; nothing if it names no password."""
    parts = urlsplit(reader_url)
    if not parts.username or not parts.password:
        return []
    name, password = _quoted(unquote(parts.username), "`"), _quoted(unquote(parts.password), "'")
    return [
        f"CREATE USER IF NOT EXISTS {name} IDENTIFIED BY {password}",
        f"ALTER USER {name} IDENTIFIED BY {password}",
        f"GRANT {_ROLE} TO {name}",
        f"ALTER USER {name} DEFAULT ROLE {_ROLE}",
    ]


def ensure(settings: Settings) -> bool:
    """Make the user, or give it the password that is set. False where the engine has its reader built in."""
    from clickhouse_connect.driver.exceptions import DatabaseError

    from warehouse.connection import client

    made = statements(settings.warehouse_reader_url)
    if not made:
        return False
    connection = client(settings.warehouse_url)
    try:
        for statement in made:
            connection.command(statement)
    except DatabaseError as error:
        if f"Code: {_ACCESS_DENIED}" not in str(error):
            raise
        return False
    finally:
        connection.close()
    return True


def _quoted(text: str, quote: str) -> str:
    escaped = text.replace("\\", "\\\\").replace(quote, f"\\{quote}")
    return f"{quote}{escaped}{quote}"
