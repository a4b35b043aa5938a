"""The settings of `up`: everything on this machine, on ports that are free, with what makes it usable at once."""

from collections.abc import Callable

import msgspec

from desireline.errors import UpError
from desireline.ports import free_port, taken
from desireline.settings import Settings, variable_of

LOCAL = "127.0.0.1"
LOCAL_WRITE_KEY = "local"
LOCAL_STRIPE_SECRET = "whsec_local"  # noqa: S105  for senders on this machine; `up` listens on loopback with it
_REBALANCE_TIMEOUT_S = 3  # one worker, on this machine: nobody is far away
_SESSION_TIMEOUT_S = 6  # the embedded broker ends the first join of a group when half of it is over

PORT_OPTIONS = {
    "dashboards_port": "--port",
    "collector_port": "--collector-port",
    "warehouse_port": "--warehouse-port",
    "broker_port": "--broker-port",
    "worker_port": "--worker-port",
}


def embedded(given: Settings, folder: str, say: Callable[[str], None]) -> Settings:
    """The settings by which the parts find each other, their data in `folder`. UpError if others could send
    without a key. `say` is told which settings do not count.
    """
    beyond = given.host not in (LOCAL, "localhost", "::1")
    if beyond and not given.write_keys:
        raise UpError(
            f"listening on {given.host} lets others send, and no write key is set",
            remedy="Set DESIRELINE_WRITE_KEYS=KEY=NAME.",
        )
    ports = {name: getattr(given, name) or free_port() for name in PORT_OPTIONS}
    default = Settings()
    for name in ("bootstrap_servers", "warehouse_url"):
        if getattr(given, name) != getattr(default, name):
            say(f"{variable_of(name)} is for the roles one by one; `up` runs its own")
    place = f"{LOCAL}:{ports['warehouse_port']}/desireline"
    password = f":{given.warehouse_password}" if given.warehouse_password else ""
    return msgspec.structs.replace(
        given,
        **ports,
        data_dir=folder,
        bootstrap_servers=f"{LOCAL}:{ports['broker_port']}",
        warehouse_url=f"http://default{password}@{place}",
        warehouse_reader_url=f"http://reader{password}@{place}",
        replication_factor=1,
        write_keys=given.write_keys or {LOCAL_WRITE_KEY: LOCAL_WRITE_KEY},
        identity_editors=given.identity_editors or ("" if given.write_keys else LOCAL_WRITE_KEY),
        cohort_editors=given.cohort_editors or ("" if given.write_keys else LOCAL_WRITE_KEY),
        stripe_secret=given.stripe_secret or ("" if beyond else LOCAL_STRIPE_SECRET),
        broker_rebalance_timeout_s=_REBALANCE_TIMEOUT_S
        if given.broker_rebalance_timeout_s == default.broker_rebalance_timeout_s
        else given.broker_rebalance_timeout_s,
        session_timeout_s=_SESSION_TIMEOUT_S
        if given.session_timeout_s == default.session_timeout_s
        else given.session_timeout_s,
    )


def check_ports(settings: Settings) -> None:
    """UpError if a port is taken, with the option that changes it."""
    for name, option in PORT_OPTIONS.items():
        port = getattr(settings, name)
        host = settings.host if name in ("dashboards_port", "collector_port") else LOCAL
        if taken(port, host):
            raise UpError(
                f"port {port} of {host} is taken by another program ({name.removesuffix('_port')})",
                remedy=f"Choose another with {option}.",
            )
