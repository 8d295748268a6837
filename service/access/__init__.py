"""Who is calling, and what that caller may do. `policies.py` is the table that every new route has to be put into."""
