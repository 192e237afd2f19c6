"""What a handler is told about the call it answers, so that handlers need no HTTP and no clock of their own."""

from dataclasses import dataclass, field
from typing import Literal

from orders.payments.sandbox.forms import Params

KeyKind = Literal["secret", "publishable", "none"]


@dataclass(slots=True)
class Call:
    """One authenticated call: `endpoint` is method and path template, `object_id` what stood for `:id`.

    `origin` is where a browser finds the sandbox's own pages.
    """

    endpoint: str
    object_id: str
    params: Params
    now_s: int
    request_id: str
    objects_max: int
    processing_delay_ms: int
    refund_delay_ms: int
    origin: str = "http://127.0.0.1"
    key_kind: KeyKind = "secret"
    ours: bool = True
    expand: list[str] = field(default_factory=list)
