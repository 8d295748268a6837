"""The benchmarks. They start real servers, talk HTTP to them and print tables; nothing in the product imports them."""
