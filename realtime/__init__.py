"""What people watch: shows only totals the ledger adds up to, and lets no slow viewer hold others up."""
