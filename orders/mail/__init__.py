"""Mail about an order: an outbox in the database, a way out by SMTP, and a mailbox for test mode."""
