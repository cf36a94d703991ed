"""The sandbox: strict stand-ins of the ad platforms, for `gateway demo` and for every test that sends something.

A stand-in is a server, not a patch. The gateway reaches it with its own production client, under the vendor's real host
name, over TLS; only the resolver and the trusted authority are handed in by code. A stand-in refuses what the platform
refuses, with the platform's own bodies, and remembers everything, so that a wrong sender cannot pass.
"""
