"""The pages of the customer: no account and no script, by the token that came with a consent."""
