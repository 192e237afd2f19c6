"""Where a crowd may pay, and how rarely it looks: real money is refused, and one look tells all how far turns are."""

import pytest

from loadtests.figures import Samples
from loadtests.payers import Queue, Seen, Till

META = {
    "mode": "sandbox",
    "stripe_publishable_key": "pk_test_sandbox",
    "stripe_js_url": "http://127.0.0.1:8002/sandbox/stripe.js",
}


def test_the_sandbox_is_found_by_what_the_server_says() -> None:
    till = Till.of_meta(META)
    assert (till.address.host, till.address.port) == ("127.0.0.1", 8002)


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "live"},
        {"stripe_publishable_key": "pk_live_x"},
        {"stripe_js_url": "https://js.stripe.com/v3/"},
    ],
)
def test_a_crowd_never_pays_with_real_money(change: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="crowd"):
        Till.of_meta({**META, **change})


def test_the_queue_learns_from_a_look_how_many_turns_were_given() -> None:
    queue = Queue()
    assert queue.scout(1000) == 50
    queue.learn(50, Seen(state="RESERVED", ahead=20))
    assert queue.front == 30
    queue.learn(10, Seen(state="RESERVED", ahead=9))
    assert queue.front == 30, "an older look does not set it back"
    queue.learn(80, Seen(state="AWAITING_PAYMENT"))
    assert queue.front == 80
    assert queue.scout(90) == 90


def test_percentiles_are_of_all_samples_by_nearest_rank() -> None:
    samples = Samples()
    assert samples.percentile(99) is None
    for ms in range(100, 0, -1):
        samples.add(ms)
    assert (samples.percentile(50), samples.percentile(99), samples.percentile(100)) == (
        50,
        99,
        100,
    )
