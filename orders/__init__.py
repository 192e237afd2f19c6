"""Money: from a shopper's click to a balanced ledger, so that no acknowledged order is ever lost."""
