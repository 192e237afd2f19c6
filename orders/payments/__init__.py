"""Everything that speaks with the payment provider, apart from our books, so that no SQL waits for Stripe."""
