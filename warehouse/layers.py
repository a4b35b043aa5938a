"""SQL in layers: what is worked out of what was worked out before."""


def layers(sql: str, *columns: str) -> str:
    """SQL with further columns, each over what is there before. A name that is used more than once stands in a layer
    of its own: the engine writes it out wherever its own layer uses it, and so on, until nothing ends.
    """
    for one in columns:
        sql = f"select *, {one} from ({sql})"  # noqa: S608
    return sql
