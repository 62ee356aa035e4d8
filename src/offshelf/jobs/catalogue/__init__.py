"""``backbones``, ``layers`` and ``inspect``: networks as rows."""
