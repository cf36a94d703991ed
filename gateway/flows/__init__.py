"""Flows: introduce rooms to each other. One file, one sentence. A flow decides nothing: what it needs decided, a room decides."""
