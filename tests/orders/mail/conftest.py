"""A postman without a post office: what he brings lands in the mailbox."""

import pytest

from orders.mail.postman import Postman
from stream_events.access import Signer
from stream_events.links import Links


@pytest.fixture
def postman(signer: Signer, links: Links) -> Postman:
    return Postman(signer, links, mails_per_second=50)
