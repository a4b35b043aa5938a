"""The warehouse's Python interface: `connect`, and one module per question.

from warehouse import connect, funnels
funnels.funnel(connect(url), ["product_view", "add_to_cart", "purchase"], within="7d", by="channel")
"""

from warehouse.connection import connect

__all__ = ["connect"]
