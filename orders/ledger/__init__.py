"""The books: entries once posted never change, so that anyone can add them up again."""
