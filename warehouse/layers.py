"""SQL in layers: what is worked out of what was worked out before."""


def layers(sql: str, *columns: str) -> str:
    """SQL with further columns, each over what is there before.

    Give what is used more than once a layer of its own: within one layer the engine writes out the whole expression
    of a name wherever it is used, and planning takes longer with every use of a use.

    Begin with what is needed and no more: each layer carries all columns along. Over columns write `if(a = 1, b, 0)`
    for `a = 1 and b`: to find conditions that say the same, the engine compares all layers below them.
    """
    for one in columns:
        sql = f"select *, {one} from ({sql})"  # noqa: S608
    return sql
